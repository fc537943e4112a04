//! What another configuration would change: `leeward diff OLD NEW`, in meaning and not in text.
//!
//! **Rule.** Both configurations are compared as they are in force: with every default filled in, and with named policies put where they are
//! used. Writing a default out, moving a value into a policy, or moving a route that no other one competes with is no change. Routes are
//! the same by their ids, services by their names, listeners by their addresses, issuers of tokens by what they are called. An option
//! that a route takes over from the top of the file is a change at the top of the file, which says how many routes go by it.
//!
//! Then requests are made of what the routes take, and each is asked of both: where it would go (which finds a route that now stands in front of
//! another one), and for one request of each route that changed, what [`explain`](crate::explain) says. At last it is said what a
//! running gateway would make of it. Nothing is asked of one.

mod example;
mod requests;
mod text;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

pub use self::example::Example;
pub use self::requests::{Outcome, Request};
use self::values::{Group, Values};
use crate::config::{Config, Route};
use crate::places;
use crate::reload::fixed;

/// The difference between two configurations.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Diff {
    /// Whether both mean the same.
    pub same: bool,
    /// Routes, by their ids.
    pub routes: Things,
    /// Services, by their names, with their endpoints and policies.
    pub services: Things,
    /// Listeners, by their addresses.
    pub listeners: Things,
    /// Issuers of tokens, by `issuer` or, without one, by where their keys are.
    pub issuers: Things,
    /// Everything else at the top of the file.
    pub options: Vec<Changed>,
    /// Requests that would go another way, or be treated in another way: made of what the routes take.
    pub requests: Vec<Request>,
    /// Further ones of these that are not listed: at most 200 are.
    pub requests_left_out: usize,
    /// What a running gateway would do with the new one.
    pub reload: Reload,
}

/// What came, went, and stayed under other options.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Things {
    /// Only in the new one.
    pub added: Vec<Thing>,
    /// Only in the old one.
    pub removed: Vec<Thing>,
    /// In both, and not the same.
    pub changed: Vec<Both>,
}

impl Things {
    /// Whether nothing is different.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// Something that one of the two configurations has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Thing {
    /// What it is called.
    pub id: String,
    /// Where it stands, as `file:line:column`; `None` where nothing says it by itself.
    pub at: Option<String>,
    /// What it does, in a line.
    pub is: String,
}

/// Something that both have.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Both {
    /// What it is called.
    pub id: String,
    /// Its options that differ, by their paths within it.
    pub options: Vec<Changed>,
}

/// An option that differs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Changed {
    /// Its path, as `retry.max_retries`.
    pub option: String,
    /// Before.
    pub old: Value,
    /// After.
    pub new: Value,
    /// Whether a running gateway takes it.
    pub effect: Effect,
    /// Of a default that routes take over: how many go by it, of the new ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<usize>,
}

/// A value, and who says it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Value {
    /// As a configuration has it; `None` where the option is not there at all.
    pub value: Option<String>,
    /// Where it stands, as `file:line:column`; `None` for a default.
    pub at: Option<String>,
}

/// What a running gateway makes of a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It is in force at once.
    Live,
    /// It needs another start, and keeps the whole configuration from being taken until then.
    Restart,
    /// It tells `leeward lint` more, and changes nothing else.
    Lint,
}

/// What a running gateway would do with the new configuration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Reload {
    /// Whether it takes it, as far as the configurations say. Files of certificates are not looked at.
    pub taken: bool,
    /// The options that it cannot change.
    pub restart: Vec<&'static str>,
    /// Services that are nowhere in the new one and were somewhere in the old one.
    pub nowhere: Vec<String>,
}

/// Compares two configurations. The second is the newer one.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Diff {
    let fixed = fixed(old, new);
    let both = Pair { old, new, values: [Values::read(old), Values::read(new)], fixed: &fixed };
    let routes = both.things(Group::Route, summary(old), summary(new));
    let services = both.things(Group::Service, service(old), service(new));
    let listeners = both.things(Group::Listener, |_| String::new(), |_| String::new());
    let issuers = both.things(Group::Issuer, |_| String::new(), |_| String::new());
    let options = both.top();
    let (requests, requests_left_out) = requests::find(old, new, &routes);
    let nowhere = nowhere(old, new);
    let is_empty = [&routes, &services, &listeners, &issuers].into_iter().all(Things::is_empty);
    Diff {
        same: is_empty && options.is_empty() && requests.is_empty() && requests_left_out == 0,
        routes,
        services,
        listeners,
        issuers,
        options,
        requests,
        requests_left_out,
        reload: Reload { taken: fixed.is_empty() && nowhere.is_empty(), restart: fixed, nowhere },
    }
}

