//! Roles, and what each may do.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a user is to the shop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Buys.
    #[default]
    Customer,
    /// Runs the shop.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 2] = [Self::Customer, Self::Admin];

    /// The role's name in tokens and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Admin => "admin",
        }
    }

    /// The role named `name`, if there is one.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// What the role may do; tokens carry the list, so that services ask for a permission and not for a role.
    #[must_use]
    pub const fn permissions(self) -> &'static [&'static str] {
        match self {
            Self::Customer => &["orders:own", "payments:own", "shipments:own"],
            Self::Admin => &[
                "users:read",
                "users:write",
                "catalog:write",
                "inventory:read",
                "inventory:write",
                "payments:read",
                "shipments:write",
                "orders:own",
                "payments:own",
                "shipments:own",
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Role;

    #[test]
    fn every_role_is_read_back_by_its_name() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse("Admin"), None);
    }
}
