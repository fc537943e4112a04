//! Another process takes the place of this one: what both may not have at the same time, and what stops at once.
//!
//! The listening sockets themselves are passed on as they are ([`Gateway::sockets`](crate::Gateway::sockets)): the queue of connections
//! that wait belongs to the socket, not to a process, so that nobody is refused while it changes hands. The file of revocations has one
//! owner: it is lent first, and meanwhile revocations are followed in memory. Only when the next process is ready does this one stop
//! taking connections.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Weak};

use tokio::sync::watch;

/// Who has what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// All of it is this process's.
    Ours,
    /// The files are wanted.
    Asked,
    /// The files are closed.
    Lent,
    /// The next process answers.
    Gone,
}

/// The state, for everybody whom it concerns. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Handover(watch::Sender<State>);

impl Handover {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(State::Ours))
    }

    /// Asks for the files and waits until they are closed; at once where `has_files` says that there are none.
    pub(crate) async fn lend(&self, has_files: bool) {
        self.0.send_replace(if has_files { State::Asked } else { State::Lent });
        self.until(|state| state != State::Asked).await;
    }

    /// The files are closed.
    pub(crate) fn closed(&self) {
        self.0.send_if_modified(|state| {
            let is_asked = *state == State::Asked;
            if is_asked {
                *state = State::Lent;
            }
            is_asked
        });
    }

    /// Nobody took over.
    pub(crate) fn take_back(&self) {
        self.0.send_replace(State::Ours);
    }

    /// The next process answers from now on.
    pub(crate) fn go(&self) {
        self.0.send_replace(State::Gone);
    }

    /// Whether the files may be open here.
    pub(crate) fn has_files(&self) -> bool {
        *self.0.borrow() == State::Ours
    }

    /// Resolves when the files may be open here, or may not be any more, whichever is not so now.
    pub(crate) async fn changed(&self, has_files: bool) {
        self.until(|state| (state == State::Ours) != has_files).await;
    }

    /// Resolves when the next process answers.
    pub(crate) async fn gone(&self) {
        self.until(|state| state == State::Gone).await;
    }

    async fn until(&self, is_so: impl Fn(State) -> bool) {
        let mut states = self.0.subscribe();
        // A sender is here: there is always one.
        let _state = states.wait_for(|state| is_so(*state)).await;
    }
}

/// Listening sockets of a running gateway, which closes them when it stops.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sockets(Vec<Weak<TcpListener>>);

impl Sockets {
    pub(crate) fn add(&mut self, socket: &Arc<TcpListener>) {
        self.0.push(Arc::downgrade(socket));
    }

    /// A copy of each.
    pub(crate) fn copies(&self) -> std::io::Result<Vec<TcpListener>> {
        let gone = || std::io::Error::other("the gateway stops");
        self.0.iter().map(|socket| socket.upgrade().ok_or_else(gone)?.try_clone()).collect()
    }
}

/// Listening sockets that were opened by somebody else, until they are used.
#[derive(Debug, Default)]
pub(crate) struct Given(Vec<TcpListener>);

impl Given {
    pub(crate) fn new(sockets: Vec<TcpListener>) -> Self {
        Self(sockets)
    }

    /// The one for an address: port 0 asks for any port of the address.
    pub(crate) fn take(&mut self, wanted: SocketAddr) -> Option<TcpListener> {
        let is_at = |socket: &TcpListener| {
            socket.local_addr().is_ok_and(|at| at == wanted || (wanted.port() == 0 && at.ip() == wanted.ip()))
        };
        let at = self.0.iter().position(is_at)?;
        Some(self.0.remove(at))
    }

    /// Says which were not asked for, and closes them.
    pub(crate) fn close(self) {
        for socket in self.0 {
            let address = socket.local_addr().ok();
            tracing::warn!(
                ?address,
                "a listening socket was passed on that the configuration has no use for: it is closed"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_socket_is_used_for_the_address_that_it_has() {
        let open = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (one, two) = (open(), open());
        let (first, second) = (one.local_addr().unwrap(), two.local_addr().unwrap());
        let mut given = Given::new(vec![one, two]);
        let mut takes = |wanted: &str| given.take(wanted.parse().unwrap()).map(|it| it.local_addr().unwrap());
        assert_eq!(takes("127.0.0.2:0"), None);
        assert_eq!(takes(&second.to_string()), Some(second));
        assert_eq!(takes(&second.to_string()), None, "each is used once");
        assert_eq!(takes("127.0.0.1:0"), Some(first));
    }

    #[tokio::test]
    async fn files_are_lent_once_they_are_closed() {
        let handover = Handover::new();
        assert!(handover.has_files());
        let closing = async {
            handover.changed(true).await;
            assert!(!handover.has_files());
            handover.closed();
        };
        tokio::join!(handover.lend(true), closing);
        handover.take_back();
        assert!(handover.has_files());
        handover.closed();
        assert!(handover.has_files(), "nobody asked");
        handover.lend(false).await;
        handover.go();
        handover.gone().await;
    }
}
