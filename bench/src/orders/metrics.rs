//! What the databases of the shop say that they did: each server's /metrics.

use std::collections::BTreeMap;

use super::shop::Shop;

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
                by_server.insert(name.to_owned(), (sum(&text, COMMITS), sum(&text, SYNCS)));
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

/// The sum over all label sets of the metrics called one of `names`.
fn sum(text: &str, names: [&str; 2]) -> f64 {
    let values = text.lines().filter_map(|line| {
        let rest = names.iter().find_map(|name| line.strip_prefix(name))?;
        let value = match rest.strip_prefix('{') {
            Some(labels) => labels.rsplit_once('}')?.1,
            None => rest.strip_prefix(' ')?,
        };
        value.trim().parse::<f64>().ok()
    });
    values.sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn label_sets_are_added_up_and_longer_names_are_not() {
        let text = "# TYPE leeward_db_commits gauge\nleeward_db_commits{db=\"a\"} 3.0\nleeward_db_commits{db=\"b\"} 4\n\
                    leeward_db_commits_max 9\nleeward_bus_commits 2\nleeward_db_syncs 5\n";
        assert_eq!((super::sum(text, super::COMMITS), super::sum(text, super::SYNCS)), (9.0, 5.0));
    }
}
