//! A neutral tree of values.

/// What a document says, whatever format it is written in. The feature `serde` reads and writes it in every format that
/// has a parser for `serde`.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Nothing is said.
    #[default]
    Null,
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Whole(i128),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A map, in its order.
    Map(Vec<(String, Value)>),
}

impl Value {
    /// The value as the text that it would be written as, unless it is a map, a list or nothing.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Null | Self::List(_) | Self::Map(_) => None,
            Self::Flag(yes) => Some(yes.to_string()),
            Self::Whole(number) => Some(number.to_string()),
            Self::Number(number) => Some(number.to_string()),
            Self::Text(text) => Some(text.clone()),
        }
    }

    /// What stands here, for a mistake.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a map".to_owned(),
            Self::Text(text) => format!("`{text}`"),
            Self::Flag(_) | Self::Whole(_) | Self::Number(_) => self.text().unwrap_or_default(),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
