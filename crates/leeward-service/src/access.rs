//! Who may call a route: stated beside the route, checked in one place, walked by a test.

use std::fmt;

use crate::identity::{Caller, Principal};
use crate::problem::Problem;

/// Who may call. The check says who comes in; whether *this* user may see *this* order is the handler's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Anyone, without an identity. A wrong identity is refused all the same.
    Anyone,
    /// A user, through whichever service.
    User,
    /// A user who has this role.
    Role(&'static str),
    /// A user who has this permission.
    Permission(&'static str),
    /// Any service, on its own behalf.
    AnyService,
    /// Only calls made by these services, on whoever's behalf.
    Services(&'static [&'static str]),
    /// A person or tool that operates the platform.
    Operator,
}

impl Access {
    /// Lets the caller in, or says why not: 401 without an identity, 403 with the wrong one.
    ///
    /// # Errors
    /// The problem to answer with.
    pub fn permits(self, caller: Option<&Caller>) -> Result<(), Problem> {
        if self == Self::Anyone {
            return Ok(());
        }
        let Some(caller) = caller else {
            return Err(Problem::unauthenticated("this needs an identity"));
        };
        if self.holds_for(caller) { Ok(()) } else { Err(Problem::forbidden(self.refusal())) }
    }

    fn holds_for(self, caller: &Caller) -> bool {
        match self {
            Self::Anyone => true,
            Self::User => caller.user().is_some(),
            Self::Role(role) => caller.has_role(role),
            Self::Permission(permission) => caller.has_permission(permission),
            Self::AnyService => *caller.principal() == Principal::Service,
            // An operator who comes through a named service is still no call of that service.
            Self::Services(names) => {
                !matches!(caller.principal(), Principal::Operator) && names.contains(&caller.issuer())
            }
            Self::Operator => caller.is_operator(),
        }
    }

    fn refusal(self) -> &'static str {
        match self {
            Self::Anyone => "",
            Self::User => "this needs a user",
            Self::Role(_) => "this needs a role that the caller does not have",
            Self::Permission(_) => "this needs a permission that the caller does not have",
            Self::AnyService => "this is for services only",
            Self::Services(_) => "this is for certain services only",
            Self::Operator => "this is for operators only",
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anyone => f.write_str("anyone"),
            Self::User => f.write_str("user"),
            Self::Role(role) => write!(f, "role:{role}"),
            Self::Permission(permission) => write!(f, "permission:{permission}"),
            Self::AnyService => f.write_str("any-service"),
            Self::Services(names) => write!(f, "services:{}", names.join(",")),
            Self::Operator => f.write_str("operator"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::User;

    #[test]
    fn the_whole_table() {
        let anna = Caller::new("gateway", Principal::User(User::new("u-1")));
        let admin =
            Caller::new("gateway", Principal::User(User::new("u-2").with_role("admin").with_permission("p")));
        let orders = Caller::new("orders", Principal::Service);
        let orders_for_anna = Caller::new("orders", Principal::User(User::new("u-1")));
        let catalog = Caller::new("catalog", Principal::Service);
        let operator = Caller::new("gateway", Principal::Operator);
        let operator_by_orders = Caller::new("orders", Principal::Operator);
        let callers = [&anna, &admin, &orders, &orders_for_anna, &catalog, &operator, &operator_by_orders];
        let table = [
            (Access::Anyone, None, [true; 7]),
            (Access::User, Some(401), [true, true, false, true, false, false, false]),
            (Access::Role("admin"), Some(401), [false, true, false, false, false, false, false]),
            (Access::Permission("p"), Some(401), [false, true, false, false, false, false, false]),
            (Access::AnyService, Some(401), [false, false, true, false, true, false, false]),
            (Access::Services(&["orders"]), Some(401), [false, false, true, true, false, false, false]),
            (Access::Operator, Some(401), [false, false, false, false, false, true, true]),
        ];
        for (access, nobody, expected) in table {
            let refused = access.permits(None).err().map(|problem| problem.status().as_u16());
            assert_eq!(refused, nobody, "{access} without an identity");
            for (caller, expected) in callers.iter().zip(expected) {
                let answer = access.permits(Some(caller));
                assert_eq!(answer.is_ok(), expected, "{access} for {caller:?}");
                assert!(answer.is_ok() || answer.is_err_and(|problem| problem.status() == 403));
            }
        }
    }
}
