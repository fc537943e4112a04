//! Another configuration for a gateway that runs: all of it at one moment, or nothing.
//!
//! The rule: the tables of the new configuration are made beside those in force, and everything that can be wrong is found while
//! nobody sees them. Then the endpoints and the options of policies change, the snapshot is published, and every request that
//! begins after that goes by it, on connections old and new; one that began before ends under the tables that it began with.
//! Policies are the same ones under other options: what is spent stays spent, and what is open stays open.

mod again;
mod source;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use leeward_resilience::pipeline::Part;
use parking_lot::Mutex;
use serde::Serialize;

pub use self::again::{Cause, Failure};
pub use self::source::{BoxError, Source};

pub(crate) use self::again::{Refused, again, follow_file, retire};
pub(crate) use self::source::{Stamp, Watch};

use crate::config::{Config, Route, ServicePolicy};
use crate::gateway::Error;
use crate::health;
use crate::lookups::Lookups;
use crate::places::{self, Places};
use crate::published::Published;
use crate::shared::{Gone, Lasting, OwnPolicies, Pending, Shared};

/// What another configuration changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Changes {
    /// How many configurations have been in force since the start, this one included.
    pub epoch: u64,
    /// Routes, by their ids. One that only stands on another line is the same.
    pub routes: Delta,
    /// Services, by their names.
    pub services: Delta,
    /// Other options at the top of the file.
    pub options: Vec<&'static str>,
}

/// What came, went, and stayed under other options.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Delta {
    /// Only in the new one.
    pub added: Vec<String>,
    /// Only in the old one.
    pub removed: Vec<String>,
    /// In both, and not the same.
    pub changed: Vec<String>,
}

impl Delta {
    /// Whether nothing is different.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    fn between<'a, T>(
        old: impl Iterator<Item = (&'a str, T)>,
        new: impl Iterator<Item = (&'a str, T)>,
        is_same: impl Fn(&T, &T) -> bool,
    ) -> Self {
        let mut old: HashMap<&str, T> = old.collect();
        let mut delta = Self::default();
        for (name, new) in new {
            match old.remove(name) {
                None => delta.added.push(name.to_owned()),
                Some(old) if !is_same(&old, &new) => delta.changed.push(name.to_owned()),
                Some(_) => {}
            }
        }
        delta.removed = old.into_keys().map(str::to_owned).collect();
        delta.removed.sort_unstable();
        delta
    }
}

impl Changes {
    fn between(old: &Config, new: &Config, epoch: u64) -> Self {
        Self {
            epoch,
            routes: Delta::between(routes(old), routes(new), |a, b| a.is_same(b)),
            services: Delta::between(services(old), services(new), |a, b| a == b),
            options: options(old, new),
        }
    }
}

fn routes(config: &Config) -> impl Iterator<Item = (&str, &Route)> {
    config.routes.iter().map(|route| (&*route.id, route))
}

fn services(config: &Config) -> impl Iterator<Item = (&str, &ServicePolicy)> {
    config.services.iter().map(|(name, policy)| (&**name, policy))
}

/// The top of the file, but for routes, services, and what is [`fixed`].
fn options(old: &Config, new: &Config) -> Vec<&'static str> {
    only_true([
        ("trusted_proxies", old.trusted_proxies != new.trusted_proxies),
        ("unsafe_trust_any_proxy", old.unsafe_trust_any_proxy != new.unsafe_trust_any_proxy),
        ("explain_to", old.explain_to != new.explain_to),
        ("unsafe_explain_to_anyone", old.unsafe_explain_to_anyone != new.unsafe_explain_to_anyone),
        ("allow", old.addresses.allow != new.addresses.allow),
        ("deny", old.addresses.deny != new.addresses.deny),
        ("unsafe_keep_encoded_slash", old.encoded_slash != new.encoded_slash),
        ("admin", old.admin != new.admin),
        ("decisions", old.decisions != new.decisions),
        ("limits", old.limits != new.limits),
        ("cors", old.cors != new.cors),
        ("security_headers", old.security_headers != new.security_headers),
        ("jwt", old.jwt != new.jwt),
        ("api_keys", old.api_keys != new.api_keys),
        ("basic", old.basic != new.basic),
        ("rate_limits", old.rate_limits != new.rate_limits),
        ("concurrency_limit", old.concurrency != new.concurrency),
        ("shed", old.shed != new.shed),
        ("dns", old.dns != new.dns),
        ("health", old.health != new.health),
        ("stale", old.stale != new.stale),
    ])
}

