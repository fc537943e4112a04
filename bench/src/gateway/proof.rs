//! That an engine with policies did their work on every request: by what the upstream and the clients saw, and by what it
//! says itself.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, header};

use super::case::Case;
use super::driver::Seen;
use crate::http::{Answer, Http};
use crate::metrics::sum;

/// A single answer that takes longer than this will not come.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Every request reached the upstream with an identity, and every answer told of a limit.
pub(super) fn work(completed: u64, limited: u64, seen: Seen) -> Vec<String> {
    let mut faults = Vec::new();
    if seen.requests != completed || seen.identified != completed {
        faults.push(format!(
            "{completed} answers, but {} requests at the upstream, {} of them with an identity",
            seen.requests, seen.identified
        ));
    }
    if limited != completed {
        faults.push(format!("{completed} answers, but {limited} with a rate limit"));
    }
    faults
}

/// Every request reached the upstream with a trace.
pub(super) fn traced(completed: u64, seen: Seen) -> Option<String> {
    (seen.traced != completed)
        .then(|| format!("{completed} answers, but {} requests with a trace", seen.traced))
}

/// A token with a wrong signature gets 401.
pub(super) fn bad_token(listen: SocketAddr, case: &Case, token: &str) -> Result<Option<String>, String> {
    let status = ask(listen, &case.paths()[0], Some(token))?.status;
    Ok((status != 401).then(|| format!("a bad token got {status} in place of 401")))
}

/// How long a line of the access log may take to be written.
const LOGGED_WITHIN: Duration = Duration::from_secs(3);

/// What the gateway counted.
#[derive(Debug)]
pub(super) struct Counted {
    requests: f64,
    /// Answers of its own.
    refusals: f64,
}

#[allow(clippy::cast_precision_loss, reason = "counts of a run of seconds are far below 2^52")]
impl Counted {
    pub(super) fn read(admin: SocketAddr) -> Result<Self, String> {
        let answer = ask(admin, "/metrics", None)?;
        if answer.status != 200 {
            return Err(format!("/metrics answers {}", answer.status));
        }
        let text = answer.text();
        Ok(Self {
            requests: sum(&text, &["http_requests_total"]),
            refusals: sum(&text, &["leeward_gateway_refusals_total"]),
        })
    }

    /// Every request that was counted, from the start of the process on, has a line in the access log.
    pub(super) fn logged(&self, log: &Path) -> Result<Option<String>, String> {
        let until = Instant::now() + LOGGED_WITHIN;
        loop {
            let lines = lines(log).map_err(|error| format!("{}: {error}", log.display()))?;
            if lines as f64 - self.requests == 0.0 {
                return Ok(None);
            }
            if Instant::now() > until {
                return Ok(Some(format!("{} requests, but {lines} lines in the access log", self.requests)));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// After `completed` answers and one bad token.
    pub(super) fn judge(&self, before: &Self, completed: u64) -> Option<String> {
        let (requests, refusals) = (self.requests - before.requests, self.refusals - before.refusals);
        let right = requests - (completed + 1) as f64 == 0.0 && refusals - 1.0 == 0.0;
        (!right).then(|| {
            format!("{completed} answers and one bad token, but it counted {requests} requests and {refusals} refusals")
        })
    }
}

fn lines(file: &Path) -> std::io::Result<usize> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(file)?);
    let mut lines = 0;
    loop {
        let read = reader.fill_buf()?;
        if read.is_empty() {
            return Ok(lines);
        }
        lines += read.iter().filter(|byte| **byte == b'\n').count();
        let read = read.len();
        reader.consume(read);
    }
}

fn ask(address: SocketAddr, path: &str, token: Option<&str>) -> Result<Answer, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let http = Http::new(address)?;
        let mut request = http.request(Method::GET, path, "");
        if let Some(token) = token {
            let value =
                HeaderValue::try_from(format!("Bearer {token}")).map_err(|error| error.to_string())?;
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let answer = tokio::time::timeout(ANSWER_WITHIN, http.send(request)).await;
        answer.map_err(|_| format!("{address}{path}: no answer within {ANSWER_WITHIN:?}"))?
    })
}
