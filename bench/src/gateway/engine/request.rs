//! What clients send.

use std::net::SocketAddr;

use http::{Request, Version, header};

use super::ORIGIN;
use crate::gateway::case::{Case, POST_BYTES};
use crate::gateway::driver::Ask;

/// The requests of `case`: each path and each token in turn, as often as the longer list has it.
pub(super) fn all(case: &Case, listen: SocketAddr, tokens: &[String]) -> Result<Vec<Ask>, String> {
    let paths = case.paths();
    let make = |at: usize| {
        let path = &paths[at % paths.len()];
        let token = tokens.get(at % tokens.len().max(1)).map(String::as_str);
        if case.is_http2 { head(path, listen, token) } else { Ok(bytes(case, path, listen, token)) }
    };
    (0..paths.len().max(tokens.len())).map(make).collect()
}

fn bytes(case: &Case, path: &str, listen: SocketAddr, token: Option<&str>) -> Ask {
    let more =
        token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\nOrigin: {ORIGIN}\r\n"));
    let common = format!("HTTP/1.1\r\nHost: {listen}\r\nUser-Agent: leeward-bench\r\nAccept: */*\r\n{more}");
    if !case.posts {
        return Ask::Bytes(format!("GET {path} {common}\r\n").into_bytes());
    }
    let head = format!(
        "POST {path} {common}Content-Type: application/octet-stream\r\nContent-Length: {POST_BYTES}\r\n\r\n"
    );
    Ask::Bytes([head.into_bytes(), vec![b'p'; POST_BYTES]].concat())
}

/// Over HTTP/2.
fn head(path: &str, listen: SocketAddr, token: Option<&str>) -> Result<Ask, String> {
    let mut request = Request::get(format!("http://{listen}{path}"))
        .version(Version::HTTP_2)
        .header(header::USER_AGENT, "leeward-bench")
        .header(header::ACCEPT, "*/*");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        request = request.header(header::ORIGIN, ORIGIN);
    }
    request.body(()).map(|head| Ask::Head(Box::new(head))).map_err(|error| error.to_string())
}
