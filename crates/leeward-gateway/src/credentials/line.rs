//! A file of callers, line by line: an id, what tells that it is the one, and what its holder may.
//!
//! ```text
//! # id       proof       what the holder is and may, in the words of `access`
//! ci         9f86d0...   role:deploy scope:orders:read,orders:write expires:2027-06-30
//! partner-7  2c26b4...   user:u7 claim:plan=pro
//! ```

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::date;
use crate::jwt::{Subject, Verified};
use leeward_service::identity::User;

/// Most callers of a file: at about 700 bytes each, 70 MB.
const LINES_MAX: usize = 100_000;
/// Longest id, in bytes.
const ID_BYTES_MAX: usize = 64;
/// Longest user id, in bytes: as that of a token.
const USER_BYTES_MAX: usize = 128;

/// What may be said of a holder.
const WORDS: &str = "user:ID, role:NAME, permission:NAME, scope:NAME, claim:NAME=VALUE, expires:2027-06-30";

/// What is wrong with a file. What stands in a line is never repeated: it may be a secret in the wrong place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Mistakes {
    /// The first of them.
    line: usize,
    column: usize,
    what: String,
    count: usize,
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, what, count } = self;
        write!(f, "line {line}, column {column}: {what}")?;
        if *count > 1 { write!(f, " (and {} more)", count - 1) } else { Ok(()) }
    }
}

/// A line that is right.
#[derive(Debug)]
pub(super) struct Line<'t, P> {
    pub(super) id: &'t str,
    pub(super) proof: P,
    pub(super) subject: Subject,
}

/// Where in a line something is wrong, and what.
type Wrong = (usize, String);

/// The lines of a file. `proof` reads what tells that it is the one; users without a `user:` are called `prefix` and their id.
pub(super) fn read<'t, P>(
    text: &'t str,
    prefix: &str,
    proof: impl Fn(&str) -> Result<P, &'static str>,
) -> Result<Vec<Line<'t, P>>, Mistakes> {
    let mut lines = Vec::new();
    let mut mistakes: Option<Mistakes> = None;
    let mut ids: HashMap<&str, usize> = HashMap::new();
    for (number, line) in (1_usize..).zip(text.lines()) {
        if line.trim_start().starts_with('#') || line.trim().is_empty() {
            continue;
        }
        let read = one(line, prefix, &proof).and_then(|read| match ids.insert(read.id, number) {
            _ if lines.len() == LINES_MAX => Err((1, format!("is one too many: at most {LINES_MAX}"))),
            Some(other) => Err((1, format!("has the id of line {other}: each once"))),
            None => Ok(read),
        });
        match read {
            Ok(read) => lines.push(read),
            Err((column, what)) => {
                let first = mistakes.get_or_insert(Mistakes { line: number, column, what, count: 0 });
                first.count += 1;
            }
        }
    }
    mistakes.map_or(Ok(lines), Err)
}

/// A line for the file, if `read` takes it.
pub(super) fn written<T>(
    id: &str,
    proof: &str,
    words: &[String],
    read: impl FnOnce(&str) -> Result<T, Mistakes>,
) -> Result<String, String> {
    let mut line = format!("{id} {proof}");
    for word in words {
        line.push(' ');
        line.push_str(word);
    }
    if line.lines().count() != 1 || id.contains(char::is_whitespace) || id.starts_with('#') {
        return Err("an id is one word, and words have no line breaks".to_owned());
    }
    read(&line).map(|_| line.clone()).map_err(|mistakes| mistakes.to_string())
}

fn one<'t, P>(
    line: &'t str,
    prefix: &str,
    proof: impl Fn(&str) -> Result<P, &'static str>,
) -> Result<Line<'t, P>, Wrong> {
    let mut words = words(line);
    let (at, id) = words.next().unwrap_or((1, ""));
    if !is_id(id) {
        return Err((
            at,
            format!("an id has 1 to {ID_BYTES_MAX} letters, digits, `-`, `_`, `.`, `@` and `+`"),
        ));
    }
    let (at, text) =
        words.next().ok_or_else(|| (line.len() + 1, "there is nothing behind the id".to_owned()))?;
    let proof = proof(text).map_err(|what| (at, what.to_owned()))?;
    let mut holder = Holder { user: None, rest: Rest::default(), expires_at_s: i64::MAX };
    for (at, word) in words {
        holder.take(word).map_err(|what| (at, what))?;
    }
    let subject = holder.subject(prefix, id).ok_or_else(|| (1, "cannot be said in headers".to_owned()))?;
    Ok(Line { id, proof, subject })
}

/// The words of a line with their columns, from 1.
fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let start = line.as_ptr() as usize;
    line.split_ascii_whitespace().map(move |word| (word.as_ptr() as usize - start + 1, word))
}

fn is_id(text: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@+".contains(&byte);
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(fine)
}

/// What is said of whoever holds the key.
struct Holder {
    user: Option<String>,
    rest: Rest,
    expires_at_s: i64,
}

#[derive(Default)]
struct Rest {
    roles: Vec<String>,
    permissions: Vec<String>,
    scopes: Vec<String>,
    claims: Vec<(Arc<str>, Vec<String>)>,
}

