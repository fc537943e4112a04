//! What the handle to the sagas reports.

use crate::decide::Illegal;

/// What [`Sagas`](crate::Sagas) reports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database.
    #[error(transparent)]
    Store(#[from] leeward_store::Error),
    /// No definition of this name is registered.
    #[error("no saga `{0}` is defined here")]
    Undefined(String),
    /// A definition of this name is registered already.
    #[error("a saga `{0}` is defined already")]
    Redefined(&'static str),
    /// The state given is not the definition's.
    #[error("the saga `{0}` has another type of state")]
    StateType(String),
    /// A saga's id, or a signal's, that cannot stand in a key.
    #[error("`{0}` is no id: 1 to 150 letters, digits and -_.:@+")]
    Id(String),
    /// A reply's key that no step has given out.
    #[error("`{0}` is no key of a saga's step")]
    Key(String),
    /// State or payload larger than the bound.
    #[error("{what} of {bytes} bytes is larger than {max}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// Something could not be written as JSON.
    #[error("not writable as JSON: {0}")]
    Encode(String),
    /// Something stored could not be read.
    #[error("not readable: {0}")]
    Decode(String),
    /// There is no saga of this id.
    #[error("there is no saga `{0}`")]
    NotFound(String),
    /// An operator's verb that makes no sense now.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// The saga moved on while an operator decided; look again.
    #[error("the saga `{0}` has moved on meanwhile; look at it again")]
    MovedOn(String),
    /// An operator's verb for a saga that this binary refuses.
    #[error("the saga `{id}` is refused: {why}")]
    Refused {
        /// Its id.
        id: String,
        /// Why.
        why: String,
    },
    /// Another engine has taken over these sagas.
    #[error("another engine has taken these sagas over")]
    TakenOver,
}
