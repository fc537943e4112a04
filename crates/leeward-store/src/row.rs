//! Rows that a statement returned.

use std::ops::Range;
use std::sync::Arc;

use crate::error::Error;

/// One row of a statement's result, owned: it may leave the transaction.
///
/// A row is two allocations whatever its width: the cells, and one buffer with all text and bytes. Read text
/// as `&str` where a borrow is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    cells: Box<[Cell]>,
    data: Box<[u8]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    Null,
    Integer(i64),
    /// A fraction: outside the common subset, kept only to say so when it is read.
    Real,
    Text(Range<usize>),
    Bytes(Range<usize>),
}

impl Row {
    pub(crate) fn new(cells: Box<[Cell]>, data: Box<[u8]>) -> Self {
        Self { cells, data }
    }

    /// The column at `index`, from zero, as `T`: `i64`, `i32`, `u32`, `bool`, `String`, `&str`, `Arc<str>`,
    /// `Vec<u8>`, `&[u8]` or an `Option` of one.
    ///
    /// # Errors
    /// [`Error::Column`] when there is no such column, it is of another type, or `NULL` where `T` is no
    /// `Option`.
    pub fn get<'r, T: FromColumn<'r>>(&'r self, index: usize) -> Result<T, Error> {
        let value = self.value(index);
        T::from_column(value).ok_or_else(|| Error::Column {
            index,
            expected: T::NAME,
            found: value.map_or("missing", Value::name),
        })
    }

    /// The number of columns.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether the row has no column at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    fn value(&self, index: usize) -> Option<Value<'_>> {
        Some(match self.cells.get(index)? {
            Cell::Null => Value::Null,
            Cell::Integer(number) => Value::Integer(*number),
            Cell::Real => Value::Real,
            Cell::Text(range) => match std::str::from_utf8(&self.data[range.clone()]) {
                Ok(text) => Value::Text(text),
                Err(_) => Value::BadText,
            },
            Cell::Bytes(range) => Value::Bytes(&self.data[range.clone()]),
        })
    }
}

/// A column's value, borrowed from its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value<'r> {
    /// SQL `NULL`.
    Null,
    /// A 64-bit integer.
    Integer(i64),
    /// A fraction, which no type reads: the common subset has none.
    Real,
    /// Text.
    Text(&'r str),
    /// Text that is not UTF-8, which no type reads.
    BadText,
    /// Bytes.
    Bytes(&'r [u8]),
}

impl Value<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Integer(_) => "an integer",
            Self::Real => "a fraction",
            Self::Text(_) => "text",
            Self::BadText => "text that is not UTF-8",
            Self::Bytes(_) => "bytes",
        }
    }
}

/// What a column can be read as.
pub trait FromColumn<'r>: Sized {
    /// The type's name in an error.
    const NAME: &'static str;

    /// The value as this type; none when it does not fit. `value` is none where the row has no such column.
    fn from_column(value: Option<Value<'r>>) -> Option<Self>;
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl<'r> FromColumn<'r> for $t {
            const NAME: &'static str = stringify!($t);
            fn from_column(value: Option<Value<'r>>) -> Option<Self> {
                match value {
                    Some(Value::Integer(number)) => Self::try_from(number).ok(),
                    _ => None,
                }
            }
        }
    )*};
}
integers!(i64, i32, i16, u64, u32, u16, u8, usize);

impl<'r> FromColumn<'r> for bool {
    const NAME: &'static str = "bool";
    fn from_column(value: Option<Value<'r>>) -> Option<Self> {
        match value {
            Some(Value::Integer(0)) => Some(false),
            Some(Value::Integer(1)) => Some(true),
            _ => None,
        }
    }
}

impl<'r> FromColumn<'r> for &'r str {
    const NAME: &'static str = "text";
    fn from_column(value: Option<Value<'r>>) -> Option<Self> {
        match value {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }
}

impl<'r> FromColumn<'r> for &'r [u8] {
    const NAME: &'static str = "bytes";
    fn from_column(value: Option<Value<'r>>) -> Option<Self> {
        match value {
            Some(Value::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }
}

macro_rules! owned {
    ($($t:ty, $from:ty);*) => {$(
        impl<'r> FromColumn<'r> for $t {
            const NAME: &'static str = <$from as FromColumn<'r>>::NAME;
            fn from_column(value: Option<Value<'r>>) -> Option<Self> {
                <$from>::from_column(value).map(Into::into)
            }
        }
    )*};
}
owned!(String, &'r str; Arc<str>, &'r str; Box<str>, &'r str; Vec<u8>, &'r [u8]; Arc<[u8]>, &'r [u8]);

impl<'r, T: FromColumn<'r>> FromColumn<'r> for Option<T> {
    const NAME: &'static str = T::NAME;
    fn from_column(value: Option<Value<'r>>) -> Option<Self> {
        match value {
            Some(Value::Null) => Some(None),
            other => T::from_column(other).map(Some),
        }
    }
}
