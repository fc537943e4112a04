//! `leeward why`: what became of a request, told by the gateway that had it.

use std::process::ExitCode;

use serde_json::Value;

use crate::Error;
use crate::admin::Api;
use crate::cli::Why;

/// Nothing is kept of the request.
const EXIT_NOTHING: u8 = 1;
/// Longest request id that a gateway takes over.
const ID_BYTES_MAX: usize = 64;

/// Prints every decision about the request, newest first: a client may have sent one id twice.
pub(crate) fn run(why: &Why) -> Result<ExitCode, Error> {
    let id = &why.request_id;
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(is_fine) {
        return Err(format!(
            "`{id}` is no request id: take the answer's x-request-id, 1 to {ID_BYTES_MAX} letters, digits, `-`, `_`, `.` and `:`"
        )
        .into());
    }
    let answer = Api::new(&why.admin)?.get(&format!("/v1/decisions?request_id={id}"))?;
    let decisions = answer["decisions"].as_array().map_or(&[][..], Vec::as_slice);
    for decision in decisions {
        println!("{}", told(decision));
    }
    let silent = answer["cores_silent"].as_u64().unwrap_or_default();
    if silent > 0 {
        eprintln!("leeward: {silent} cores did not say: what they know is missing");
    }
    if !decisions.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    match answer["keep"].as_u64() {
        Some(0) => eprintln!("leeward: this gateway keeps no decisions: `decisions.keep` is 0"),
        keep => eprintln!(
            "leeward: nothing is kept of {id}: it went well and is not of the sample (`decisions.sample`), or it is older than the last \
             {} that each core keeps, or it was one of many that `shed` refused, of which a core keeps one in 10 ms, or another gateway \
             had it (--admin)",
            keep.unwrap_or_default()
        ),
    }
    Ok(ExitCode::from(EXIT_NOTHING))
}

/// One decision: what was asked, and why it went as it did. What a client sent is printed so that no byte of it moves a cursor.
fn told(decision: &Value) -> String {
    let text = |name: &str| decision[name].as_str().unwrap_or_default().escape_debug().to_string();
    let mut lines =
        vec![format!("{} {}{} from {}", text("method"), text("host"), text("path"), text("client"))];
    let why = decision["why"].as_array().into_iter().flatten().filter_map(Value::as_str);
    lines.extend(why.map(|line| format!("  {}", line.escape_debug())));
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_client_sent_moves_no_cursor() {
        let decision =
            json!({"method": "GET", "host": "a\u{1b}[2J", "path": "/x", "client": "::1", "why": ["a\u{7}b"]});
        let told = told(&decision);
        assert_eq!(told, "GET a\\u{1b}[2J/x from ::1\n  a\\u{7}b\n");
    }
}