/// What is not as it is in the running gateway and cannot be changed in it: sockets and threads are made at the start, revocations
/// are read before the first request, policies are made with a place for faults or without one, series have their bounds, the access log is open with what it has not written, and places for keys cannot be taken away without forgetting who has spent what.
pub(crate) fn fixed(old: &Config, new: &Config) -> Vec<&'static str> {
    only_true([
        ("listen", old.listen != new.listen),
        ("cores", old.cores != new.cores),
        ("admin.listen", old.admin.listen != new.admin.listen),
        ("metrics", old.metrics != new.metrics),
        ("admin.faults", old.admin.faults != new.admin.faults),
        ("access_log", old.access_log != new.access_log),
        ("revocation", old.revocation != new.revocation),
        ("rate_limits.keys", old.rate_limits.keys != new.rate_limits.keys),
    ])
}

/// Services that nothing needs any more.
fn gone(old: &Config, new: &Config) -> Vec<String> {
    let left = new.service_names();
    let gone = old.service_names().into_iter().filter(|name| left.binary_search(name).is_err());
    gone.map(|name| name.to_string()).collect()
}

/// What routes had for themselves and have no more: all of it, and parts of what goes on.
fn policies_gone(old: &Shared, new: &Shared) -> (Vec<String>, Vec<(String, Part)>) {
    let now: HashMap<&str, &OwnPolicies> = new.own_policies().collect();
    let (mut all, mut parts) = (Vec::new(), Vec::new());
    for (name, own) in old.own_policies() {
        match now.get(name) {
            None => all.push(name.to_owned()),
            Some(now) => {
                let gone = now.shared.iter().filter(|part| !own.shared.contains(part));
                parts.extend(gone.map(|part| (name.to_owned(), *part)));
            }
        }
    }
    (all, parts)
}

/// Routes that had series of their own and have none any more: they are gone, or beyond the budget.
fn labels_gone(old: &Shared, new: &Shared) -> Vec<String> {
    let own = |shared: &Shared| -> HashSet<Arc<str>> {
        let routes = shared.routes.iter().filter(|route| route.label == route.config.id);
        routes.map(|route| Arc::clone(&route.label)).collect()
    };
    own(old).difference(&own(new)).map(ToString::to_string).collect()
}

