//! The addresses of a gateway, from taking them to letting somebody connect.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::Error;
use crate::config::Config;
use crate::handover::{Given, Sockets};
use crate::plane::{self, Door, Entry};

/// Addresses that are taken, and that nobody can connect to yet unless somebody opened them before.
pub(super) struct Bound {
    public: Vec<socket2::Socket>,
    pub(super) addrs: Arc<[SocketAddr]>,
    admin: socket2::Socket,
    pub(super) admin_addr: SocketAddr,
}

impl Bound {
    /// Takes the addresses of the configuration, by the sockets that were given where they fit.
    pub(super) fn new(config: &Config, mut given: Given) -> Result<Self, Error> {
        let listen = config.listen.iter();
        let public: Vec<_> =
            listen.map(|one| bind("listen", one.address, &mut given)).collect::<Result<_, _>>()?;
        let admin = bind("admin.listen", config.admin.listen, &mut given)?;
        given.close();
        let addrs = public.iter().zip(&config.listen).map(|(socket, one)| local(socket, one.address));
        let (addrs, admin_addr) = (addrs.collect(), local(&admin, config.admin.listen));
        Ok(Self { public, addrs, admin, admin_addr })
    }

    /// Lets clients and operators connect.
    pub(super) fn open(
        self,
        entries: &[Arc<Entry>],
    ) -> Result<(Vec<Door>, Arc<TcpListener>, Sockets), Error> {
        let Self { public, addrs, admin, admin_addr } = self;
        let admin = Arc::new(open(admin, "admin.listen", admin_addr)?);
        let doors = public.into_iter().zip(&*addrs).zip(entries).map(|((socket, addr), entry)| {
            let listener = Arc::new(open(socket, "listen", *addr)?);
            Ok(Door { listener, entry: Arc::clone(entry) })
        });
        let doors: Vec<Door> = doors.collect::<Result<_, Error>>()?;
        let mut sockets = Sockets::default();
        doors.iter().map(|door| &door.listener).chain([&admin]).for_each(|socket| sockets.add(socket));
        Ok((doors, admin, sockets))
    }
}

/// The socket for an address: one that was passed on, or a new one.
fn bind(key: &'static str, address: SocketAddr, given: &mut Given) -> Result<socket2::Socket, Error> {
    if let Some(socket) = given.take(address) {
        return Ok(socket.into());
    }
    plane::bind(address).map_err(|cause| Error::Bind { key, address, cause })
}

fn open(socket: socket2::Socket, key: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    plane::listen(socket).map_err(|cause| Error::Bind { key, address, cause })
}

fn local(socket: &socket2::Socket, wanted: SocketAddr) -> SocketAddr {
    socket.local_addr().ok().and_then(|address| address.as_socket()).unwrap_or(wanted)
}
