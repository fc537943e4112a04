//! `leeward keys`: lines for the files of callers.

use std::io::Read;

use leeward_gateway::credentials::{NewKey, password_line};

use crate::Error;
use crate::cli::{KeyVerb, Keys};

pub(crate) fn run(keys: &Keys) -> Result<(), Error> {
    match &keys.verb {
        KeyVerb::New { id, words } => new(id, words),
        KeyVerb::Password { name, words } => password(name, words),
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

/// Bytes that are read at most: a password and a line break.
const PASSWORD_BYTES_MAX: u64 = 1_024;

fn password(name: &str, words: &[String]) -> Result<(), Error> {
    let mut text = String::new();
    std::io::stdin().take(PASSWORD_BYTES_MAX).read_to_string(&mut text)?;
    let line = password_line(name, text.trim_end_matches(['\r', '\n']), words);
    println!("{}", line.map_err(|mistake| format!("no line was written: {mistake}"))?);
    Ok(())
}
