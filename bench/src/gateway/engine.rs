//! Who is measured: how each is found, set up and started.

pub(super) mod leeward;
mod peers;
mod request;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::case::Case;
use super::driver::Ask;
use super::tokens::Tokens;

/// What of leeward-all's work Envoy does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Policies {
    None,
    Cached,
    /// No token is remembered.
    Uncached,
}

/// The page on whose behalf requests come, where cross-origin requests are looked at.
const ORIGIN: &str = "https://shop.example";

/// A rate that no engine reaches: the limit is counted on every request and refuses none.
const LIMIT_PER_S: u32 = 1_000_000;

/// One contender.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Engine {
    /// The least that forwarding costs.
    Floor,
    Nginx,
    Haproxy,
    /// Forwarding alone, as the next.
    Pingora,
    Envoy,
    /// With everything that leeward-all has and Envoy can.
    EnvoyPolicies,
    /// As before, each token new.
    EnvoyPoliciesCold,
    /// Six lines, and the limit by address off.
    LeewardBare,
    /// Six lines, and the limit by address raised.
    LeewardDefault,
    /// Everything that the gateway has.
    LeewardAll,
    /// As before, each token new.
    LeewardAllCold,
}

impl std::str::FromStr for Engine {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        let engine = Self::ALL.into_iter().find(|engine| engine.name() == name);
        engine.ok_or_else(|| format!("`{name}` is none of {}", known()))
    }
}

/// The programs, as far as they are there.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) nginx: Option<PathBuf>,
    pub(super) haproxy: Option<PathBuf>,
    pub(super) envoy: Option<PathBuf>,
    /// Built when it is asked for.
    pub(super) pingora: Option<PathBuf>,
    pub(super) leeward: PathBuf,
    /// This one, which holds the floor.
    pub(super) floor: PathBuf,
}

/// Where an engine runs.
#[derive(Debug)]
pub(super) struct Seat<'a> {
    pub(super) folder: &'a Path,
    pub(super) listen: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) upstream: [SocketAddr; 2],
    /// The keys that tokens are checked with, as JSON.
    pub(super) keys: &'a str,
    /// What it is set up for.
    pub(super) case: &'a Case,
}

impl Seat<'_> {
    /// Where the access log of an engine that has one is.
    pub(super) fn access_log(&self) -> PathBuf {
        self.folder.join("access.log")
    }
}

impl Engine {
    pub(super) const ALL: [Self; 11] = [
        Self::Floor,
        Self::Nginx,
        Self::Haproxy,
        Self::Pingora,
        Self::Envoy,
        Self::LeewardBare,
        Self::LeewardDefault,
        Self::LeewardAll,
        Self::EnvoyPolicies,
        Self::LeewardAllCold,
        Self::EnvoyPoliciesCold,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Pingora => "pingora",
            Self::Envoy => "envoy",
            Self::EnvoyPolicies => "envoy-policies",
            Self::EnvoyPoliciesCold => "envoy-policies-cold",
            Self::LeewardBare => "leeward-bare",
            Self::LeewardDefault => "leeward-default",
            Self::LeewardAll => "leeward-all",
            Self::LeewardAllCold => "leeward-all-cold",
        }
    }

    /// Whether it checks tokens, and so must prove that it does.
    pub(super) fn checks_tokens(self) -> bool {
        matches!(
            self,
            Self::EnvoyPolicies | Self::EnvoyPoliciesCold | Self::LeewardAll | Self::LeewardAllCold
        )
    }

    /// Whether each of its tokens is new to it.
    pub(super) fn is_cold(self) -> bool {
        matches!(self, Self::EnvoyPoliciesCold | Self::LeewardAllCold)
    }

    /// Whether its /metrics can be asked.
    pub(super) fn is_leeward(self) -> bool {
        matches!(self, Self::LeewardBare | Self::LeewardDefault | Self::LeewardAll | Self::LeewardAllCold)
    }

    /// Writes its configuration; gives the command that runs it, or why it cannot run.
    pub(super) fn prepare(self, programs: &Programs, seat: &Seat<'_>) -> Result<Command, String> {
        match self {
            Self::Floor => {
                let mut command = Command::new(&programs.floor);
                command.arg("floor");
                Ok(addressed(command, seat))
            }
            Self::Nginx => peers::nginx(found(programs.nginx.as_ref())?, seat),
            Self::Haproxy => peers::haproxy(found(programs.haproxy.as_ref())?, seat),
            Self::Pingora => Ok(addressed(Command::new(found(programs.pingora.as_ref())?), seat)),
            Self::Envoy => peers::envoy(found(programs.envoy.as_ref())?, seat, Policies::None),
            Self::EnvoyPolicies => peers::envoy(found(programs.envoy.as_ref())?, seat, Policies::Cached),
            Self::EnvoyPoliciesCold => {
                peers::envoy(found(programs.envoy.as_ref())?, seat, Policies::Uncached)
            }
            Self::LeewardBare => leeward::bare(&programs.leeward, seat),
            Self::LeewardDefault => leeward::default(&programs.leeward, seat),
            Self::LeewardAll | Self::LeewardAllCold => leeward::all(&programs.leeward, seat),
        }
    }

    /// Whether its program is there.
    pub(super) fn is_installed(self, programs: &Programs) -> bool {
        match self {
            Self::Nginx => programs.nginx.is_some(),
            Self::Haproxy => programs.haproxy.is_some(),
            Self::Pingora => programs.pingora.is_some(),
            Self::Envoy | Self::EnvoyPolicies | Self::EnvoyPoliciesCold => programs.envoy.is_some(),
            _ => true,
        }
    }

    /// Whether it can be asked in the way of `case`.
    pub(super) fn takes(self, case: &Case) -> bool {
        self != Self::Floor || !case.is_http2
    }

    /// The requests of `case`; with tokens and as a page's where those are looked at.
    pub(super) fn requests(
        self,
        case: &Case,
        listen: SocketAddr,
        tokens: &Tokens,
    ) -> Result<Vec<Ask>, String> {
        let tokens = match (self.checks_tokens(), self.is_cold()) {
            (false, _) => &[],
            (true, false) => &tokens.warm[..],
            (true, true) => &tokens.cold[..],
        };
        request::all(case, listen, tokens)
    }
}

/// A program that is told where it listens and where the service is, and nothing else.
fn addressed(mut command: Command, seat: &Seat<'_>) -> Command {
    command.args([seat.listen, seat.upstream[0]].map(|address| address.to_string()));
    command
}

fn found(program: Option<&PathBuf>) -> Result<&Path, String> {
    program.map(PathBuf::as_path).ok_or_else(|| "it is not installed".to_owned())
}

/// The first of `name` in the folders of PATH and where Debian keeps servers.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// An address that was free a moment ago.
pub(super) fn free_address() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
    listener.local_addr().map_err(|error| error.to_string())
}

/// Writes a configuration file into the engine's folder.
fn write(seat: &Seat<'_>, name: &str, text: &str) -> Result<PathBuf, String> {
    let path = seat.folder.join(name);
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}
