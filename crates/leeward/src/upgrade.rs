//! Another binary takes the place of this one, and no connection is lost.
//!
//! At SIGUSR2 the process starts the program that stands under its own name, with the arguments and the environment that it had itself,
//! and passes its listening sockets on. What waits in their queues waits for whoever accepts next. The two speak over a socket:
//!
//! ```text
//! next                                    this one
//! hello      its configuration is right
//!                                         closes the files that only one may have; go
//! starts, fetches keys, catches up
//! ready
//!                                         begin; from here on it accepts nothing, answers what is on its way, and ends
//! accepts
//! ```
//!
//! Until `begin` nothing is given up: a next process that ends, says something else, or takes too long is killed, and this one goes on.
//!
//! The sockets come in the way of systemd's socket activation (`LISTEN_FDS`), so that a supervisor may open them just as well; then there
//! is nobody to speak to.

mod before;
mod next;

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use leeward_gateway::Gateway;
use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(crate) use self::before::Before;
use crate::Error;

/// What the next process says once it has read its configuration.
const HELLO: &str = "hello\n";
/// Files are closed: it may open them.
const GO: &str = "go\n";
/// It could answer.
const READY: &str = "ready\n";
/// It answers from now on.
const BEGIN: &str = "begin\n";

/// How long one side waits for a word that the other can say at once.
const WORD_WITHIN: Duration = Duration::from_secs(10);
/// How long the next process may take to become ready: fetching keys and catching up have bounds of their own below this.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What was passed on to this process.
#[derive(Debug)]
pub(crate) struct Inherited {
    /// Listening sockets.
    pub(crate) sockets: Vec<TcpListener>,
    /// The way to the process before.
    pub(crate) before: Option<UnixStream>,
}

impl Inherited {
    /// Takes it, once, and before there is a second thread: the environment's keys that told of it are removed.
    pub(crate) fn take() -> Result<Self, Error> {
        let mut passed = ListenFd::from_env();
        let mut inherited = Self { sockets: Vec::with_capacity(passed.len()), before: None };
        for at in 0..passed.len() {
            match passed.take_tcp_listener(at) {
                Ok(socket) => inherited.sockets.extend(socket),
                Err(_not_tcp) => {
                    let stream = passed.take_unix_listener(at).map_err(|error| {
                        format!("LISTEN_FDS: {error}; the gateway takes sockets that listen on TCP")
                    })?;
                    inherited.before = stream.map(|stream| UnixStream::from(OwnedFd::from(stream)));
                }
            }
        }
        Ok(inherited)
    }
}

/// The wishes for another binary. From its making on SIGUSR2 no longer kills the process.
#[derive(Debug)]
pub(crate) struct Upgrades(Signal);

impl Upgrades {
    /// Begins to listen.
    pub(crate) fn listen() -> Result<Self, Error> {
        Ok(Self(signal(SignalKind::user_defined2())?))
    }

    /// Resolves once another process answers in place of this one. What did not come about is in the log.
    pub(crate) async fn taken_over(&mut self, gateway: &Gateway) {
        loop {
            if self.0.recv().await.is_none() {
                return std::future::pending().await;
            }
            tracing::warn!("another binary is wanted: it is started beside this process");
            match next::start(gateway).await {
                Ok(pid) => {
                    tracing::warn!(
                        pid,
                        "the next process answers; this one ends when what it has begun is answered"
                    );
                    return;
                }
                Err(error) => tracing::error!(%error, "no other process took over, and this one goes on"),
            }
        }
    }
}

/// Tells the supervisor, if it wants to hear it, that this process is ready and is the one to watch.
pub(crate) fn tell_supervisor() {
    let told = sd_notify::notify(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready]);
    if let Err(error) = told {
        tracing::warn!(%error, "the supervisor at NOTIFY_SOCKET was not told that the gateway is ready");
    }
}
