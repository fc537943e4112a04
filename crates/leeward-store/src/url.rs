//! Database URLs. Every backend that the platform has is known here, whether this build holds it or not.

use std::path::Path;

use crate::error::Error;
use crate::sqlite::Target;

/// Longest start of a URL shown in an error: never as far as a password.
const SCHEME_CHARS_MAX: usize = 16;

/// Reads `sqlite:PATH`, `sqlite::memory:`; names the backend of any other URL known.
pub(crate) fn parse(url: &str) -> Result<Target, Error> {
    let unknown = || {
        let scheme = url.split(':').next().unwrap_or_default();
        Error::Url { scheme: scheme.chars().take(SCHEME_CHARS_MAX).collect() }
    };
    let (scheme, rest) = url.split_once(':').ok_or_else(unknown)?;
    match scheme {
        "sqlite" if rest == ":memory:" => Ok(Target::Memory),
        "sqlite" => {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.is_empty() || path.ends_with('/') {
                Err(unknown())
            } else {
                Ok(Target::File(path.into()))
            }
        }
        "postgres" | "postgresql" => Err(Error::Backend { backend: "PostgreSQL" }),
        _ => Err(unknown()),
    }
}

/// The database's short name, for logs and thread names: the file's name without its extension.
pub(crate) fn name(target: &Target) -> String {
    match target {
        Target::Memory => "memory".to_owned(),
        Target::File(path) => path
            .file_stem()
            .unwrap_or_else(|| Path::new("database").as_os_str())
            .to_string_lossy()
            .into_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn knows_every_backend_and_shows_no_password() {
        assert_eq!(parse("sqlite::memory:").unwrap(), Target::Memory);
        assert_eq!(parse("sqlite:data/orders.db").unwrap(), Target::File("data/orders.db".into()));
        assert_eq!(parse("sqlite:///var/orders.db").unwrap(), Target::File("/var/orders.db".into()));
        assert_eq!(parse("postgres://u:secret@h/db"), Err(Error::Backend { backend: "PostgreSQL" }));
        for bad in ["", "orders.db", "mysql://u:secret@h", "sqlite:", "sqlite:data/"] {
            let shown = parse(bad).unwrap_err().to_string();
            assert!(shown.contains("not understood") && !shown.contains("secret"), "{shown}");
        }
        assert_eq!(name(&Target::File("data/orders.db".into())), "orders");
    }
}
