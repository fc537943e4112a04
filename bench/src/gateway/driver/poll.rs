//! Which sockets have something to do: one epoll set for upstream and clients.

use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

/// Events taken at a time.
const EVENTS_MAX: usize = 256;

/// Whose socket it is, and at which place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    Listener(usize),
    Upstream(usize),
    Client(usize),
}

impl Source {
    fn pack(self) -> u64 {
        let (kind, place) = match self {
            Self::Listener(place) => (0, place),
            Self::Upstream(place) => (1, place),
            Self::Client(place) => (2, place),
        };
        (place as u64) << 2 | kind
    }

    fn unpack(data: u64) -> Self {
        let place = usize::try_from(data >> 2).unwrap_or(usize::MAX);
        match data & 3 {
            0 => Self::Listener(place),
            1 => Self::Upstream(place),
            _ => Self::Client(place),
        }
    }
}

/// The set.
#[derive(Debug)]
pub(super) struct Poll {
    epoll: OwnedFd,
}

impl Poll {
    pub(super) fn new() -> Result<Self, String> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| format!("epoll: {error}"))?;
        Ok(Self { epoll })
    }

    pub(super) fn add_listener(&self, listener: &TcpListener, number: usize) -> Result<(), String> {
        self.register(listener, Source::Listener(number), epoll::EventFlags::IN)
    }

    /// A socket is reported once each time that it becomes readable or writable; whoever is told goes on until it is
    /// neither. When it is closed it leaves the set by itself.
    pub(super) fn add(&self, stream: &TcpStream, source: Source) -> Result<(), String> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        self.register(stream, source, flags)
    }

    fn register(&self, socket: impl AsFd, source: Source, flags: epoll::EventFlags) -> Result<(), String> {
        let data = epoll::EventData::new_u64(source.pack());
        epoll::add(&self.epoll, socket, data, flags).map_err(|error| format!("epoll: {error}"))
    }

    /// Fills `ready` with what has something to do, after at most `longest`.
    pub(super) fn wait(&self, ready: &mut Ready, longest: Duration) -> Result<(), String> {
        ready.events.clear();
        let longest = Timespec::try_from(longest).map_err(|_| "a wait of centuries")?;
        match epoll::wait(&self.epoll, spare_capacity(&mut ready.events), Some(&longest)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(format!("epoll: {error}")),
        }
    }
}

/// What [`Poll::wait`] found.
pub(super) struct Ready {
    events: Vec<epoll::Event>,
}

impl Ready {
    pub(super) fn new() -> Self {
        Self { events: Vec::with_capacity(EVENTS_MAX) }
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) fn get(&self, at: usize) -> Source {
        let data = self.events[at].data;
        Source::unpack(data.u64())
    }
}
