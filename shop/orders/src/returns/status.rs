//! Where a return can go from where it stands: pure and total.

use shop_contracts::returns::ReturnStatus;

/// What the others did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// `return.received`: the warehouse has the goods.
    Received,
    /// `stock.returned`: they are on the shelf.
    Restocked,
    /// `payment.refunded`: the money is back.
    Refunded,
    /// `payment.refund_refused`: it cannot go back.
    RefundRefused,
    /// `stock.return_undone`: the goods are off the shelf again.
    Undone,
}

/// What an event means for a return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It stands here now.
    To(ReturnStatus),
    /// It was past this already.
    Past,
}

/// An event that cannot be: its cause has not been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a return that is {} cannot take {event:?}", .status.as_str())]
pub(crate) struct Illegal {
    pub(crate) status: ReturnStatus,
    pub(crate) event: Event,
}

/// Where a return in `status` stands after `event`.
///
/// All events have the return as their key and each is caused by the one before, so they come in their order; an event
/// whose cause has not come is a mistake. The warehouse may put goods on the shelf at once, without saying first that
/// it has them.
pub(crate) const fn next(status: ReturnStatus, event: Event) -> Result<Step, Illegal> {
    use ReturnStatus as S;
    match (status, event) {
        (S::Requested, Event::Received) => Ok(Step::To(S::Received)),
        (S::Requested | S::Received, Event::Restocked) => Ok(Step::To(S::Restocked)),
        (S::Restocked, Event::Refunded) => Ok(Step::To(S::Completed)),
        (S::Restocked, Event::RefundRefused) => Ok(Step::To(S::RefundRefused)),
        (S::RefundRefused, Event::Undone) => Ok(Step::To(S::Refused)),
        (S::Received | S::Restocked | S::Completed | S::RefundRefused | S::Refused, Event::Received)
        | (S::Restocked | S::Completed | S::RefundRefused | S::Refused, Event::Restocked)
        | (S::Completed, Event::Refunded)
        | (S::RefundRefused | S::Refused, Event::RefundRefused)
        | (S::Refused, Event::Undone) => Ok(Step::Past),
        (S::Requested | S::Received | S::RefundRefused | S::Refused, Event::Refunded)
        | (S::Requested | S::Received | S::Completed, Event::RefundRefused)
        | (S::Requested | S::Received | S::Restocked | S::Completed, Event::Undone) => {
            Err(Illegal { status, event })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [Event; 5] =
        [Event::Received, Event::Restocked, Event::Refunded, Event::RefundRefused, Event::Undone];

    fn walk(events: &[Event]) -> Result<ReturnStatus, Illegal> {
        events.iter().try_fold(ReturnStatus::Requested, |status, event| {
            Ok(match next(status, *event)? {
                Step::To(status) => status,
                Step::Past => status,
            })
        })
    }

    #[test]
    fn both_ways_to_the_end() {
        use Event as E;
        assert_eq!(walk(&[E::Received, E::Restocked, E::Refunded]), Ok(ReturnStatus::Completed));
        assert_eq!(walk(&[E::Restocked, E::Refunded]), Ok(ReturnStatus::Completed));
        assert_eq!(
            walk(&[E::Received, E::Restocked, E::RefundRefused, E::Undone]),
            Ok(ReturnStatus::Refused)
        );
    }

    #[test]
    fn an_event_that_comes_twice_changes_nothing() {
        for path in [
            &[Event::Received, Event::Restocked, Event::Refunded][..],
            &[Event::Received, Event::Restocked, Event::RefundRefused, Event::Undone],
        ] {
            for end in 1..=path.len() {
                let once = walk(&path[..end]).unwrap();
                for seen in &path[..end] {
                    assert_eq!(next(once, *seen), Ok(Step::Past), "{seen:?} again in {once:?}");
                }
            }
        }
    }

    #[test]
    fn money_and_goods_never_stay_on_the_same_side() {
        // Whatever comes, a completed return was refunded and a refused one was undone.
        let mut paths: Vec<Vec<Event>> = vec![vec![]];
        for _ in 0..5 {
            paths = paths
                .iter()
                .flat_map(|path| EVENTS.iter().map(move |event| [path.as_slice(), &[*event]].concat()))
                .collect();
        }
        for path in paths {
            match walk(&path) {
                Ok(ReturnStatus::Completed) => {
                    assert!(
                        path.contains(&Event::Refunded) && !path.contains(&Event::RefundRefused),
                        "{path:?}"
                    );
                }
                Ok(ReturnStatus::Refused) => {
                    assert!(path.contains(&Event::Undone) && !path.contains(&Event::Refunded), "{path:?}");
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
}
