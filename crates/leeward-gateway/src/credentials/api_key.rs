//! API keys: random texts, of which a file holds the SHA-256.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use leeward_runtime::config::Secret;

use super::line::{self, Mistakes};
use crate::jwt::Subject;

/// What stands in front of the names of those that have only a key.
pub(super) const PREFIX: &str = "key:";
/// In front of each key that is made here, so that scanners of source code know one when they see it.
const MARK: &str = "lwk_";
/// Random bytes of a key: nobody guesses one of 2^256, which is why no slow hash and no secret is needed to keep its hash safe.
const RANDOM_BYTES: usize = 32;
/// Shortest and longest text that is looked at. A shorter one could be guessed from its hash.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 32..=128;

type Hash = [u8; 32];

/// Who holds which key, by its hash: what is compared is never the key itself, so that the time that it takes tells nothing of it.
#[derive(Default)]
pub(crate) struct Keys(HashMap<Hash, Arc<Subject>>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keys").field(&self.0.len()).finish()
    }
}

impl Keys {
    pub(crate) fn read(text: &str) -> Result<Self, Mistakes> {
        let mut keys = HashMap::new();
        for line in line::read(text, PREFIX, hash_of_line)? {
            keys.insert(line.proof, Arc::new(line.subject));
        }
        Ok(Self(keys))
    }

    pub(crate) fn holder(&self, key: &str) -> Option<&Arc<Subject>> {
        self.0.get(&sha256(key))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Whether a text can be a key.
pub(crate) fn is_api_key(text: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    KEY_BYTES.contains(&text.len()) && text.bytes().all(fine)
}

fn sha256(text: &str) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

fn hash_of_line(text: &str) -> Result<Hash, &'static str> {
    const ALLOWED: &str = "the SHA-256 of a key is 64 hexadecimal digits, as `leeward keys new` writes it";
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut hash = [0; 32];
    if pairs.len() != hash.len() || !rest.is_empty() {
        return Err(ALLOWED);
    }
    for (byte, pair) in hash.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        let (high, low) = (digit(pair[0]).ok_or(ALLOWED)?, digit(pair[1]).ok_or(ALLOWED)?);
        *byte = high << 4 | low;
    }
    Ok(hash)
}

/// A key that nobody has yet.
#[derive(Debug)]
pub struct NewKey {
    /// What the caller presents. It stands nowhere else.
    pub key: Secret,
    /// What the file holds in its place.
    pub sha256: String,
}

impl NewKey {
    /// Makes one. `None`: the system has no randomness.
    #[must_use]
    pub fn random() -> Option<Self> {
        let mut bytes = [0; RANDOM_BYTES];
        SystemRandom::new().fill(&mut bytes).ok()?;
        let key = format!("{MARK}{}", URL_SAFE_NO_PAD.encode(bytes));
        let sha256 = sha256(&key).iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self { key: Secret::new(key), sha256 })
    }

    /// The line of the file for it, or what is wrong with the words: `role:NAME` and so on.
    ///
    /// # Errors
    /// What is wrong, without repeating it.
    pub fn line(&self, id: &str, words: &[String]) -> Result<String, String> {
        line::written(id, &self.sha256, words, Keys::read)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_new_key_is_the_key_of_its_line() {
        let (one, two) = (NewKey::random().unwrap(), NewKey::random().unwrap());
        let text =
            format!("{}\n{}\n", one.line("a", &[]).unwrap(), two.line("b", &["role:x".into()]).unwrap());
        assert!(!text.contains(one.key.reveal()) && is_api_key(one.key.reveal()));
        let keys = Keys::read(&text).unwrap();
        assert_eq!(&*keys.holder(one.key.reveal()).unwrap().id, "key:a");
        assert_eq!(&*keys.holder(two.key.reveal()).unwrap().id, "key:b");
        assert!(keys.holder(&one.sha256).is_none(), "the hash is not the key");
        assert!(keys.holder(NewKey::random().unwrap().key.reveal()).is_none());
        assert_eq!(format!("{keys:?}"), "Keys(2)");
        assert!(!format!("{one:?}").contains(one.key.reveal()));
    }

    #[test]
    fn a_line_is_one_line() {
        let key = NewKey::random().unwrap();
        for (id, words) in
            [("a\nb", ""), ("a b", ""), ("#a", ""), ("a", "role:x\nb"), ("a", "rolle:x"), ("", "")]
        {
            let words: Vec<String> =
                [words].iter().filter(|word| !word.is_empty()).map(|word| (*word).to_owned()).collect();
            assert!(key.line(id, &words).is_err(), "{id} {words:?}");
        }
    }

    #[test]
    fn a_hash_is_the_whole_hash() {
        let known = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        assert_eq!(hash_of_line(known), Ok(sha256("test")));
        assert_eq!(hash_of_line(&known.to_uppercase()), Ok(sha256("test")));
        for text in ["", &known[1..], &format!("{known}0"), &format!("{known}00"), &known.replace('9', "g")] {
            assert!(hash_of_line(text).is_err(), "{text}");
        }
    }
}