fn nowhere(old: &Config, new: &Config) -> Vec<String> {
    // Somebody else may say where they are, on the command line or in the directory.
    let before: Vec<Arc<str>> = places::nowhere(old);
    let gone = places::nowhere(new).into_iter().filter(|name| !before.contains(name));
    gone.map(|name| name.to_string()).collect()
}

fn summary(config: &Config) -> impl Fn(&str) -> String {
    let by_id: BTreeMap<&str, &Route> = config.routes.iter().map(|route| (&*route.id, route)).collect();
    move |id| {
        let Some(route) = by_id.get(id) else { return String::new() };
        let hosts: Vec<String> = route.hosts.iter().map(ToString::to_string).collect();
        let exact = if route.pattern.is_exact() { " exact" } else { "" };
        let (hosts, path) = (hosts.join(","), route.pattern.text());
        format!("{} {hosts}{path}{exact} to {}, for {}", route.methods.shown(), route.target, route.access)
    }
}

fn service(config: &Config) -> impl Fn(&str) -> String {
    move |name| {
        let policy = config.service(name);
        match &policy.dns {
            Some(name) => format!("wherever DNS says that {name} is"),
            None if policy.urls.is_empty() => "wherever the directory says".to_owned(),
            None => policy.urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        }
    }
}

/// Both configurations, as their values.
struct Pair<'c> {
    old: &'c Config,
    new: &'c Config,
    values: [Values; 2],
    fixed: &'c [&'static str],
}

/// Options of a route that it takes over from the top of the file, and from where.
const TAKEN_OVER: [(&str, &str); 3] =
    [("deadline", "limits.deadline"), ("body", "limits.body"), ("security_headers", "security_headers")];

impl Pair<'_> {
    fn things(
        &self,
        group: Group,
        of_old: impl Fn(&str) -> String,
        of_new: impl Fn(&str) -> String,
    ) -> Things {
        let [old, new] = self.values.each_ref().map(|values| values.of(group));
        let mut things = Things::default();
        for (id, item) in new {
            let Some(before) = old.get(id) else {
                let at = values::at(self.new, &item.prefix);
                things.added.push(Thing { id: id.clone(), at, is: of_new(id) });
                continue;
            };
            let mut options = self.options((before, item));
            if group == Group::Route {
                options.retain(|changed| !is_taken_over(changed));
            }
            if !options.is_empty() {
                things.changed.push(Both { id: id.clone(), options });
            }
        }
        for (id, item) in old.iter().filter(|(id, _)| !new.contains_key(*id)) {
            things.removed.push(Thing {
                id: id.clone(),
                at: values::at(self.old, &item.prefix),
                is: of_old(id),
            });
        }
        things
    }

    fn top(&self) -> Vec<Changed> {
        let [old, new] = self.values.each_ref().map(Values::top);
        let mut options = self.options((old, new));
        for changed in &mut options {
            let Some((option, _)) =
                TAKEN_OVER.iter().find(|(_, from)| values::is_within(&changed.option, from))
            else {
                continue;
            };
            let goes_by_it = |route: &&Route| match *option {
                "deadline" => route.deadline.is_none(),
                "body" => route.body_bytes.is_none(),
                _ => route.security_headers.is_none(),
            };
            changed.routes = Some(self.new.routes.iter().filter(goes_by_it).count());
        }
        options
    }

    fn options(&self, (old, new): (&values::Item, &values::Item)) -> Vec<Changed> {
        let changed = values::differing(old, new).into_iter().map(|option| {
            let (before, after) = (old.value(&option), new.value(&option));
            let path = values::path(&new.prefix, &option);
            let old_path = values::path(&old.prefix, &option);
            Changed {
                old: Value { at: values::given_at(self.old, &old_path, before.as_ref()), value: before },
                new: Value { at: values::given_at(self.new, &path, after.as_ref()), value: after },
                effect: self.effect(&path, &option),
                option,
                routes: None,
            }
        });
        changed.collect()
    }

    fn effect(&self, path: &str, option: &str) -> Effect {
        let first = option.split(['.', '[']).next().unwrap_or_default();
        let is_of_service = path.starts_with("services") && matches!(first, "facts" | "calls");
        if self.fixed.iter().any(|name| values::is_within(path, name)) {
            Effect::Restart
        } else if is_of_service || (path == option && matches!(first, "facts" | "behind")) {
            Effect::Lint
        } else {
            Effect::Live
        }
    }
}

/// Whether a route says neither the old nor the new value itself.
fn is_taken_over(changed: &Changed) -> bool {
    let is_one = TAKEN_OVER.iter().any(|(option, _)| values::is_within(&changed.option, option));
    is_one && changed.old.at.is_none() && changed.new.at.is_none()
}
