//! `leeward lint` and `leeward diff`: what can be said of a gateway's configuration without a gateway.

use std::path::Path;
use std::process::ExitCode;

use leeward_gateway::Config;
use leeward_gateway::diff::diff as compare;
use leeward_gateway::lint::{Severity, lint as look, to_json};
use leeward_runtime::Env;

use crate::Error;
use crate::cli::{Diff, Level, Lint};

/// Something was found, or differs; what cannot be read is 2.
const EXIT_FOUND: u8 = 1;

fn load(file: &Path) -> Result<Config, Error> {
    Ok(Config::load(file, &Env::process())?)
}

/// Prints what does not fit together.
pub(crate) fn lint(wanted: &Lint) -> Result<ExitCode, Error> {
    let level = match wanted.level {
        Level::Note => Severity::Note,
        Level::Warning => Severity::Warning,
        Level::Error => Severity::Error,
    };
    let all = look(&load(&wanted.config)?);
    let shown: Vec<_> = all.iter().filter(|finding| finding.severity >= level).cloned().collect();
    if wanted.json {
        println!("{:#}", to_json(&shown));
    } else {
        for finding in &shown {
            println!("{finding}\n");
        }
        let count = |severity| all.iter().filter(|finding| finding.severity == severity).count();
        println!(
            "{}: {} errors, {} warnings, {} notes{}",
            wanted.config.display(),
            count(Severity::Error),
            count(Severity::Warning),
            count(Severity::Note),
            if shown.len() < all.len() { " (--level note shows all)" } else { "" }
        );
    }
    Ok(found(!shown.is_empty()))
}

/// Prints what the second configuration would change.
pub(crate) fn diff(wanted: &Diff) -> Result<ExitCode, Error> {
    // Both are read before either is complained about: two mistakes are told at once.
    let (old, new) = match (load(&wanted.old), load(&wanted.new)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(old), Err(new)) => return Err(format!("{old}\n{new}").into()),
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    let diff = compare(&old, &new);
    if wanted.json {
        println!("{:#}", serde_json::to_value(&diff)?);
    } else {
        print!("{diff}");
    }
    Ok(found(!diff.same))
}

fn found(any: bool) -> ExitCode {
    if any { ExitCode::from(EXIT_FOUND) } else { ExitCode::SUCCESS }
}
