//! Which core gets a new connection. Pure.

/// What is known of a core.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Busy {
    /// Open connections.
    pub(super) connections: usize,
    /// Requests a second, lately.
    pub(super) rate: f64,
    pub(super) pace: Pace,
}

/// How it comes on with what it has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Pace {
    /// It keeps up.
    Well,
    /// It does not.
    Behind,
    /// Nor would it begin with anything new in time.
    Full,
}

/// Rates this close to the lowest one count as equal: they change faster than they can be measured.
const SAME_SHARE: f64 = 0.2;
/// Below this rate a core is idle, and small differences mean nothing.
const IDLE_RATE: f64 = 50.0;

/// The core with the fewest connections among those with about the lowest rate, of those that come on best. Their pace comes first since
/// requests may cost a hundred times as much on one core as on another; rates come second since a few
/// connections can carry most of the requests; connections come last since a burst of new ones has no rate yet.
pub(super) fn least(cores: &[Busy]) -> usize {
    let best = cores.iter().map(|core| core.pace).min().unwrap_or(Pace::Well);
    let cores = || cores.iter().enumerate().filter(|(_, core)| core.pace == best);
    let lowest = cores().map(|(_, core)| core.rate).fold(f64::INFINITY, f64::min);
    let close = (lowest * (1.0 + SAME_SHARE)).max(IDLE_RATE);
    let eligible = cores().filter(|(_, core)| core.rate <= close);
    eligible.min_by_key(|(_, core)| core.connections).map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(connections: usize, rate: f64) -> Busy {
        Busy { connections, rate, pace: Pace::Well }
    }

    #[test]
    fn a_core_that_does_not_keep_up_is_spared_however_few_its_requests_are() {
        let paced = |connections, rate, pace| Busy { connections, rate, pace };
        let free = busy(900, 5_000.0);
        assert_eq!(least(&[paced(1, 300.0, Pace::Full), free]), 1);
        assert_eq!(least(&[free, paced(1, 300.0, Pace::Behind)]), 0);
        assert_eq!(least(&[paced(1, 300.0, Pace::Full), paced(9, 400.0, Pace::Behind)]), 1);
        let full = |connections| paced(connections, 300.0, Pace::Full);
        assert_eq!(least(&[full(3), full(2)]), 1, "where all are, one of them is");
    }

    #[test]
    fn new_connections_go_where_there_is_least_to_do() {
        assert_eq!(least(&[busy(5, 0.0), busy(4, 0.0), busy(6, 0.0)]), 1);
        assert_eq!(
            least(&[busy(2, 9_000.0), busy(500, 100.0)]),
            1,
            "two busy ones weigh more than many idle ones"
        );
        assert_eq!(least(&[busy(9, 1_000.0), busy(3, 1_100.0)]), 1, "about the same rate");
        assert_eq!(least(&[busy(1, 0.0), busy(1, 10.0)]), 0, "ties go to the first");
    }

    #[test]
    fn a_burst_spreads_evenly() {
        let mut cores = [busy(0, 0.0); 4];
        for _ in 0..100 {
            let chosen = least(&cores);
            cores[chosen].connections += 1;
        }
        assert!(cores.iter().all(|core| core.connections == 25));
    }
}
