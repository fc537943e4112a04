//! When certificates end, as metrics show it: by their files, as long as somebody uses them.

use std::collections::HashMap;
use std::sync::Arc;

use leeward_telemetry::metrics::Gauges;
use parking_lot::Mutex;

use super::server::Status;

/// The ends of all certificates in use. Clones show the same.
#[derive(Clone, Debug)]
pub(crate) struct Ends {
    gauges: Gauges<1>,
    /// How many use a file: listeners and services may share one.
    users: Arc<Mutex<HashMap<String, usize>>>,
}

impl Ends {
    pub(crate) fn new(gauges: Gauges<1>) -> Self {
        Self { gauges, users: Arc::default() }
    }

    /// Shows them until what this returns is dropped.
    pub(super) fn show(&self, certificates: &[Status]) -> Shown {
        let mut users = self.users.lock();
        let mut files = Vec::with_capacity(certificates.len());
        for one in certificates {
            *users.entry(one.file.clone()).or_default() += 1;
            self.gauges.with([&one.file]).set(one.not_after_unix_s);
            files.push(one.file.clone());
        }
        Shown { ends: self.clone(), files }
    }
}

/// Somebody uses these files.
#[derive(Debug)]
pub(super) struct Shown {
    ends: Ends,
    files: Vec<String>,
}

impl Drop for Shown {
    fn drop(&mut self) {
        let mut users = self.ends.users.lock();
        for file in &self.files {
            let Some(count) = users.get_mut(file) else { continue };
            *count -= 1;
            if *count == 0 {
                users.remove(file);
                self.ends.gauges.forget(0, file);
            }
        }
    }
}
