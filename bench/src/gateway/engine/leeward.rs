//! Leeward's gateway with three configurations.

use std::path::Path;
use std::process::Command;

use super::{LIMIT_PER_S, ORIGIN, Seat, write};
use crate::gateway::tokens::{AUDIENCE, ISSUER};

/// Six lines, and no limit: forwarding, with what cannot be switched off.
pub(super) fn bare(program: &Path, seat: &Seat<'_>) -> Result<Command, String> {
    command(program, seat, &six_lines(seat, "rate_limits: {address: off, principal: off}"))
}

/// The defaults, but for the limit by address, since the whole load comes from one.
pub(super) fn default(program: &Path, seat: &Seat<'_>) -> Result<Command, String> {
    command(program, seat, &six_lines(seat, &format!("rate_limits: {{address: {LIMIT_PER_S}/s}}")))
}

fn six_lines(seat: &Seat<'_>, limits: &str) -> String {
    let Seat { listen, admin, upstream: [upstream, _], .. } = seat;
    format!(
        "listen: {listen}\nadmin: {{listen: \"{admin}\"}}\n{limits}\nroutes:\n  - path: /\n    service: http://{upstream}\n"
    )
}

/// Tokens checked and vouched for, limits by address, user and route, CORS, health checks, two endpoints to choose from;
/// breaker, retry budget, choice by latency, ejection, metrics and trace context are always there.
pub(super) fn all(program: &Path, seat: &Seat<'_>) -> Result<Command, String> {
    let Seat { listen, admin, upstream: [one, two], .. } = seat;
    let text = format!(
        r#"listen: {listen}
admin: {{listen: "{admin}"}}
cors: {{origins: ["{ORIGIN}"], credentials: true}}
jwt: {{service: service, path: /.well-known/jwks.json, issuer: {ISSUER}, audience: {AUDIENCE}}}
rate_limits: {{address: {LIMIT_PER_S}/s, principal: {LIMIT_PER_S}/s}}
health: {{path: /health, interval: 2s}}
services:
  service: {{urls: ["http://{one}", "http://{two}"]}}
routes:
  - path: /
    service: service
    access: user
    rate_limit: {LIMIT_PER_S}/s
"#
    );
    command(program, seat, &text)
}

fn command(program: &Path, seat: &Seat<'_>, text: &str) -> Result<Command, String> {
    let config = write(seat, "leeward.yaml", text)?;
    let mut command = Command::new(program);
    command.arg("gateway").arg(config).arg("--data").arg(seat.folder.join("data"));
    Ok(command)
}
