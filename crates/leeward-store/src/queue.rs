//! The bounded queue between callers and the database's threads.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};

/// Why a job was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

/// First in, first out. Callers never wait: they are refused. The threads that serve it sleep while it is
/// empty.
pub(crate) struct Queue<J> {
    state: Mutex<State<J>>,
    filled: Condvar,
    jobs_max: usize,
}

struct State<J> {
    jobs: VecDeque<J>,
    closed: bool,
}

impl<J> Queue<J> {
    pub(crate) fn new(jobs_max: usize) -> Self {
        let state = State { jobs: VecDeque::new(), closed: false };
        Self { state: Mutex::new(state), filled: Condvar::new(), jobs_max }
    }

    pub(crate) fn push(&self, job: J) -> Result<(), Refused> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.jobs.len() >= self.jobs_max {
            return Err(Refused::Full);
        }
        state.jobs.push_back(job);
        drop(state);
        // After the lock is free, so that the woken thread does not run into it. It costs nothing while
        // nobody sleeps.
        self.filled.notify_one();
        Ok(())
    }

    /// Moves up to `jobs_max` jobs over, waiting for the first. False: the queue is closed and empty.
    pub(crate) fn take(&self, into: &mut Vec<J>, jobs_max: usize) -> bool {
        let mut state = self.state.lock();
        while state.jobs.is_empty() {
            if state.closed {
                return false;
            }
            self.filled.wait(&mut state);
        }
        state.hand_over(into, jobs_max);
        true
    }

    /// Moves up to `jobs_max` jobs over without waiting.
    pub(crate) fn take_more(&self, into: &mut Vec<J>, jobs_max: usize) {
        self.state.lock().hand_over(into, jobs_max);
    }

    /// Refuses new jobs; those queued are still served.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_all();
    }

    /// Drops what is queued. Used when nobody is left to serve it, so that its callers hear of it.
    pub(crate) fn abandon(&self) {
        self.close();
        let jobs = std::mem::take(&mut self.state.lock().jobs);
        // Outside the lock: dropping a job runs code of its owner.
        drop(jobs);
    }

    pub(crate) fn len(&self) -> usize {
        self.state.lock().jobs.len()
    }
}

impl<J> std::fmt::Debug for Queue<J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Queue").field("len", &state.jobs.len()).field("closed", &state.closed).finish()
    }
}

impl<J> State<J> {
    fn hand_over(&mut self, into: &mut Vec<J>, jobs_max: usize) {
        let count = self.jobs.len().min(jobs_max);
        into.extend(self.jobs.drain(..count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_bounded_ordered_and_drains_after_close() {
        let queue = Queue::new(2);
        assert_eq!(queue.push(1), Ok(()));
        assert_eq!(queue.push(2), Ok(()));
        assert_eq!(queue.push(3), Err(Refused::Full));
        queue.close();
        assert_eq!(queue.push(4), Err(Refused::Closed));
        let mut got = Vec::new();
        assert!(queue.take(&mut got, 1));
        assert!(queue.take(&mut got, 8));
        assert_eq!(got, [1, 2]);
        assert!(!queue.take(&mut got, 8));
    }
}
