//! The rules: pure, over what was written down.

mod goods;
mod money;
mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::books::Books;
use super::{Claims, Rule, Violation};

/// Everything that does not fit.
#[must_use]
pub fn judge(books: &Books, claims: &Claims) -> Vec<Violation> {
    let mut findings = Findings::default();
    ended(books, claims, &mut findings);
    money::unpaid(books, claims, &mut findings);
    money::payments(books, &mut findings);
    money::provider(books, &mut findings);
    money::returns(books, &mut findings);
    money::conserved(books, &mut findings);
    goods::reservations(books, &mut findings);
    goods::shipments(books, &mut findings);
    goods::levels(books, &mut findings);
    words::messages(books, &mut findings);
    words::read_models(books, &mut findings);
    findings.0
}

/// What has been found so far.
#[derive(Debug, Default)]
struct Findings(Vec<Violation>);

impl Findings {
    /// Notes a violation unless `holds`.
    fn check(&mut self, rule: Rule, holds: bool, detail: impl FnOnce() -> String) {
        if !holds {
            self.0.push(Violation { rule, detail: detail() });
        }
    }
}

/// Things by what they belong to.
fn by<'a, T>(
    things: impl IntoIterator<Item = &'a T>,
    key: fn(&'a T) -> &'a str,
) -> BTreeMap<&'a str, Vec<&'a T>> {
    let mut groups = BTreeMap::<&str, Vec<&T>>::new();
    for thing in things {
        groups.entry(key(thing)).or_default().push(thing);
    }
    groups
}

/// Those that belong to `key`.
fn of<'g, 'a, T>(groups: &'g BTreeMap<&'a str, Vec<&'a T>>, key: &str) -> &'g [&'a T] {
    groups.get(key).map_or(&[], Vec::as_slice)
}

/// What was accepted exists, once, and has ended.
fn ended(books: &Books, claims: &Claims, findings: &mut Findings) {
    findings.check(Rule::Accepted, books.unended_sagas == 0, || {
        format!("{} sagas have not ended", books.unended_sagas)
    });
    for (id, order) in &books.orders {
        let over = matches!(order.status.as_str(), "confirmed" | "cancelled");
        findings.check(Rule::Accepted, over, || format!("order {id} is {}", order.status));
        findings.check(Rule::Accepted, order.lines_minor == order.total_minor, || {
            format!("order {id} costs {} and its lines {}", order.total_minor, order.lines_minor)
        });
    }
    for (id, user_id) in &claims.accepted {
        let owner = books.orders.get(id).map(|order| &order.user_id);
        findings
            .check(Rule::Accepted, owner == Some(user_id), || format!("order {id} was accepted and is lost"));
    }
    let mut placed: BTreeMap<&str, usize> = BTreeMap::new();
    for order in books.orders.values() {
        *placed.entry(&order.user_id).or_default() += 1;
    }
    for (user_id, wanted) in &claims.wanted {
        let placed = placed.get(user_id.as_str()).copied().unwrap_or_default();
        findings.check(Rule::Accepted, placed == *wanted, || {
            format!("customer {user_id} wanted {wanted} orders and has {placed}")
        });
    }
}
