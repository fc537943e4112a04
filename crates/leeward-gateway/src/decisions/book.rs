//! One core's rings.

use std::cell::RefCell;

use super::ask::Filter;
use super::record::{Decision, Kept};
use crate::config::Decisions as Options;

/// So much of the room is for the sample, beside what is kept for a reason.
const SAMPLE_SHARE: usize = 8;

/// What one core keeps.
#[derive(Debug)]
pub(crate) struct Book {
    sample: f64,
    pages: RefCell<Pages>,
}

#[derive(Debug)]
struct Pages {
    /// Refused, answered by a fallback, or with attempts that failed.
    marked: Ring,
    sampled: Ring,
}

impl Book {
    /// `None` where nothing is to be kept.
    pub(crate) fn new(options: &Options) -> Option<Self> {
        let room = options.keep;
        let pages = Pages { marked: Ring::new(room), sampled: Ring::new(room.div_ceil(SAMPLE_SHARE)) };
        (room > 0).then(|| Self { sample: options.sample, pages: RefCell::new(pages) })
    }

    /// The share of the requests that went well that are kept.
    pub(crate) fn sample(&self) -> f64 {
        self.sample
    }

    pub(crate) fn keep(&self, decision: Decision) {
        let mut pages = self.pages.borrow_mut();
        match decision.kept {
            Kept::Sample => pages.sampled.push(decision),
            Kept::Refused | Kept::Fallback | Kept::Attempts => pages.marked.push(decision),
        }
    }

    /// The newest that match, newest first, as many as are asked for at most.
    pub(crate) fn find(&self, filter: &Filter) -> Vec<Decision> {
        let pages = self.pages.borrow();
        let mut found: Vec<Decision> = Vec::new();
        for ring in [&pages.marked, &pages.sampled] {
            found.extend(ring.newest().filter(|one| filter.takes(one)).take(filter.limit).cloned());
        }
        found.sort_by_key(|one| std::cmp::Reverse(one.unix_ms));
        found.truncate(filter.limit);
        found
    }

    /// Another one with the newest of what this one has.
    pub(crate) fn after(&self, options: &Options) -> Option<Self> {
        let next = Self::new(options)?;
        let pages = self.pages.borrow();
        {
            let mut new = next.pages.borrow_mut();
            new.marked.take_over(&pages.marked);
            new.sampled.take_over(&pages.sampled);
        }
        Some(next)
    }
}

/// The newest so many of what was pushed. Room is taken as it is needed.
#[derive(Debug)]
struct Ring {
    room: usize,
    next: usize,
    entries: Vec<Decision>,
}

impl Ring {
    fn new(room: usize) -> Self {
        Self { room, next: 0, entries: Vec::new() }
    }

    fn push(&mut self, decision: Decision) {
        match self.entries.get_mut(self.next) {
            Some(oldest) => *oldest = decision,
            None => self.entries.push(decision),
        }
        self.next = (self.next + 1) % self.room;
    }

    fn newest(&self) -> impl Iterator<Item = &Decision> {
        let (newer, older) = self.entries.split_at(self.next.min(self.entries.len()));
        newer.iter().rev().chain(older.iter().rev())
    }

    fn take_over(&mut self, other: &Self) {
        let newest: Vec<&Decision> = other.newest().take(self.room).collect();
        newest.into_iter().rev().for_each(|decision| self.push(decision.clone()));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::{Attempts, Text};
    use super::*;

    fn decision(number: usize, kept: Kept) -> Decision {
        Decision {
            kept,
            request_id: Text::from(&*format!("r{number}")),
            unix_ms: i64::try_from(number).unwrap(),
            took: Duration::ZERO,
            client: std::net::Ipv4Addr::LOCALHOST.into(),
            method: "GET",
            host: Text::default(),
            path: Text::default(),
            route: None,
            route_at: None,
            service: None,
            status: 200,
            epoch: 1,
            attempts: Attempts::default(),
            refused: None,
            fallback: None,
        }
    }

    fn ids(found: &[Decision]) -> Vec<String> {
        found.iter().map(|one| one.request_id.as_str().to_owned()).collect()
    }

    fn all(limit: usize) -> Filter {
        Filter { limit, ..Filter::default() }
    }

    #[test]
    fn many_that_went_well_push_out_none_that_did_not() {
        let book = Book::new(&Options { keep: 8, sample: 1.0 }).unwrap();
        book.keep(decision(0, Kept::Refused));
        (1..100).for_each(|number| book.keep(decision(number, Kept::Sample)));
        assert_eq!(ids(&book.find(&all(10))), ["r99", "r0"]);
        assert!(Book::new(&Options { keep: 0, sample: 1.0 }).is_none());
    }

    /// An entry is about a kilobyte, as the documentation says.
    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<Decision>() <= 1_024, "{}", size_of::<Decision>());
    }

    proptest! {
        #[test]
        fn it_is_the_newest_of_a_list(room in 1_usize..9, count in 0_usize..40, limit in 1_usize..12, smaller in 1_usize..9) {
            let book = Book::new(&Options { keep: room, sample: 0.0 }).unwrap();
            (0..count).for_each(|number| book.keep(decision(number, Kept::Refused)));
            let newest = |room: usize| -> Vec<String> {
                (0..count).rev().take(room.min(limit)).map(|number| format!("r{number}")).collect()
            };
            prop_assert_eq!(ids(&book.find(&all(limit))), newest(room));
            let next = book.after(&Options { keep: smaller, sample: 0.0 }).unwrap();
            prop_assert_eq!(ids(&next.find(&all(limit))), newest(room.min(smaller)));
        }
    }
}