fn only_true<const N: usize>(table: [(&'static str, bool); N]) -> Vec<&'static str> {
    table.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
}

/// The one who puts configurations into force.
#[derive(Debug)]
pub(crate) struct Reloader {
    published: Published,
    lasting: Lasting,
    is_own_directory: bool,
    /// Where the configuration comes from.
    source: Option<Source>,
    /// What the file was when it was read the last time.
    read: Mutex<Option<Stamp>>,
    reading: Mutex<()>,
    one_at_a_time: Mutex<()>,
    /// Snapshots that are not in force any more, and that a core may still have. Never more than there were configurations since the
    /// last look.
    retired: Mutex<Vec<Arc<Shared>>>,
}

impl Reloader {
    pub(crate) fn new(
        published: Published,
        lasting: Lasting,
        is_own_directory: bool,
        source: Option<Source>,
    ) -> Self {
        let first = published.current();
        first.measure();
        first.config.origins.prepare();
        let (reading, one_at_a_time) = (Mutex::new(()), Mutex::new(()));
        let (read, retired) = (Mutex::new(None), Mutex::default());
        Self { published, lasting, is_own_directory, source, read, reading, one_at_a_time, retired }
    }

    pub(crate) fn published(&self) -> &Published {
        &self.published
    }

    /// Does something to what is in force, with no other configuration coming in between.
    pub(crate) fn steadily<T>(&self, work: impl FnOnce(&Shared) -> T) -> T {
        let _one_at_a_time = self.one_at_a_time.lock();
        work(&self.published.current())
    }

    pub(crate) fn reload(&self, config: Config) -> Result<Changes, Error> {
        let config = &Arc::new(config);
        let _one_at_a_time = self.one_at_a_time.lock();
        let old = self.published.current();
        // Noted before other keys are waited for.
        health::is_ready(&old);
        let fixed = fixed(&old.config, config);
        if !fixed.is_empty() {
            return Err(Error::NeedsRestart { options: fixed });
        }
        let places = Places::read(config, self.is_own_directory)?;
        let (next, pending) = self.next(&old, config)?;
        let epoch = next.version.epoch;

        // From here on nothing fails. What was looked up is no word against what is said now.
        if let Some(lookups) = &old.lookups
            && !next.lookups.as_ref().is_some_and(|next| Arc::ptr_eq(lookups, next))
        {
            lookups.end();
        }
        // Who is new is there before anybody is sent to them, who is gone until nobody is.
        places.settle(&self.lasting.directory);
        pending.apply();
        next.measure();
        self.published.publish(Arc::new(next));
        places::leave(&old.config, config, &self.lasting.directory);
        let now = self.published.current();
        self.lasting.holds.settle(
            |name| now.service(name)?.pipeline.breaker(),
            |name| self.lasting.directory.service(name),
        );
        if let Err(problem) = now.keep_deliveries(None) {
            tracing::error!(%problem, "after a restart deliveries would begin as before this configuration");
        }
        let changes = Changes::between(&old.config, config, epoch);
        let (policies, parts) = policies_gone(&old, &now);
        let gone =
            Gone { routes: labels_gone(&old, &now), services: gone(&old.config, config), policies, parts };
        self.lasting.metrics.forget(&gone);
        old.leaving.without(gone);
        // Otherwise a core would wait for it at its first refusal.
        now.config.origins.prepare();
        drop(now);
        self.retired.lock().push(old);
        self.forget_departed();
        Ok(changes)
    }

    /// Takes away what the last requests of old configurations have counted for routes and services that are gone. Not while another
    /// configuration comes into force: the next one to look does it.
    pub(crate) fn sweep(&self) {
        if let Some(_one_at_a_time) = self.one_at_a_time.try_lock() {
            self.forget_departed();
        }
    }

    /// What the file was when it was read the last time.
    pub(crate) fn seen(&self) -> Option<Stamp> {
        *self.read.lock()
    }

    /// Whether a snapshot is kept that is not in force any more.
    pub(crate) fn has_retired(&self) -> bool {
        !self.retired.lock().is_empty()
    }

    /// Drops what no core has any more. Tables of thousands of routes take milliseconds, which is too long for a core.
    fn drop_retired(&self) {
        let is_held = |shared: &mut Arc<Shared>| Arc::strong_count(shared) > 1;
        let free: Vec<_> = self.retired.lock().extract_if(.., |shared| !is_held(shared)).collect();
        // Outside of the lock.
        drop(free);
    }

    /// What came back meanwhile stays.
    fn forget_departed(&self) {
        self.drop_retired();
        let departed = self.lasting.departed.take();
        if departed.is_empty() {
            return;
        }
        let now = self.published.current();
        let labels: HashSet<&str> = now.routes.iter().map(|route| &*route.label).collect();
        let services = now.config.service_names();
        let policies: HashMap<&str, &OwnPolicies> = now.own_policies().collect();
        for mut gone in departed {
            gone.routes.retain(|label| !labels.contains(&**label));
            gone.services.retain(|name| !services.iter().any(|known| **known == **name));
            gone.policies.retain(|name| !policies.contains_key(&**name));
            gone.parts
                .retain(|(name, part)| policies.get(&**name).is_some_and(|own| own.shared.contains(part)));
            self.lasting.metrics.forget(&gone);
        }
    }

    /// The tables. Asking for a service makes the directory know its name, and counting for a route begins its series: what comes to
    /// nothing is forgotten again.
    fn next(&self, old: &Shared, config: &Arc<Config>) -> Result<(Shared, Pending), Error> {
        let lookups = Lookups::after(&old.config, old.lookups.as_ref(), config, &self.lasting.clock);
        let lookups = lookups.map_err(Error::Dns)?;
        let directory = &self.lasting.directory;
        let mut unknown = config.service_names();
        unknown.retain(|name| directory.service(name).is_none());
        let mut pending = Pending::default();
        match old.after(config, lookups, &self.lasting, &mut pending) {
            Ok(next) => Ok((next, pending)),
            Err(error) => {
                // It holds handles.
                drop(pending);
                for name in &unknown {
                    directory.forget_unused(name);
                }
                let known: HashSet<&str> = old.routes.iter().map(|route| &*route.label).collect();
                let new = config.routes.iter().filter(|route| !known.contains(&*route.id));
                let routes = new.map(|route| route.id.to_string()).collect();
                self.lasting.metrics.forget(&Gone { routes, ..Gone::default() });
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use leeward_runtime::Env;

    use super::*;
    use crate::schema::shapes;

    /// A key of RFC 8410, 10.1.
    const KEYS: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "p1", "x": "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE"}]}"#;

    /// Operators look for what a reload names in the file, and in the guides.
    #[test]
    fn what_a_reload_names_is_an_option_of_the_file() {
        let text = include_str!("../tests/it/config/full.yaml");
        let env = Env::from_pairs([
            ("LEEWARD_ADMIN_TOKEN", "secret-text"),
            ("LEGACY_SECRET", "secret-text of more than 32 bytes"),
            ("PARTNER_KEYS", KEYS),
        ]);
        let full = Config::parse("full.yaml", text, &env).unwrap();
        let bare = Config::default();
        let shapes = shapes();
        let (live, fixed) = (options(&bare, &full), fixed(&bare, &full));
        assert!(live.len() > 15 && fixed.len() > 5, "{live:?} {fixed:?}");
        for name in live.iter().chain(&fixed) {
            let is_it = |path: &str| {
                path == *name
                    || path.starts_with(&format!("{name}."))
                    || path.starts_with(&format!("{name}["))
            };
            assert!(shapes.keys().any(|path| is_it(path)), "{name}");
        }
    }
}
