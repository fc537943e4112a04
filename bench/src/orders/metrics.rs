//! What the databases of the shop say that they did: each server's /metrics.

use std::collections::BTreeMap;

use super::shop::Shop;
use crate::metrics::sum;

/// Of a service's database, and of the bus's file at the gateway, which is the process that owns it.
const COMMITS: [&str; 2] = ["leeward_db_commits", "leeward_bus_commits"];
const SYNCS: [&str; 2] = ["leeward_db_syncs", "leeward_bus_syncs"];

/// Commits and syncs so far, by server.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    by_server: BTreeMap<String, (f64, f64)>,
}

impl Counts {
    /// Reads all servers that count.
    pub(super) async fn read(shop: &Shop) -> Result<Self, String> {
        let mut by_server = BTreeMap::new();
        for (name, server) in shop.servers() {
            let answer = server.get("/metrics").await?;
            let text = answer.text();
            if answer.status == 200 && COMMITS.iter().any(|name| text.contains(name)) {
                let name = if name == "gateway" { "bus" } else { name };
                by_server.insert(name.to_owned(), (sum(&text, &COMMITS), sum(&text, &SYNCS)));
            }
        }
        Ok(Self { by_server })
    }

    /// What was done since `before`.
    pub(super) fn since(mut self, before: &Self) -> Self {
        for (name, (commits, syncs)) in &mut self.by_server {
            let (commits_before, syncs_before) = before.by_server.get(name).copied().unwrap_or_default();
            *commits -= commits_before;
            *syncs -= syncs_before;
        }
        self
    }

    pub(super) fn commits(&self) -> f64 {
        self.by_server.values().map(|(commits, _)| commits).sum()
    }

    pub(super) fn syncs(&self) -> f64 {
        self.by_server.values().map(|(_, syncs)| syncs).sum()
    }

    /// Name, commits, syncs.
    pub(super) fn each(&self) -> impl Iterator<Item = (&str, f64, f64)> {
        self.by_server.iter().map(|(name, (commits, syncs))| (name.as_str(), *commits, *syncs))
    }
}
