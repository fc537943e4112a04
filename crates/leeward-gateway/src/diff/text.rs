//! A difference, for people.

use std::fmt;

use super::{Changed, Diff, Effect, Outcome, Thing, Things, Value};

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.same {
            return writeln!(f, "both mean the same");
        }
        things(f, "routes", &self.routes)?;
        things(f, "services", &self.services)?;
        things(f, "listeners", &self.listeners)?;
        things(f, "issuers of tokens", &self.issuers)?;
        if !self.options.is_empty() {
            writeln!(f, "options")?;
        }
        self.options.iter().try_for_each(|option| changed(f, 2, option))?;
        if !self.requests.is_empty() {
            writeln!(f, "requests, for example")?;
        }
        for request in &self.requests {
            writeln!(f, "  {}", request.request)?;
            if (&request.old.route, &request.old.answer) != (&request.new.route, &request.new.answer) {
                writeln!(f, "      {} -> {}", outcome(&request.old), outcome(&request.new))?;
            }
            if request.old.route == request.new.route {
                request.no_more.iter().try_for_each(|line| writeln!(f, "      - {line}"))?;
                request.instead.iter().try_for_each(|line| writeln!(f, "      + {line}"))?;
            }
        }
        if self.requests_left_out > 0 {
            writeln!(f, "  and {} more", self.requests_left_out)?;
        }
        writeln!(f, "reload")?;
        let listed =
            |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        if !self.reload.restart.is_empty() {
            let options = listed(&self.reload.restart);
            writeln!(f, "  refused as a whole: a running gateway cannot change {options}; restart it")?;
        }
        if !self.reload.nowhere.is_empty() {
            let names: Vec<&str> = self.reload.nowhere.iter().map(String::as_str).collect();
            let names = listed(&names);
            writeln!(
                f,
                "  refused as a whole: no endpoints for {names}; give each `urls` or `dns`, or say where by --at"
            )?;
        }
        if self.reload.taken {
            writeln!(f, "  taken: all of it is in force at once, and no connection is closed")?;
        }
        Ok(())
    }
}

fn things(f: &mut fmt::Formatter<'_>, what: &str, things: &Things) -> fmt::Result {
    if things.is_empty() {
        return Ok(());
    }
    writeln!(f, "{what}")?;
    things.added.iter().try_for_each(|thing| line(f, '+', thing))?;
    things.removed.iter().try_for_each(|thing| line(f, '-', thing))?;
    for both in &things.changed {
        writeln!(f, "  ~ {}", both.id)?;
        both.options.iter().try_for_each(|option| changed(f, 6, option))?;
    }
    Ok(())
}

fn line(f: &mut fmt::Formatter<'_>, sign: char, Thing { id, at, is }: &Thing) -> fmt::Result {
    write!(f, "  {sign} {id}")?;
    if let Some(at) = at {
        write!(f, " ({at})")?;
    }
    if !is.is_empty() {
        write!(f, ": {is}")?;
    }
    writeln!(f)
}

fn changed(f: &mut fmt::Formatter<'_>, indent: usize, changed: &Changed) -> fmt::Result {
    let Changed { option, old, new, effect, routes } = changed;
    write!(f, "{:indent$}{option}: {} -> {}", "", value(old), value(new))?;
    if let Some(routes) = routes {
        write!(f, "; {routes} routes go by it")?;
    }
    match effect {
        Effect::Live => {}
        Effect::Restart => write!(f, "; needs a restart")?,
        Effect::Lint => write!(f, "; for `leeward lint` alone")?,
    }
    writeln!(f)
}

fn value(value: &Value) -> String {
    match (&value.value, &value.at) {
        (None, _) => "not there".to_owned(),
        (Some(value), None) => format!("{value} (default)"),
        (Some(value), Some(at)) => format!("{value} ({at})"),
    }
}

fn outcome(outcome: &Outcome) -> String {
    let Outcome { route, at, answer } = outcome;
    match (route, at) {
        (None, _) => answer.clone(),
        (Some(route), None) => format!("{route}, {answer}"),
        (Some(route), Some(at)) => format!("{route} ({at}), {answer}"),
    }
}
