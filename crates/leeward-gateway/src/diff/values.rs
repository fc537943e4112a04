//! The values of a configuration in force, by what they belong to.

use std::collections::{BTreeMap, BTreeSet};

use leeward_runtime::config::{join, leaves};

use crate::config::{Config, Jwt};

/// Lists in which it matters who stands first: all others are sets.
const ORDERED: [&str; 2] = ["dns.servers", "pin"];

/// What there are many of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Group {
    Route,
    Service,
    Listener,
    Issuer,
}

/// One of them, or the top of the file.
#[derive(Default, Debug)]
pub(super) struct Item {
    /// Its path in the configuration.
    pub(super) prefix: String,
    values: BTreeMap<String, String>,
}

/// All values of a configuration.
#[derive(Default, Debug)]
pub(super) struct Values {
    top: Item,
    groups: BTreeMap<Group, BTreeMap<String, Item>>,
    empty: BTreeMap<String, Item>,
}

impl Values {
    /// What the configuration prints is what is in force, and is read as any other file is.
    pub(super) fn read(config: &Config) -> Self {
        let mut values = Self::default();
        // Lists of values are one value.
        let mut lists: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for leaf in leaves(&config.to_full_yaml()).unwrap_or_default() {
            match leaf.path.strip_suffix(']').and_then(|path| path.rsplit_once('[')) {
                Some((list, index)) if index.bytes().all(|byte| byte.is_ascii_digit()) => {
                    lists.entry(list.to_owned()).or_default().push(leaf.text);
                }
                _ => values.put(config, &leaf.path, leaf.text),
            }
        }
        for (path, mut list) in lists {
            if !ORDERED.iter().any(|ordered| path.ends_with(ordered)) {
                list.sort_unstable();
            }
            values.put(config, &path, format!("[{}]", list.join(", ")));
        }
        values.hand_down("security_headers");
        values
    }

    /// Gives a group of the top to each route that has none of its own.
    fn hand_down(&mut self, group: &str) {
        let top = self.top.values.iter().filter(|(option, _)| is_within(option, group));
        let top: Vec<(String, String)> = top.map(|(option, value)| (option.clone(), value.clone())).collect();
        for route in self.groups.get_mut(&Group::Route).into_iter().flat_map(BTreeMap::values_mut) {
            if !route.values.keys().any(|option| is_within(option, group)) {
                route.values.extend(top.iter().cloned());
            }
        }
    }

    pub(super) fn of(&self, group: Group) -> &BTreeMap<String, Item> {
        self.groups.get(&group).unwrap_or(&self.empty)
    }

    pub(super) fn top(&self) -> &Item {
        &self.top
    }

    fn put(&mut self, config: &Config, path: &str, text: String) {
        let Some((group, id, prefix)) = owner(config, path) else {
            self.top.values.insert(path.to_owned(), text);
            return;
        };
        let option = path[prefix.len()..].trim_start_matches('.').to_owned();
        let item = self.groups.entry(group).or_default().entry(id).or_default();
        item.prefix = prefix;
        item.values.insert(option, text);
    }
}

/// What a path belongs to, and the path of that.
fn owner(config: &Config, path: &str) -> Option<(Group, String, String)> {
    let numbered = |list: &str| {
        let (index, _) = path.strip_prefix(list)?.strip_prefix('[')?.split_once(']')?;
        Some((index.parse::<usize>().ok()?, format!("{list}[{index}]")))
    };
    if let Some((index, prefix)) = numbered("routes") {
        return Some((Group::Route, config.routes.get(index)?.id.to_string(), prefix));
    }
    if let Some((index, prefix)) = numbered("listen") {
        return Some((Group::Listener, config.listen.get(index)?.address.to_string(), prefix));
    }
    if let Some((index, prefix)) = numbered("jwt") {
        return Some((Group::Issuer, issuer(config.jwt.get(index)?), prefix));
    }
    if path.starts_with("jwt.") {
        return Some((Group::Issuer, issuer(config.jwt.first()?), "jwt".to_owned()));
    }
    let name = service(path.strip_prefix("services")?)?;
    let mut prefix = "services".to_owned();
    join(&mut prefix, name);
    Some((Group::Service, name.to_owned(), prefix))
}

fn issuer(jwt: &Jwt) -> String {
    jwt.issuer.as_ref().map_or_else(|| jwt.keys.to_string(), ToString::to_string)
}

/// The first name of a path, quoted or not.
fn service(rest: &str) -> Option<&str> {
    if let Some(quoted) = rest.strip_prefix("[\"") {
        return quoted.split_once("\"]").map(|(name, _)| name);
    }
    rest.strip_prefix('.')?.split(['.', '[']).next()
}

impl Item {
    /// The value of an option, or all values below it; `None` where there is neither.
    pub(super) fn value(&self, option: &str) -> Option<String> {
        if let Some(value) = self.values.get(option) {
            return Some(if value.is_empty() { "none".to_owned() } else { value.clone() });
        }
        let below: Vec<String> = self.below(option).map(|(rest, value)| format!("{rest}: {value}")).collect();
        (!below.is_empty()).then(|| format!("{{{}}}", below.join(", ")))
    }

    fn below<'i>(&'i self, option: &'i str) -> impl Iterator<Item = (&'i str, &'i str)> {
        self.values.iter().filter_map(move |(path, value)| {
            let rest = path.strip_prefix(option)?;
            rest.starts_with(['.', '[']).then(|| (rest.trim_start_matches('.'), value.as_str()))
        })
    }
}

/// The options that differ. Where one of the two has a plain value and the other one a group, it is the group.
pub(super) fn differing(old: &Item, new: &Item) -> BTreeSet<String> {
    let mut differing = BTreeSet::new();
    for option in old.values.keys().chain(new.values.keys()) {
        if old.values.get(option) == new.values.get(option) {
            continue;
        }
        let around =
            groups(option).find(|group| old.values.contains_key(*group) || new.values.contains_key(*group));
        differing.insert(around.unwrap_or(option).to_owned());
    }
    differing
}

/// Whether an option is a group's, or the group itself.
pub(super) fn is_within(option: &str, group: &str) -> bool {
    option.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// What is around an option, outermost first.
fn groups(option: &str) -> impl Iterator<Item = &str> {
    option.char_indices().filter(|(_, letter)| matches!(letter, '.' | '[')).map(|(at, _)| &option[..at])
}

/// The path of an option of something.
pub(super) fn path(prefix: &str, option: &str) -> String {
    match (prefix.is_empty(), option.starts_with('[')) {
        (true, _) => option.to_owned(),
        (_, true) => format!("{prefix}{option}"),
        _ => format!("{prefix}.{option}"),
    }
}

/// Where something stands.
pub(super) fn at(config: &Config, path: &str) -> Option<String> {
    config.origins.of(path).map(ToString::to_string)
}

/// Where a value was given, by itself or by what stands for all of its group; `None` for a default.
pub(super) fn given_at(config: &Config, path: &str, value: Option<&String>) -> Option<String> {
    value?;
    let origins = &config.origins;
    origins.of(path).or_else(|| origins.of_value(path)).map(ToString::to_string)
}
