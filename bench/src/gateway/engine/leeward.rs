//! Leeward's gateway with three configurations.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{LIMIT_PER_S, ORIGIN, Seat, write};
use crate::gateway::case::prefix;
use crate::gateway::tokens::{AUDIENCE, ISSUER};

/// Six lines, and no limit: forwarding, with what cannot be switched off.
pub(super) fn bare(program: &Path, seat: &Seat<'_>) -> Result<Command, String> {
    let config = write(seat, "leeward.yaml", &bare_text(seat, None))?;
    Ok(command(program, seat, config))
}

/// The defaults, but for the limit by address, since the whole load comes from one.
pub(super) fn default(program: &Path, seat: &Seat<'_>) -> Result<Command, String> {
    let limits = format!("rate_limits: {{address: {LIMIT_PER_S}/s}}");
    let config = write(seat, "leeward.yaml", &plain(seat, &limits, None))?;
    Ok(command(program, seat, config))
}

/// The bare configuration, or an edition of it: each has another value in every route, and one route of its own.
pub(in crate::gateway) fn bare_text(seat: &Seat<'_>, edition: Option<u32>) -> String {
    plain(seat, "rate_limits: {address: off, principal: off}", edition)
}

/// The path of the route that only this edition has.
pub(in crate::gateway) fn path_of_edition(edition: u32) -> String {
    format!("/editions/e{edition}")
}

fn plain(seat: &Seat<'_>, limits: &str, edition: Option<u32>) -> String {
    let Seat { admin, upstream: [upstream, _], .. } = seat;
    let listen = listen(seat);
    let head = format!("{listen}admin: {{listen: \"{admin}\"}}\n{limits}\n");
    head + &routes(seat, &format!("http://{upstream}"), "", edition)
}

/// Without TLS, HTTP/2 has to be asked for.
fn listen(seat: &Seat<'_>) -> String {
    let Seat { listen, case, .. } = seat;
    if case.is_http2 {
        return format!("listen: [{{address: \"{listen}\", protocols: [http1, http2]}}]\n");
    }
    format!("listen: {listen}\n")
}

/// One route for everything, or many.
fn routes(seat: &Seat<'_>, service: &str, more: &str, edition: Option<u32>) -> String {
    let mut text = "routes:\n".to_owned();
    let own = edition.map(path_of_edition);
    let paths = match seat.case.routes {
        0 => vec!["/".to_owned()],
        routes => (0..routes - usize::from(own.is_some())).map(prefix).chain(own).collect(),
    };
    for path in paths {
        let _into_a_string = write!(text, "  - path: {path}\n    service: {service}\n{more}");
        if let Some(edition) = edition {
            // A deadline of 10 s to an hour, another one in each edition.
            let _into_a_string = writeln!(text, "    deadline: {}s", 10 + edition % 3_000);
        }
    }
    text
}

/// Tokens checked and vouched for, limits by address, user and route, CORS, health checks, two endpoints to choose from, and every
/// request in the access log; breaker, retry budget, choice by latency, ejection, metrics and trace context are always there.
pub(super) fn all(program: &Path, seat: &Seat<'_>) -> Result<Command, String> {
    let Seat { admin, upstream: [one, two], .. } = seat;
    let listen = listen(seat);
    let log = seat.access_log();
    let routes =
        routes(seat, "service", &format!("    access: user\n    rate_limit: {LIMIT_PER_S}/s\n"), None);
    let text = format!(
        r#"{listen}admin: {{listen: "{admin}"}}
cors: {{origins: ["{ORIGIN}"], credentials: true}}
jwt: {{service: service, path: /.well-known/jwks.json, issuer: {ISSUER}, audience: {AUDIENCE}}}
rate_limits: {{address: {LIMIT_PER_S}/s, principal: {LIMIT_PER_S}/s}}
access_log: {{to: "file:{}", sample: 100%, buffer: 8MiB}}
health: {{path: /health, interval: 2s}}
services:
  service: {{urls: ["http://{one}", "http://{two}"]}}
{routes}"#,
        log.display()
    );
    let config = write(seat, "leeward.yaml", &text)?;
    Ok(command(program, seat, config))
}

/// Runs the gateway with the file `config`.
pub(in crate::gateway) fn command(program: &Path, seat: &Seat<'_>, config: PathBuf) -> Command {
    let mut command = Command::new(program);
    command.arg("gateway").arg(config).arg("--data").arg(seat.folder.join("data"));
    command
}
