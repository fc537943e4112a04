//! Ports for processes that are told theirs on the command line.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port that is ours for as long as this lives.
///
/// The socket is bound and does not listen. Linux gives its port to nobody who asks for any port, be it for a listener or
/// for a connection, and lets a server that sets `SO_REUSEADDR`, as ours do, listen on it: so a process can be killed and
/// started again on the same port while other tests run.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _held: Socket,
}

impl Port {
    /// Any free port of the loopback address.
    #[must_use]
    pub fn any() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let number = socket.local_addr().unwrap().as_socket().unwrap().port();
        Self { number, _held: socket }
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The URL of whoever listens there.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.number)
    }
}
