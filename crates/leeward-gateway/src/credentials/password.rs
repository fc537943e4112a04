//! Names with passwords, of which a file holds the argon2id hashes.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Argon2, Params};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::line::{self, Mistakes};
use crate::jwt::Subject;

/// What stands in front of the names of those that have no user of their own.
pub(super) const PREFIX: &str = "basic:";
/// Longest `NAME:PASSWORD` that is looked at, in bytes.
const LOGIN_BYTES_MAX: usize = 512;
/// What a hash may cost, so that checks stay bounded: 64 MiB and 10 passes on 4 lanes. The least is what OWASP asks for, 7 MiB in 5
/// passes, or as much work with more memory.
const KIB_MAX: u32 = 64 * 1_024;
const PASSES_MAX: u32 = 10;
const LANES_MAX: u32 = 4;
const WORK_KIB_MIN: u32 = 7 * 1_024 * 5;
/// A hash that no password gives, for a file without a name.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bGVld2FyZC1ub2JvZHk$Zm9yZXZlci11bm1hdGNoZWQtaGFzaC1vZi1ub2JvZHk";

struct Account {
    hash: PasswordHash,
    subject: Arc<Subject>,
}

/// Who has which password, by name.
#[derive(Default)]
pub(crate) struct Accounts {
    by_name: HashMap<Arc<str>, Account>,
    /// Of these one is computed for a name that is not there, always the same one, so that its answer takes as long as that of a name
    /// that is.
    decoys: Vec<PasswordHash>,
    choice: RandomState,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Accounts").field(&self.by_name.len()).finish()
    }
}

impl Accounts {
    pub(crate) fn read(text: &str) -> Result<Self, Mistakes> {
        let lines = line::read(text, PREFIX, hash_of_line)?;
        let decoys = lines.iter().map(|line| line.proof.clone()).collect();
        let account = |line: line::Line<'_, PasswordHash>| {
            (line.id.into(), Account { hash: line.proof, subject: Arc::new(line.subject) })
        };
        Ok(Self { by_name: lines.into_iter().map(account).collect(), decoys, choice: RandomState::new() })
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whose name and password these are. It takes some 20 ms of a core, whoever it is.
    pub(super) fn holder(&self, login: &Login) -> Option<Arc<Subject>> {
        let account = self.by_name.get(&*login.name);
        let hash = account.map(|account| account.hash.clone()).or_else(|| self.decoy(&login.name))?;
        let is_right = Argon2::default().verify_password(login.password.as_bytes(), &hash).is_ok();
        account.filter(|_| is_right).map(|account| Arc::clone(&account.subject))
    }

    fn decoy(&self, name: &str) -> Option<PasswordHash> {
        let count = u64::try_from(self.decoys.len()).ok()?;
        let place =
            self.choice.hash_one(name).checked_rem(count).and_then(|place| usize::try_from(place).ok());
        match place.and_then(|place| self.decoys.get(place)) {
            Some(hash) => Some(hash.clone()),
            None => PasswordHash::new(NOBODY).ok(),
        }
    }
}

fn hash_of_line(text: &str) -> Result<PasswordHash, &'static str> {
    const ALLOWED: &str =
        "an argon2id hash begins with $argon2id$v=19$, as `leeward keys password` writes it";
    const COST: &str = "an argon2id hash has at least m=7168,t=5 or as much work, at most m=65536,t=10,p=4";
    let hash = PasswordHash::new(text).map_err(|_| ALLOWED)?;
    if hash.algorithm.as_str() != "argon2id" || hash.version != Some(19) || hash.hash.is_none() {
        return Err(ALLOWED);
    }
    let cost = Params::try_from(&hash).map_err(|_| ALLOWED)?;
    let is_cheap = cost.m_cost().saturating_mul(cost.t_cost()) < WORK_KIB_MIN;
    let is_dear = cost.m_cost() > KIB_MAX || cost.t_cost() > PASSES_MAX || cost.p_cost() > LANES_MAX;
    if is_cheap || is_dear { Err(COST) } else { Ok(hash) }
}

/// A name and a password, as a request presents them.
pub(crate) struct Login {
    name: String,
    password: String,
}

