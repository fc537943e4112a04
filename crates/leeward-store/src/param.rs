//! Values on their way into a statement.

use std::sync::Arc;

/// One value bound to a statement, borrowed for the time of the call. Build a list of them with
/// [`params!`](crate::params).
///
/// There are four types, the common subset of SQLite and PostgreSQL. A number wider than `i64` or a fraction
/// has no place in it: money is minor units, time is milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Param<'a> {
    /// SQL `NULL`.
    Null,
    /// A 64-bit integer (`INTEGER`, `BIGINT`).
    Integer(i64),
    /// UTF-8 text.
    Text(&'a str),
    /// Bytes (`BLOB`, `BYTEA`).
    Bytes(&'a [u8]),
}

/// What can be bound to a statement.
pub trait ToParam {
    /// The value, borrowed.
    fn to_param(&self) -> Param<'_>;
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl ToParam for $t {
            fn to_param(&self) -> Param<'_> {
                Param::Integer(i64::from(*self))
            }
        }
    )*};
}
integers!(i64, i32, i16, i8, u32, u16, u8, bool);

impl ToParam for str {
    fn to_param(&self) -> Param<'_> {
        Param::Text(self)
    }
}

impl ToParam for String {
    fn to_param(&self) -> Param<'_> {
        Param::Text(self)
    }
}

impl ToParam for [u8] {
    fn to_param(&self) -> Param<'_> {
        Param::Bytes(self)
    }
}

impl ToParam for Vec<u8> {
    fn to_param(&self) -> Param<'_> {
        Param::Bytes(self)
    }
}

impl<const N: usize> ToParam for [u8; N] {
    fn to_param(&self) -> Param<'_> {
        Param::Bytes(self)
    }
}

impl<T: ToParam> ToParam for Option<T> {
    fn to_param(&self) -> Param<'_> {
        self.as_ref().map_or(Param::Null, ToParam::to_param)
    }
}

impl<T: ToParam + ?Sized> ToParam for &T {
    fn to_param(&self) -> Param<'_> {
        (**self).to_param()
    }
}

impl<T: ToParam + ?Sized> ToParam for Arc<T> {
    fn to_param(&self) -> Param<'_> {
        (**self).to_param()
    }
}

impl<T: ToParam + ?Sized> ToParam for Box<T> {
    fn to_param(&self) -> Param<'_> {
        (**self).to_param()
    }
}

impl ToParam for std::borrow::Cow<'_, str> {
    fn to_param(&self) -> Param<'_> {
        Param::Text(self)
    }
}

impl ToParam for Param<'_> {
    fn to_param(&self) -> Param<'_> {
        *self
    }
}

/// The values of `$1 .. $n` of a statement, borrowed from the expressions given. Write it where it is used, in
/// the call: a temporary in it lives as long as the statement that it stands in.
///
/// ```
/// # use leeward_store::{params, Param};
/// let id = String::from("o-1");
/// let list: &[Param<'_>] = params![id, 5_i64, None::<i64>];
/// assert_eq!(list[0], Param::Text("o-1"));
/// ```
#[macro_export]
macro_rules! params {
    () => {
        &[] as &[$crate::Param<'_>]
    };
    ($($value:expr),+ $(,)?) => {
        &[$($crate::ToParam::to_param(&$value)),+] as &[$crate::Param<'_>]
    };
}
