//! The signals that ask the process to stop, and the one that asks it to read its configuration again.

use std::future::Future;
use std::io;

use tokio::signal::unix::{self, SignalKind};

/// A request to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: Ctrl-C at a terminal.
    Interrupt,
    /// SIGTERM: a supervisor's or orchestrator's request.
    Terminate,
}

impl Signal {
    /// The exit code by the shells' convention, 128 + the signal's number, for a process that cuts its stop
    /// short.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// A listener for the signals that ask to stop. From its creation on they no longer kill the process.
#[derive(Debug)]
pub struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the operating system refuses the handler.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
        })
    }

    /// The next request to stop. The second one usually means "now".
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            Some(()) = self.interrupt.recv() => Signal::Interrupt,
            Some(()) = self.terminate.recv() => Signal::Terminate,
            else => std::future::pending().await,
        }
    }
}

/// A listener for SIGHUP, by which supervisors and operators ask for the configuration to be read again. From its creation on it no
/// longer kills the process.
#[derive(Debug)]
pub struct Hangups(unix::Signal);

impl Hangups {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the operating system refuses the handler.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn listen() -> io::Result<Self> {
        unix::signal(SignalKind::hangup()).map(Self)
    }

    /// The next one. Several that come while nobody waits are one.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// Resolves at the first SIGINT or SIGTERM after this call (not after the first poll).
///
/// # Panics
/// Outside a tokio runtime with I/O enabled.
pub fn terminated() -> impl Future<Output = Signal> + Send {
    let signals = Signals::listen();
    async move {
        match signals {
            Ok(mut signals) => signals.next().await,
            Err(error) => {
                tracing::error!(%error, "cannot listen for signals: only a kill will stop this process");
                std::future::pending().await
            }
        }
    }
}
