//! Statements that a closure may not run, since they would reach past its own transaction.

use crate::error::Error;

/// First words that control the transaction or the connection: the batch belongs to the writer, not to one
/// closure of it.
const FORBIDDEN: [&str; 11] = [
    "BEGIN",
    "COMMIT",
    "END",
    "ROLLBACK",
    "SAVEPOINT",
    "RELEASE",
    "PRAGMA",
    "ATTACH",
    "DETACH",
    "VACUUM",
    "REINDEX",
];

/// Refuses a statement whose first word is forbidden. It guards against a mistake, not against an attacker:
/// nobody else writes SQL.
pub(crate) fn check(sql: &str) -> Result<(), Error> {
    let text = skip_blank(sql);
    let word_end = text.bytes().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(text.len());
    let word = &text[..word_end];
    if FORBIDDEN.iter().any(|forbidden| word.eq_ignore_ascii_case(forbidden)) {
        return Err(Error::Forbidden {
            reason: "the writer controls transactions and settings",
            sql: sql.to_owned(),
        });
    }
    Ok(())
}

/// The statement behind leading spaces, empty statements and comments.
fn skip_blank(sql: &str) -> &str {
    let mut text = sql;
    loop {
        text = text.trim_start_matches(|char: char| char.is_whitespace() || char == ';');
        let comment = match text.get(..2) {
            Some("--") => text.find('\n'),
            Some("/*") => text.find("*/").map(|end| end + 1),
            _ => return text,
        };
        text = comment.map_or("", |end| &text[end + 1..]);
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn refuses_transaction_control_only() {
        for sql in [
            "COMMIT",
            "  rollback to x",
            "Pragma foreign_keys = 0",
            "SAVEPOINT a",
            "VACUUM",
            "end;",
            "\n\tBEGIN",
            "-- x\nCOMMIT",
            "/* x */ ;COMMIT",
        ] {
            assert!(check(sql).is_err(), "{sql}");
        }
        for sql in [
            "INSERT INTO t VALUES ($1)",
            "SELECT 1",
            "UPDATE begin SET x = 1",
            "WITH a AS (SELECT 1) SELECT *",
            "",
            "-- COMMIT",
            "/* COMMIT",
        ] {
            assert!(check(sql).is_ok(), "{sql}");
        }
    }
}
