//! The two forms of a record: a JSON object, or a template of one's own.

use std::fmt;

use super::escape::Escape;
use super::facts::Facts;
use super::field::Field;

/// How a record is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Format {
    /// An object with these fields; those that have no value are left out.
    Json(Vec<Field>),
    /// A text with fields in it.
    Template(Template),
}

impl Default for Format {
    fn default() -> Self {
        Self::Json(Field::ALL.map(|(_, field)| field).to_vec())
    }
}

impl Format {
    pub(super) fn write(&self, out: &mut Vec<u8>, facts: &Facts, redact: &[String]) {
        match self {
            Self::Json(fields) => json(out, fields, facts, redact),
            Self::Template(template) => template.write(out, facts, redact),
        }
    }
}

fn json(out: &mut Vec<u8>, fields: &[Field], facts: &Facts, redact: &[String]) {
    out.push(b'{');
    let first = out.len();
    for field in fields {
        let start = out.len();
        out.extend_from_slice(field.opening().as_bytes());
        if !field.is_number() {
            out.push(b'"');
        }
        let value = out.len();
        field.write(out, facts, Escape::Json, redact);
        if out.len() == value {
            out.truncate(start);
            continue;
        }
        if !field.is_number() {
            out.push(b'"');
        }
    }
    if out.len() > first {
        // There is no member before the first.
        out.remove(first);
    }
    out.push(b'}');
}

/// Bytes of a template.
const TEMPLATE_BYTES_MAX: usize = 4_096;
/// Fields of a template.
const TEMPLATE_FIELDS_MAX: usize = 64;

/// A text with `{field}` in it; `{{` and `}}` are braces. A field without a value is written as `-`. What clients sent is escaped,
/// quotes too, but spaces are not: a field that may have some (`user_agent`) belongs between quotes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(String),
    Field(Field),
}

/// Why a text is no template.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// No field of that name.
    #[error("has `{{{0}}}`, which is not a field")]
    Unknown(String),
    /// A brace that is none of a field.
    #[error("has a single brace; a brace itself is written twice")]
    Brace,
    /// It says nothing of the request.
    #[error("has no field")]
    NoField,
    /// Too much of it.
    #[error("has more than {TEMPLATE_FIELDS_MAX} fields or {TEMPLATE_BYTES_MAX} bytes")]
    TooLong,
    /// A record is one line.
    #[error("has a control character; a record is one line")]
    Control,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.chars().any(char::is_control) {
            return Err(Error::Control);
        }
        let mut parts: Vec<Part> = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            let (name, after) = rest.split_once('}').filter(|_| brace == "{").ok_or(Error::Brace)?;
            let field = Field::named(name).ok_or_else(|| Error::Unknown(name.to_owned()))?;
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Field(field));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        match parts.iter().filter(|part| matches!(part, Part::Field(_))).count() {
            0 => Err(Error::NoField),
            fields if fields > TEMPLATE_FIELDS_MAX || text.len() > TEMPLATE_BYTES_MAX => Err(Error::TooLong),
            _ => Ok(Self { text: text.to_owned(), parts }),
        }
    }

    fn write(&self, out: &mut Vec<u8>, facts: &Facts, redact: &[String]) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Field(field) => {
                    let start = out.len();
                    field.write(out, facts, Escape::Text, redact);
                    if out.len() == start {
                        out.push(b'-');
                    }
                }
            }
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn written(format: &Format) -> String {
        let facts = Facts { code: "not_found", ..Facts::default() };
        let mut out = Vec::new();
        format.write(&mut out, &facts, &[]);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_template_is_text_and_fields() {
        for (text, shown) in [
            ("{code}", "not_found"),
            ("{{{code}}} {status}", "{not_found} 0"),
            ("user=\"{user}\" {code}.", "user=\"-\" not_found."),
        ] {
            assert_eq!(written(&Format::Template(Template::parse(text).unwrap())), shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_template_says_why() {
        let many = "{code}".repeat(65);
        let long = format!("{{code}}{}", "a".repeat(4_096));
        for (text, error) in [
            ("plain", Error::NoField),
            ("{statsu}", Error::Unknown("statsu".to_owned())),
            ("{status", Error::Brace),
            ("status}", Error::Brace),
            ("{}", Error::Unknown(String::new())),
            ("{status}\n", Error::Control),
            (&many, Error::TooLong),
            (&long, Error::TooLong),
        ] {
            assert_eq!(Template::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn json_leaves_out_what_has_no_value() {
        let format = Format::Json(vec![Field::User, Field::Status, Field::Code, Field::Route]);
        assert_eq!(written(&format), "{\"status\":0,\"code\":\"not_found\"}");
    }

    #[test]
    fn fields_have_their_own_names() {
        let mut names = Field::ALL.map(|(name, _)| name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Field::ALL.len());
        assert!(
            Field::ALL
                .iter()
                .all(|(name, field)| Field::named(name) == Some(*field) && field.name() == *name)
        );
    }
}
