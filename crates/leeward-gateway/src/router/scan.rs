//! The same decision by looking at every route in turn: slow, plain, and able to say why a route is not the one. The tree is
//! tested against it.

use std::cmp::Ordering;
use std::fmt;

use super::host::Folded;
use super::{Ask, Condition, Entry, Methods};

/// What is said of one route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It takes the request.
    Taken,
    /// Its hosts are others.
    Host,
    /// The request's host has routes that name it better.
    HostOfOthers,
    /// Its path is another.
    Path,
    /// Another route's path says more of the request's.
    LongerPath,
    /// It has other methods.
    Method(Methods),
    /// This condition does not hold.
    Condition(Condition),
    /// Another route of the same path goes first.
    Later,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken => f.write_str("takes it"),
            Self::Host => f.write_str("has other hosts"),
            Self::HostOfOthers => f.write_str("gives way to the routes that name the host more closely"),
            Self::Path => f.write_str("has another path"),
            Self::LongerPath => f.write_str("gives way to a path that names more"),
            Self::Method(methods) => write!(f, "takes {}", methods.shown()),
            Self::Condition(condition) => write!(f, "wants {condition}"),
            Self::Later => f.write_str(
                "comes after it: it names no method, or has fewer conditions, or stands further down",
            ),
        }
    }
}

/// What is said of each route, by the order that the module above has.
pub(crate) fn scan(entries: &[Entry<'_>], ask: &Ask<'_>) -> Vec<Verdict> {
    let mut verdicts = vec![None; entries.len()];
    hosts(entries, ask, &mut verdicts);
    paths(entries, ask, &mut verdicts);
    for (entry, verdict) in left(entries, &mut verdicts) {
        if !entry.methods.contains(ask.method) {
            *verdict = Some(Verdict::Method(entry.methods));
        } else if let Some(unmet) = entry.conditions.unmet(ask).filter(|_| !ask.is_preflight) {
            *verdict = Some(Verdict::Condition(unmet.clone()));
        }
    }
    let rank = |entry: &Entry<'_>| (entry.methods.is_any(), entry.conditions.rank());
    let best = left(entries, &mut verdicts).map(|(entry, _)| rank(entry)).min();
    let mut is_first = true;
    for (entry, verdict) in left(entries, &mut verdicts) {
        let is_it = is_first && Some(rank(entry)) == best;
        *verdict = Some(if is_it { Verdict::Taken } else { Verdict::Later });
        is_first &= !is_it;
    }
    verdicts.into_iter().flatten().collect()
}

/// The routes about which nothing is said yet.
fn left<'a, 'e>(
    entries: &'a [Entry<'e>],
    verdicts: &'a mut [Option<Verdict>],
) -> impl Iterator<Item = (&'a Entry<'e>, &'a mut Option<Verdict>)> {
    entries.iter().zip(verdicts).filter(|(_, verdict)| verdict.is_none())
}

fn hosts(entries: &[Entry<'_>], ask: &Ask<'_>, verdicts: &mut [Option<Verdict>]) {
    let host = ask.host.and_then(Folded::new);
    let specificity = |entry: &Entry<'_>| match &host {
        _ if entry.hosts.is_empty() => Some(0),
        None => None,
        Some(host) => entry.hosts.iter().filter_map(|pattern| pattern.specificity(host.as_str())).max(),
    };
    let best = entries.iter().filter_map(specificity).max();
    for (entry, verdict) in left(entries, verdicts) {
        match specificity(entry) {
            None => *verdict = Some(Verdict::Host),
            found if found < best => *verdict = Some(Verdict::HostOfOthers),
            Some(_) => {}
        }
    }
}

fn paths(entries: &[Entry<'_>], ask: &Ask<'_>, verdicts: &mut [Option<Verdict>]) {
    for (entry, verdict) in left(entries, verdicts) {
        if !entry.pattern.matches(ask.path) {
            *verdict = Some(Verdict::Path);
        }
    }
    let best = left(entries, verdicts).map(|(entry, _)| entry.pattern).min_by(|one, other| one.order(other));
    for (entry, verdict) in left(entries, verdicts) {
        if best.is_some_and(|best| entry.pattern.order(best) != Ordering::Equal) {
            *verdict = Some(Verdict::LongerPath);
        }
    }
}
