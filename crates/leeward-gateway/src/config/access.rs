//! Who may use a route.

use std::fmt;
use std::sync::Arc;

use leeward_runtime::config::Node;

/// Who may use a route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rule {
    /// Everybody. A good token is still passed on as identity; a bad one is ignored.
    Anyone,
    /// Every user with a good token.
    User,
    /// Users with one of these roles.
    Roles(Vec<String>),
    /// Users with a token of one of these scopes.
    Scopes(Vec<String>),
    /// Users with a token whose claim has one of these values.
    Claim {
        /// The claim, or the way to it with dots.
        name: Arc<str>,
        /// Its values, as text.
        values: Vec<String>,
    },
    /// Users that pass all of these rules.
    All(Vec<Rule>),
}

const ALLOWED: &str = "anyone, user, role:NAME, scope:NAME, claim:NAME=VALUE, several names or values with commas, or a list of rules of which each must hold";

impl Rule {
    /// The claims that the rule looks at.
    pub(crate) fn claims(&self) -> Vec<Arc<str>> {
        match self {
            Self::Claim { name, .. } => vec![Arc::clone(name)],
            Self::All(rules) => rules.iter().flat_map(Self::claims).collect(),
            Self::Anyone | Self::User | Self::Roles(_) | Self::Scopes(_) => Vec::new(),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let list = |text: &str| {
            let items: Vec<String> = text.split(',').map(|item| item.trim().to_owned()).collect();
            let fine = |item: &String| !item.is_empty() && item.bytes().all(|b| b.is_ascii_graphic());
            items.iter().all(fine).then_some(items)
        };
        match text.split_once(':') {
            None if text == "anyone" => Some(Self::Anyone),
            None if text == "user" => Some(Self::User),
            Some(("role", roles)) => list(roles).map(Self::Roles),
            Some(("scope", scopes)) => list(scopes).map(Self::Scopes),
            Some(("claim", claim)) => {
                let (name, values) = claim.split_once('=')?;
                let values = list(values)?;
                let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
                is_name.then(|| Self::Claim { name: name.into(), values })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anyone => f.write_str("anyone"),
            Self::User => f.write_str("user"),
            Self::Roles(roles) => write!(f, "role:{}", roles.join(",")),
            Self::Scopes(scopes) => write!(f, "scope:{}", scopes.join(",")),
            Self::Claim { name, values } => write!(f, "claim:{name}={}", values.join(",")),
            Self::All(rules) => {
                let rules: Vec<String> = rules.iter().map(Self::to_string).collect();
                f.write_str(&rules.join(" and "))
            }
        }
    }
}

/// One rule, or a list of rules of which each must hold.
pub(super) fn access(node: &Node<'_>) -> Rule {
    let read = |node: &Node<'_>| node.parse_with("an access rule", ALLOWED, Rule::parse);
    if !node.is_list() {
        return read(node).unwrap_or(Rule::Anyone);
    }
    let mut rules: Vec<Rule> = node.items().iter().filter_map(read).collect();
    if rules.contains(&Rule::Anyone) || rules.is_empty() {
        node.reject("is a list that holds `anyone`, or nothing", ALLOWED);
    }
    if rules.len() == 1 { rules.remove(0) } else { Rule::All(rules) }
}