impl Login {
    /// What stands behind `Basic` (RFC 7617): base64 of `NAME:PASSWORD` in UTF-8.
    pub(crate) fn read(text: &str) -> Option<Self> {
        if text.len() > LOGIN_BYTES_MAX.div_ceil(3) * 4 {
            return None;
        }
        let text = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
        let (name, password) = text.split_once(':')?;
        Some(Self { name: name.to_owned(), password: password.to_owned() })
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(hidden)")
    }
}

/// The line of the file for a name, a password and words such as `role:NAME`. It takes some 20 ms.
///
/// # Errors
/// What is wrong, without repeating it.
pub fn password_line(name: &str, password: &str, words: &[String]) -> Result<String, String> {
    if password.len() < 8 || name.len() + password.len() + 1 > LOGIN_BYTES_MAX {
        return Err(format!("a password has 8 bytes at least, and {LOGIN_BYTES_MAX} at most with its name"));
    }
    let hash = Argon2::default().hash_password(password.as_bytes()).map_err(|error| error.to_string())?;
    line::written(name, &hash.to_string(), words, Accounts::read)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn login(name: &str, password: &str) -> Login {
        Login::read(&STANDARD.encode(format!("{name}:{password}"))).unwrap()
    }

    #[test]
    fn the_right_password_of_the_right_name() {
        let lines = [
            password_line("anna", "correct horse", &["role:admin".into()]).unwrap(),
            password_line("ben", "a:b:c:ü:d", &[]).unwrap(),
        ];
        assert!(!lines[0].contains("correct"));
        let accounts = Accounts::read(&lines.join("\n")).unwrap();
        let name =
            |name, password| accounts.holder(&login(name, password)).map(|subject| subject.id.to_string());
        assert_eq!(name("anna", "correct horse").as_deref(), Some("basic:anna"));
        assert_eq!(name("ben", "a:b:c:ü:d").as_deref(), Some("basic:ben"));
        for (who, password) in [
            ("anna", "a:b:c:ü:d"),
            ("anna", ""),
            ("Anna", "correct horse"),
            ("nobody", "correct horse"),
            ("", ""),
        ] {
            assert_eq!(name(who, password), None, "{who}");
        }
        assert!(Accounts::default().holder(&login("anna", "correct horse")).is_none());
    }

    #[test]
    fn what_is_no_login_is_none() {
        for text in ["", "%", "YW5uYQ==", "YTpi=", "/zo=", &"YTpi".repeat(200)] {
            assert!(Login::read(text).is_none(), "{text}");
        }
        assert!(Login::read("YTpi").is_some());
        assert_eq!(format!("{:?}", login("a", "secret")), "Login(hidden)");
    }

    #[test]
    fn a_hash_costs_neither_too_little_nor_too_much() {
        let hash = |algorithm: &str, version: u32, cost: &str| {
            format!(
                "${algorithm}$v={version}${cost}$bGVld2FyZC1ub2JvZHk$Zm9yZXZlci11bm1hdGNoZWQtaGFzaC1vZi1ub2JvZHk"
            )
        };
        for cost in ["m=19456,t=2,p=1", "m=7168,t=5,p=1", "m=47104,t=1,p=1", "m=65536,t=10,p=4"] {
            assert!(hash_of_line(&hash("argon2id", 19, cost)).is_ok(), "{cost}");
        }
        for cost in ["m=7168,t=4,p=1", "m=65537,t=1,p=1", "m=19456,t=11,p=1", "m=19456,t=2,p=5"] {
            assert!(hash_of_line(&hash("argon2id", 19, cost)).unwrap_err().contains("at least"), "{cost}");
        }
        for text in [hash("argon2i", 19, "m=19456,t=2,p=1"), hash("argon2id", 16, "m=19456,t=2,p=1")] {
            assert!(hash_of_line(&text).unwrap_err().contains("begins with"), "{text}");
        }
        for text in ["hunter2", "$2b$12$abc", "$argon2id$v=19$m=19456,t=2,p=1$bGVld2FyZC1ub2JvZHk"] {
            assert!(hash_of_line(text).is_err(), "{text}");
        }
    }
}
