//! What the fuzz targets in `fuzz/` do with any bytes: each reads them in one way and asserts what must hold of whatever is
//! accepted, and says whether it was.
//! Their seeds are read by the tests of this crate, too.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a finding ends the process")]

use std::sync::Arc;

use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue};
use leeward_resilience::{Clock, TokioClock};
use leeward_runtime::Env;

use crate::Config;
use crate::h1::differential;
use crate::jwt::{Authentication, KeySet, token as bearer};
use crate::path::{EncodedSlash, canonical};
use crate::{address, explain, headers as crossing, lint};

/// What is done with the bytes; whether they were anything at all.
pub type Target = fn(&[u8]) -> bool;

/// Every target, by the name of its folder of seeds.
pub const TARGETS: [(&str, Target); 5] =
    [("config", config), ("headers", headers), ("path", path), ("request", request), ("token", token)];

/// A secret of the configuration, and of [`SIGNED`].
const SECRET: &str = "a secret that is only for fuzzing";

/// The one token that anybody has signed; it ends in the year 2100.
const SIGNED: &str = include_str!("../../../fuzz/seeds/token/signed");

/// 2027, in milliseconds.
const NOW_MS: i64 = 1_800_000_000_000;

fn env() -> Env {
    Env::from_pairs([("SECRET", SECRET)])
}

/// A configuration is refused, or what is printed of it parses back to the same; lint and explain have something to say of it.
///
/// # Panics
/// At a finding, as all of these.
pub fn config(bytes: &[u8]) -> bool {
    // A configuration may have files read: what is found must depend on these bytes alone.
    let Some(text) = std::str::from_utf8(bytes).ok().filter(|text| !text.contains("file:")) else {
        return false;
    };
    let Ok(config) = Config::parse("a.yaml", text, &env()) else { return false };
    let printed = config.to_yaml();
    assert!(!printed.contains(SECRET), "a secret is printed");
    let again = Config::parse("printed.yaml", &printed, &env());
    let again = again.unwrap_or_else(|error| panic!("{error}\n{printed}"));
    assert_eq!(again.to_yaml(), printed);
    let _findings = lint::lint(&config);
    let _told = explain::explain(&config, "GET", "/a/b?c=d", &["x-a: b".to_owned()]);
    true
}

/// A path has no canonical form, or one that stays as it is and that nobody reads in another way.
pub fn path(bytes: &[u8]) -> bool {
    let Ok(raw) = std::str::from_utf8(bytes) else { return false };
    let mut has_form = false;
    for slash in [EncodedSlash::Refuse, EncodedSlash::Keep] {
        let Ok(form) = canonical(raw, slash) else { continue };
        has_form = true;
        assert_eq!(canonical(&form, slash).as_deref(), Ok(&*form), "{raw:?} changes again");
        assert!(form.starts_with('/') && form.is_ascii(), "{raw:?}: {form:?}");
        assert!(!form.contains("//") && !form.contains([';', '\\', ' ', '?', '#']), "{raw:?}: {form:?}");
        assert!(form.split('/').all(|part| part != "." && part != ".."), "{raw:?}: {form:?}");
        assert!(slash == EncodedSlash::Keep || !form.contains("%2F"), "{raw:?}: {form:?}");
        for escape in form.split('%').skip(1) {
            let digits = escape.as_bytes().get(..2).unwrap_or_default();
            let upper = |digit: &u8| matches!(digit, b'0'..=b'9' | b'A'..=b'F');
            assert!(digits.len() == 2 && digits.iter().all(upper), "{raw:?}: {form:?}");
        }
    }
    has_form
}

/// A request is refused, or means here what it means to hyper.
pub fn request(bytes: &[u8]) -> bool {
    differential::compare(bytes).unwrap_or_else(|difference| panic!("{difference}"))
}

/// The headers of a request, `NAME: VALUE` lines.
fn lines(bytes: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        let Some(at) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..at]);
        let value = HeaderValue::from_bytes(line[at + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

/// The name as a server reads it that folds separators.
fn folded(name: &str) -> String {
    let words = name.split(|it: char| !it.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

/// Nothing that only the gateway may say gets past, in any spelling, and nothing about the connection.
pub fn headers(bytes: &[u8]) -> bool {
    const OWN: [&str; 4] = ["x-user-", "x-gateway-", "x-forwarded-", "x-leeward-"];
    const NEVER: [&str; 9] = [
        "connection",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "keep-alive",
        "forwarded",
        "x-real-ip",
        "x-client-ip",
    ];
    let mut headers = lines(bytes);
    let here = [10, 0, 0, 1].into();
    assert_eq!(address::client(here, &headers, &[]), here, "nobody is trusted");
    let trusted = ["10.0.0.0/8".parse().unwrap()];
    let _walked = address::client(here, &headers, &trusted);
    if let Ok(Some(token)) = bearer(&headers, 64) {
        assert!(!token.is_empty() && token.len() <= 64 && !token.contains([' ', ',']), "{token:?}");
    }
    crossing::strip_request(&mut headers);
    for name in headers.keys() {
        let folded = folded(name.as_str());
        assert!(!OWN.iter().any(|prefix| folded.starts_with(prefix)), "{name} passes");
        assert!(!NEVER.contains(&&*folded), "{name} passes");
    }
    assert_eq!(crossing::strip_request(&mut headers), 0, "some go only at a second time");
    !headers.is_empty()
}

/// A token is refused, unless it is, byte for byte, the one that was signed. Text in braces or dashes is read as keys instead.
pub fn token(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    if text.starts_with(['{', '-']) {
        let count = KeySet::given(text).map_or(0, |keys| keys.len());
        assert!(count <= 32, "a set has no bound");
        return count > 0;
    }
    let accepted = accepts(text);
    assert!(!accepted || text == SIGNED, "nobody has signed this");
    accepted
}

fn accepts(text: &str) -> bool {
    let yaml =
        "jwt: {secret: \"env:SECRET\", issuer: fuzz}\nroutes: [{path: /, service: \"http://127.0.0.1:1\"}]";
    let config = Config::parse("a.yaml", yaml, &env()).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(TokioClock);
    let authentication = Authentication::new(&config.jwt, &config.routes, None, &clock).unwrap();
    let verified = authentication.verify(text, NOW_MS).now_or_never();
    verified.expect("a secret is there without waiting").is_ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The seeds, and what fuzzing has found: each stays as a file there.
    #[test]
    fn every_seed_passes() {
        let seeds = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds"));
        for (name, target) in TARGETS {
            let files: Vec<_> = std::fs::read_dir(seeds.join(name)).unwrap().map(Result::unwrap).collect();
            let accepted = files.iter().filter(|file| target(&std::fs::read(file.path()).unwrap())).count();
            assert!(accepted >= 2, "of {} seeds of {name} only {accepted} get far", files.len());
        }
    }

    #[test]
    fn the_signed_token_is_accepted() {
        assert!(accepts(SIGNED) && !accepts(&SIGNED.replace('.', "..")));
    }
}
