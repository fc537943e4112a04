//! The side of the process that is to be replaced.

use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use leeward_gateway::Gateway;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::{BEGIN, GO, HELLO, READY, READY_WITHIN, WORD_WITHIN};
use crate::Error;

/// The first descriptor of those that are passed on, as `LISTEN_FDS` has it.
const FIRST: i32 = 3;
/// How long a process that has hung up may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(1);
const GONE_LOOK: Duration = Duration::from_millis(10);

/// Starts the next process and lets it take over. Gives its id.
///
/// # Cancel safety
/// Safe: a process that has not taken over is killed.
pub(super) async fn start(gateway: &Gateway) -> Result<u32, Error> {
    let mut next = Next::spawn(gateway)?;
    let taken = next.take_over(gateway).await;
    if taken.is_err() {
        next.end();
        gateway.take_back();
    }
    taken.map(|()| next.release())
}

/// A process that is killed unless it takes over.
#[derive(Debug)]
struct Next {
    child: Option<Child>,
    stream: BufReader<UnixStream>,
}

impl Next {
    /// The program under the name by which this one was started: whatever stands there now.
    fn spawn(gateway: &Gateway) -> Result<Self, Error> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let sockets = gateway.sockets()?;
        let passed: Vec<OwnedFd> = sockets.into_iter().map(OwnedFd::from).chain([theirs.into()]).collect();
        let mut arguments = std::env::args_os();
        let program = arguments.next().ok_or("this process does not know its own name")?;
        let mut command = Command::new(&program);
        command.args(arguments).env("LISTEN_FDS", passed.len().to_string());
        for stale in ["LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_FDS_FIRST_FD"] {
            command.env_remove(stale);
        }
        let mapped = passed.into_iter().zip(FIRST..);
        let mapped = mapped.map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
        command.fd_mappings(mapped.collect())?;
        let child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        // The command holds the other end: from here on only the child does, and its end is heard.
        drop(command);
        Ok(Self { child: Some(child), stream: BufReader::new(UnixStream::from_std(ours)?) })
    }

    async fn take_over(&mut self, gateway: &Gateway) -> Result<(), Error> {
        self.hear(HELLO, WORD_WITHIN).await?;
        let lent = tokio::time::timeout(WORD_WITHIN, gateway.lend()).await;
        lent.map_err(|_| format!("the database of revocations was not closed within {WORD_WITHIN:?}"))?;
        self.stream.write_all(GO.as_bytes()).await?;
        self.hear(READY, READY_WITHIN).await?;
        self.stream.write_all(BEGIN.as_bytes()).await?;
        gateway.go();
        Ok(())
    }

    async fn hear(&mut self, word: &str, within: Duration) -> Result<(), Error> {
        let (mut heard, wanted) = (String::new(), word.trim());
        match tokio::time::timeout(within, self.stream.read_line(&mut heard)).await {
            Ok(Ok(_)) if heard == word => Ok(()),
            Ok(Ok(0) | Err(_)) => Err(self.ending(wanted).await.into()),
            Ok(Ok(_)) => {
                Err(format!("the next process said {heard:?} in place of `{wanted}`: is it a leeward?")
                    .into())
            }
            Err(_) => Err(format!("the next process did not say `{wanted}` within {within:?}").into()),
        }
    }

    /// How a process ended that hung up.
    async fn ending(&mut self, wanted: &str) -> String {
        let gone = tokio::time::timeout(GONE_WITHIN, async {
            loop {
                let ended = self.child.as_mut().map(Child::try_wait);
                if let Some(Ok(Some(status))) = ended {
                    return status;
                }
                tokio::time::sleep(GONE_LOOK).await;
            }
        });
        match gone.await {
            Ok(status) => format!(
                "the next process ended with {status} before it was `{wanted}`; its standard error says why"
            ),
            Err(_) => format!("the next process hung up before it was `{wanted}`"),
        }
    }

    /// Leaves it alone.
    fn release(mut self) -> u32 {
        self.child.take().map_or(0, |child| child.id())
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone_already = child.kill();
            let _status = child.wait();
        }
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        self.end();
    }
}
