//! The connections over HTTP/2 of one core, and who opens the next one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use rustls::ClientConfig;
use tokio::sync::Notify;

use super::connection::Connection;

/// Connections to one endpoint. When the streams of all are taken, requests wait for one, within their time.
const CONNECTIONS_MAX: usize = 4;

type Key = (Box<str>, bool);

/// What is known of one endpoint.
#[derive(Default)]
struct Entry {
    connections: Vec<Rc<Connection>>,
    /// Whether somebody opens a connection: one at a time, since what it comes to may do for all.
    is_opening: bool,
    /// Told when there may be room: a stream ended, or somebody is done opening.
    room: Rc<Notify>,
    /// How many could not be opened, so that who waited for one knows.
    failures: u64,
    /// Whether the last connection turned out to be HTTP/1.1: then nobody waits for another's.
    is_http1: bool,
    /// Streams at a time that one connection is known to take: the next one will not say otherwise, and says it only once it is open.
    takes: Option<usize>,
}

/// The connections by where they lead to, and whether that is encrypted.
#[derive(Default)]
pub(crate) struct Table(Rc<RefCell<HashMap<Key, Entry, foldhash::fast::RandomState>>>);

/// What a request does next.
pub(crate) enum Next {
    /// It goes over this one.
    Ask(Rc<Connection>),
    /// It opens one.
    Open(Opening),
    /// It waits until there may be room, or more connections failed to come about than now.
    Wait(Rc<Notify>, u64),
}

/// The right to open a connection. Given up when it is dropped.
pub(crate) struct Opening {
    table: Table,
    key: Key,
    pub(crate) room: Rc<Notify>,
    /// Streams at a time that the connection is taken to have room for until it says so.
    pub(crate) takes: Option<usize>,
}

impl Table {
    pub(crate) fn next(&self, authority: &str, under: Option<&Arc<ClientConfig>>) -> Next {
        let key: Key = (authority.into(), under.is_some());
        let mut table = self.0.borrow_mut();
        let entry = table.entry(key.clone()).or_default();
        entry.connections.retain(|one| one.is_open());
        let is_under = |one: &&Rc<Connection>| match (&one.under, under) {
            (Some(own), Some(wanted)) => Arc::ptr_eq(own, wanted),
            (own, wanted) => own.is_none() && wanted.is_none(),
        };
        let fitting = || entry.connections.iter().filter(is_under);
        if let Some(one) = fitting().find(|one| one.has_room()) {
            return Next::Ask(Rc::clone(one));
        }
        let is_full = fitting().count() >= CONNECTIONS_MAX;
        if is_full || (entry.is_opening && !entry.is_http1) {
            return Next::Wait(Rc::clone(&entry.room), entry.failures);
        }
        entry.is_opening = true;
        entry.takes = entry.connections.iter().filter_map(|one| one.takes()).min().or(entry.takes);
        let (room, takes) = (Rc::clone(&entry.room), entry.takes);
        Next::Open(Opening { table: Table(Rc::clone(&self.0)), key, room, takes })
    }

    /// Whether there is no connection, and more could not be opened than so many: then there is nothing to wait for.
    pub(crate) fn is_hopeless(
        &self,
        authority: &str,
        under: Option<&Arc<ClientConfig>>,
        failures: u64,
    ) -> bool {
        let key: Key = (authority.into(), under.is_some());
        let table = self.0.borrow();
        let is_hopeless =
            |entry: &Entry| entry.failures > failures && !entry.connections.iter().any(|one| one.is_open());
        table.get(&key).is_some_and(is_hopeless)
    }

    /// Lets go what is of no use any more.
    pub(crate) fn sweep(&self) {
        self.0.borrow_mut().retain(|_, entry| {
            entry.connections.retain(|one| one.is_open() && !one.is_idle());
            !entry.connections.is_empty() || entry.is_opening
        });
    }

    pub(crate) fn clear(&self) {
        self.0.borrow_mut().clear();
    }
}

impl Opening {
    /// It speaks HTTP/2, and others may use it too.
    pub(crate) fn came_about(&self, connection: &Rc<Connection>) {
        if let Some(entry) = self.table.0.borrow_mut().get_mut(&self.key) {
            entry.is_http1 = false;
            entry.connections.push(Rc::clone(connection));
        }
    }

    /// It could not be opened: who waited for it would only find the same, one after the other.
    pub(crate) fn failed(&self) {
        if let Some(entry) = self.table.0.borrow_mut().get_mut(&self.key) {
            entry.failures += 1;
        }
    }

    /// It speaks HTTP/1.1.
    pub(crate) fn is_http1(&self) {
        if let Some(entry) = self.table.0.borrow_mut().get_mut(&self.key) {
            entry.is_http1 = true;
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(entry) = self.table.0.borrow_mut().get_mut(&self.key) {
            entry.is_opening = false;
        }
        self.room.notify_waiters();
    }
}
