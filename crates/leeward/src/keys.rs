//! `leeward keys`: lines for the files of callers.

use leeward_gateway::credentials::NewKey;

use crate::Error;
use crate::cli::{KeyVerb, Keys};

pub(crate) fn run(keys: &Keys) -> Result<(), Error> {
    match &keys.verb {
        KeyVerb::New { id, words } => new(id, words),
    }
}

/// The line may go into the file directly; the key is for whoever stands at the terminal.
fn new(id: &str, words: &[String]) -> Result<(), Error> {
    let key = NewKey::random().ok_or("the system has no randomness: no key was made")?;
    let line = key.line(id, words).map_err(|mistake| format!("no key was made: {mistake}"))?;
    eprintln!("{}", key.key.reveal());
    println!("{line}");
    Ok(())
}
