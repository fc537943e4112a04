//! The types of options.

use std::num::NonZeroU32;
use std::time::Duration;

/// A type of option that is one `U` in a document; wrapped in an `Option`, it may be off.
pub trait Scalar<U>: Sized {
    /// Whether it may be off.
    const OPTIONAL: bool = false;

    /// The value; `None` is off.
    fn get(&self) -> Option<U>;

    /// An option of that value, if there is one.
    fn of(value: Option<U>) -> Option<Self>;
}

/// Whole numbers in their own sizes.
macro_rules! whole {
    ($($whole:ty),*) => {$(
        impl Scalar<u64> for $whole {
            fn get(&self) -> Option<u64> {
                // A `usize` of more than 64 bits is none of ours.
                u64::try_from(*self).ok()
            }

            fn of(value: Option<u64>) -> Option<Self> {
                value?.try_into().ok()
            }
        }
    )*};
}

whole!(u32, u64, usize);

impl Scalar<u64> for NonZeroU32 {
    fn get(&self) -> Option<u64> {
        Some(u32::from(*self).into())
    }

    fn of(value: Option<u64>) -> Option<Self> {
        u32::try_from(value?).ok().and_then(Self::new)
    }
}

/// Types that stand for themselves.
macro_rules! plain {
    ($($plain:ty),*) => {$(
        impl Scalar<Self> for $plain {
            fn get(&self) -> Option<Self> {
                Some(*self)
            }

            fn of(value: Option<Self>) -> Option<Self> {
                value
            }
        }
    )*};
}

plain!(bool, f64, Duration);

impl<U, S: Scalar<U>> Scalar<U> for Option<S> {
    const OPTIONAL: bool = true;

    fn get(&self) -> Option<U> {
        self.as_ref().and_then(Scalar::get)
    }

    fn of(value: Option<U>) -> Option<Self> {
        match value {
            Some(value) => S::of(Some(value)).map(Some),
            None => Some(None),
        }
    }
}
