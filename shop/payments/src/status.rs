//! Where a payment can go from where it stands: pure, total, and the only place that says so.

use shop_contracts::payments::PaymentStatus;

/// What happens to a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The provider set the money aside.
    Approved,
    /// The provider declined.
    Declined,
    /// The capture begins.
    CaptureBegun,
    /// The provider took the money.
    Captured,
    /// The provider cannot take the money.
    CaptureRefused,
    /// The void begins.
    VoidBegun,
    /// The provider gave the authorisation up.
    Voided,
}

/// A step that the machine does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a payment that is {} cannot take {event:?}", .status.as_str())]
pub(crate) struct Illegal {
    pub(crate) status: PaymentStatus,
    pub(crate) event: Event,
}

/// Where a payment in `status` stands after `event`.
///
/// A void may overtake an authorisation whose outcome is not known yet; what the provider says about it later no longer
/// counts. Nothing leads away from captured, declined and voided.
pub(crate) const fn next(status: PaymentStatus, event: Event) -> Result<PaymentStatus, Illegal> {
    use PaymentStatus as S;
    match (status, event) {
        (S::Authorising, Event::Approved) => Ok(S::Authorised),
        (S::Authorising, Event::Declined) => Ok(S::Declined),
        (S::Authorising | S::Authorised, Event::VoidBegun) => Ok(S::Voiding),
        (S::Authorised, Event::CaptureBegun) => Ok(S::Capturing),
        (S::Capturing, Event::Captured) => Ok(S::Captured),
        (S::Capturing, Event::CaptureRefused) => Ok(S::Authorised),
        (S::Voiding, Event::Voided) => Ok(S::Voided),
        (S::Authorising, Event::CaptureBegun | Event::Captured | Event::CaptureRefused | Event::Voided)
        | (
            S::Authorised,
            Event::Approved | Event::Declined | Event::Captured | Event::CaptureRefused | Event::Voided,
        )
        | (
            S::Capturing,
            Event::Approved | Event::Declined | Event::CaptureBegun | Event::VoidBegun | Event::Voided,
        )
        | (
            S::Voiding,
            Event::Approved
            | Event::Declined
            | Event::CaptureBegun
            | Event::Captured
            | Event::CaptureRefused
            | Event::VoidBegun,
        )
        | (S::Declined | S::Captured | S::Voided, _) => Err(Illegal { status, event }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [Event; 7] = [
        Event::Approved,
        Event::Declined,
        Event::CaptureBegun,
        Event::Captured,
        Event::CaptureRefused,
        Event::VoidBegun,
        Event::Voided,
    ];

    #[test]
    fn the_whole_table() {
        use PaymentStatus as S;
        let legal = [
            (S::Authorising, Event::Approved, S::Authorised),
            (S::Authorising, Event::Declined, S::Declined),
            (S::Authorising, Event::VoidBegun, S::Voiding),
            (S::Authorised, Event::VoidBegun, S::Voiding),
            (S::Authorised, Event::CaptureBegun, S::Capturing),
            (S::Capturing, Event::Captured, S::Captured),
            (S::Capturing, Event::CaptureRefused, S::Authorised),
            (S::Voiding, Event::Voided, S::Voided),
        ];
        for status in S::ALL {
            for event in EVENTS {
                let expected =
                    legal.iter().find(|(from, by, _)| (from, *by) == (status, event)).map(|(.., to)| *to);
                assert_eq!(next(*status, event).ok(), expected, "{status:?} {event:?}");
            }
        }
    }

    #[test]
    fn no_way_leads_from_captured_to_voided_or_back() {
        for start in [PaymentStatus::Captured, PaymentStatus::Voided, PaymentStatus::Declined] {
            assert!(EVENTS.iter().all(|event| next(start, *event).is_err()));
        }
        // From an authorisation, money is taken or freed, never both: walk every path of eight events.
        let mut paths = vec![vec![PaymentStatus::Authorising]];
        for _ in 0..8 {
            paths = paths
                .into_iter()
                .flat_map(|path| {
                    let last = *path.last().unwrap();
                    let on = EVENTS.iter().filter_map(move |event| next(last, *event).ok());
                    let grown: Vec<_> = on.map(|to| [path.clone(), vec![to]].concat()).collect();
                    if grown.is_empty() { vec![path] } else { grown }
                })
                .collect();
        }
        let both = |path: &Vec<PaymentStatus>| {
            path.contains(&PaymentStatus::Captured) && path.contains(&PaymentStatus::Voided)
        };
        assert!(!paths.iter().any(both));
        assert!(paths.iter().any(|path| path.ends_with(&[PaymentStatus::Captured])));
    }
}
