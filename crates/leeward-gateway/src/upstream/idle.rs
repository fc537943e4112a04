//! Connections of one core that wait for their next request.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::Instant;
use rustls::ClientConfig;

use super::Look;
use crate::h1::Link;

/// What a core keeps at most.
#[derive(Clone, Copy)]
struct Bounds {
    /// As many as one name of DNS may have, twice. Connections to those beyond are closed after their request.
    endpoints: usize,
    /// Of all endpoints: eight times as many as there are requests at a time by default (`concurrency_limit` at the top of the file), on all
    /// cores. What is beyond is closed after its request.
    connections: usize,
}

const BOUNDS: Bounds = Bounds { endpoints: 8_192, connections: 16_384 };

pub(super) struct Idle {
    pub(super) link: Link,
    /// The TLS that it began with: who is believed under another one, and what was presented, is not known here.
    pub(super) under: Option<Arc<ClientConfig>>,
    pub(super) since: Instant,
    pub(super) idle_timeout: Duration,
}

impl Idle {
    fn is_good(&mut self, now: Instant, look: Look) -> bool {
        now.saturating_duration_since(self.since) < self.idle_timeout && self.link.is_open(look)
    }

    fn is_under(&self, wanted: Option<&Arc<ClientConfig>>) -> bool {
        match (&self.under, wanted) {
            (None, None) => true,
            (Some(own), Some(wanted)) => Arc::ptr_eq(own, wanted),
            _ => false,
        }
    }
}

/// By where they lead to, which no client can choose. Ids of endpoints are unique within one service only.
type Table = HashMap<Box<str>, Vec<Idle>, foldhash::fast::RandomState>;

/// All of them, within bounds.
#[derive(Default)]
pub(super) struct Idles {
    by: Table,
    count: usize,
}

impl std::fmt::Debug for Idles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Idles").field("endpoints", &self.by.len()).field("count", &self.count).finish()
    }
}

impl Idles {
    /// Keeps a connection, of its endpoint at most `each_max`, at least 1.
    pub(super) fn put(&mut self, one: Idle, each_max: usize) {
        self.put_within(one, each_max, BOUNDS);
    }

    fn put_within(&mut self, one: Idle, each_max: usize, most: Bounds) {
        let Some(connections) = self.by.get_mut(one.link.authority()) else {
            if self.by.len() >= most.endpoints {
                self.sweep(one.since);
            }
            if self.by.len() < most.endpoints && self.count < most.connections {
                self.by.insert(one.link.authority().into(), vec![one]);
                self.count += 1;
            }
            return;
        };
        if connections.len() >= each_max || self.count >= most.connections {
            if connections.is_empty() {
                return;
            }
            // The oldest goes: it is the next to be closed by the other side.
            connections.remove(0);
            self.count -= 1;
        }
        connections.push(one);
        self.count += 1;
    }

    /// The connection used last: it is the warmest, and the others may reach their end.
    pub(super) fn take(
        &mut self,
        authority: &str,
        under: Option<&Arc<ClientConfig>>,
        (now, look): (Instant, Look),
    ) -> Option<Link> {
        let connections = self.by.get_mut(authority)?;
        while let Some(last) = connections.iter().rposition(|one| one.is_under(under)) {
            let mut one = connections.remove(last);
            self.count -= 1;
            if one.is_good(now, look) {
                return Some(one.link);
            }
        }
        None
    }

    /// Closes what is of no use any more.
    pub(super) fn sweep(&mut self, now: Instant) {
        let mut count = 0;
        self.by.retain(|_, connections| {
            connections.retain_mut(|one| one.is_good(now, Look::Now));
            count += connections.len();
            !connections.is_empty()
        });
        self.count = count;
    }

    pub(super) fn clear(&mut self) {
        self.by.clear();
        self.count = 0;
    }
}

#[cfg(test)]
mod tests;