impl Holder {
    fn take(&mut self, word: &str) -> Result<(), String> {
        let (kind, value) = word.split_once(':').ok_or_else(|| format!("is none of {WORDS}"))?;
        let rest = &mut self.rest;
        match kind {
            "user" if self.user.is_none() => self.user = Some(user(value)?),
            "role" => rest.roles.extend(list(value)?),
            "permission" => rest.permissions.extend(list(value)?),
            "scope" => rest.scopes.extend(list(value)?),
            "claim" => rest.claims.push(claim(value)?),
            "expires" if self.expires_at_s == i64::MAX => {
                let moment = date::unix_s(value);
                self.expires_at_s =
                    moment.ok_or("`expires` is a day as 2027-06-30, or a moment as 2027-06-30T18:00:00Z")?;
            }
            "user" | "expires" => return Err(format!("`{kind}` is there twice")),
            _ => return Err(format!("is none of {WORDS}")),
        }
        Ok(())
    }

    fn subject(self, prefix: &str, id: &str) -> Option<Subject> {
        let Self { user, rest: Rest { roles, permissions, scopes, claims }, expires_at_s } = self;
        let mut user = User::new(user.unwrap_or_else(|| [prefix, id].concat()));
        user.roles = roles.into_iter().map(Arc::from).collect();
        user.permissions = permissions.into_iter().map(Arc::from).collect();
        Subject::new(Verified {
            user,
            scopes,
            attributes: claims,
            session: None,
            token_id: None,
            issued_at_ms: 0,
            expires_at_s,
        })
    }
}

/// Another user's name is no mistake here: a key may stand for a person. A name that only the gateway gives is.
fn user(text: &str) -> Result<String, String> {
    let is_given = super::PREFIXES.iter().any(|prefix| text.starts_with(prefix));
    if text.is_empty() || text.len() > USER_BYTES_MAX || !is_visible(text) || is_given {
        return Err(format!(
            "`user` has 1 to {USER_BYTES_MAX} visible ASCII characters, and begins with none of {}",
            super::PREFIXES.join(", ")
        ));
    }
    Ok(text.to_owned())
}

fn list(text: &str) -> Result<Vec<String>, String> {
    let items: Vec<String> = text.split(',').map(str::to_owned).collect();
    if items.iter().any(|item| item.is_empty() || !is_visible(item)) {
        return Err("names are visible ASCII characters, with commas between".to_owned());
    }
    Ok(items)
}

fn claim(text: &str) -> Result<(Arc<str>, Vec<String>), String> {
    let (name, values) = text.split_once('=').unwrap_or_default();
    if name.is_empty() || !is_visible(name) {
        return Err("a claim is NAME=VALUE, or NAME=VALUE,VALUE".to_owned());
    }
    Ok((name.into(), list(values)?))
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn number(text: &str) -> Result<u32, &'static str> {
        text.parse().map_err(|_| "is no number")
    }

    fn wrong(text: &str) -> String {
        read(text, "key:", number).unwrap_err().to_string()
    }

    #[test]
    fn a_line_says_who_it_is_and_what_they_may() {
        let text = "# callers\n\nci 1\n  bot@x\t2 user:u7 role:a,b scope:orders:read claim:plan=pro,max permission:p expires:2027-01-01  \n";
        let lines = read(text, "key:", number).unwrap();
        let one_of = |name: &str| [name.to_owned()];
        assert_eq!((lines[0].id, lines[0].proof, &*lines[0].subject.id), ("ci", 1, "key:ci"));
        assert_eq!(lines[0].subject.expires_at_s, i64::MAX);
        let subject = &lines[1].subject;
        assert_eq!((lines[1].id, lines[1].proof, &*subject.id), ("bot@x", 2, "u7"));
        assert_eq!((subject.role_header.to_str().unwrap(), subject.expires_at_s), ("a,b", 1_798_761_600));
        assert!(subject.has_scope(&one_of("orders:read")) && subject.has_claim("plan", &one_of("max")));
        assert!(!subject.has_scope(&one_of("orders")) && !subject.has_claim("plan", &one_of("free")));
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn a_mistake_has_its_place_and_never_what_stands_there() {
        for (text, expected) in [
            ("a", "line 1, column 2: there is nothing behind the id"),
            ("a:b 1", "line 1, column 1: an id has"),
            ("ok 1\na hunter2", "line 2, column 3: is no number"),
            ("a 1 hunter2", "line 1, column 5: is none of user:ID"),
            ("a 1 hunter2:x", "line 1, column 5: is none of user:ID"),
            ("a 1 role:", "line 1, column 5: names are visible"),
            ("a 1 role:x claim:hunter2", "line 1, column 12: a claim is NAME=VALUE"),
            ("a 1 expires:hunter2", "line 1, column 5: `expires` is a day"),
            ("a 1 user:x user:hunter2", "line 1, column 12: `user` is there twice"),
            ("a 1 user:key:hunter2", "line 1, column 5: `user` has 1 to 128"),
            ("a 1\nb 2\na 3", "line 3, column 1: has the id of line 1: each once"),
            ("a 1 role:x\u{e9}", "line 1, column 5: names are visible"),
        ] {
            let said = wrong(text);
            assert!(said.starts_with(expected), "{text}: {said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
        assert!(wrong("a\nb\nc").ends_with("(and 2 more)"));
    }

    #[test]
    fn there_is_a_bound() {
        let lines = |count: u32| (0..count).map(|at| format!("k{at} {at}\n")).collect::<String>();
        assert_eq!(read(&lines(100_000), "key:", number).unwrap().len(), 100_000);
        assert!(wrong(&lines(100_001)).starts_with("line 100001, column 1: is one too many"));
    }
}
