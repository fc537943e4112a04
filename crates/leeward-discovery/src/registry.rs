//! Where endpoints are looked up, and how they get from there into a [`Directory`].
//!
//! **Rule.** What a registry says replaces the endpoints of its service. While it says nothing, or fails, those known last stay, for
//! as long as it takes: a service that nobody can look up is most probably where it was. That it has no endpoints at all is believed
//! when the registry says so twice in a row.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::{Clock, Instant, Rng};
use leeward_runtime::Stop;
use parking_lot::Mutex;

use crate::directory::Directory;
use crate::endpoint::Endpoint;

/// The pause after the first failure in a row; each further one doubles it.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Up to this share of a pause is taken off it, so that many processes do not ask in step.
const JITTER: f64 = 0.2;
/// How often in a row a registry must say that there is nobody.
const NOBODY_BELIEVED: u32 = 2;

/// A registry could not be asked, or gave no answer that can be used. The text says which and why.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// What knows the endpoints of one service: DNS records, a catalogue, an orchestrator.
pub trait Registry: Send {
    /// What is looked up where, for operators, as `dns orders.internal:4001`.
    fn source(&self) -> String;

    /// Waits until there is something to say: at the first call and after a failure no longer than the lookup takes, later until what was
    /// said is out of date. All endpoints of the service; none when it has none.
    ///
    /// # Errors
    /// The registry cannot be asked now. It is asked again after a pause that grows from 1 s to 30 s.
    ///
    /// # Cancel safety
    /// Safe: the next call asks again.
    fn next(&mut self) -> impl Future<Output = Result<Vec<Endpoint>, Unavailable>> + Send;
}

/// What became of the last lookups of a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// The service.
    pub service: Arc<str>,
    /// What is looked up where.
    pub source: String,
    /// How old the last answer is; `None` before the first.
    pub age: Option<Duration>,
    /// Why there was none since.
    pub error: Option<String>,
}

#[derive(Default)]
struct State {
    answered_at: Option<Instant>,
    error: Option<String>,
    failures: u32,
    nobody: u32,
    /// Whether somebody else says now where the service is.
    is_over: bool,
}

/// What to do after an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    /// The registry is asked again, after this pause if it is not to say itself when.
    Ask(Option<Duration>),
    /// Nobody wants to know any more.
    End,
}

/// The lookups of one service, for whoever runs them and whoever wants to know how they do.
pub struct Lookup {
    service: Arc<str>,
    source: String,
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
}

impl Lookup {
    /// Of `service`, by `registry`.
    pub fn new(service: impl Into<Arc<str>>, registry: &impl Registry, clock: Arc<dyn Clock>) -> Self {
        Self { service: service.into(), source: registry.source(), state: Mutex::default(), clock }
    }

    /// How they do.
    #[must_use]
    pub fn status(&self) -> Status {
        let state = self.state.lock();
        let now = self.clock.now();
        Status {
            service: Arc::clone(&self.service),
            source: self.source.clone(),
            age: state.answered_at.map(|at| now.saturating_duration_since(at)),
            error: state.error.clone(),
        }
    }

    /// Whether the registry was asked once, whatever came of it.
    #[must_use]
    pub fn was_tried(&self) -> bool {
        let state = self.state.lock();
        state.answered_at.is_some() || state.error.is_some()
    }

    /// From here on nothing that the registry says gets into the directory, not even an answer that is being taken in at this moment: its
    /// endpoints are there when this returns, and whatever is put there next stays. [`run`](Self::run) ends at the next answer.
    pub fn end(&self) {
        self.state.lock().is_over = true;
    }

    /// Puts what the registry says into the directory until it is told to stop, or until its [`end`](Self::end).
    ///
    /// # Cancel safety
    /// Safe: the endpoints stay as they are.
    pub async fn run(&self, mut registry: impl Registry, directory: &Directory, rng: &dyn Rng, stop: &Stop) {
        while let Some(said) = stop.or(registry.next()).await {
            let Next::Ask(pause) = self.take(said, directory) else { return };
            let Some(pause) = pause else { continue };
            let pause = pause.mul_f64(1.0 - JITTER * rng.unit_f64());
            if stop.or(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Takes an answer in, and says what comes next.
    fn take(&self, said: Result<Vec<Endpoint>, Unavailable>, directory: &Directory) -> Next {
        // Held until the endpoints are in the directory: an end waits for it.
        let mut state = self.state.lock();
        if state.is_over {
            return Next::End;
        }
        let service = &*self.service;
        match said {
            Ok(endpoints) => {
                if state.failures > 0 {
                    tracing::info!(service, source = self.source, "endpoints are looked up again");
                }
                (state.failures, state.error) = (0, None);
                state.answered_at = Some(self.clock.now());
                state.nobody = if endpoints.is_empty() { state.nobody.saturating_add(1) } else { 0 };
                if (1..NOBODY_BELIEVED).contains(&state.nobody) {
                    tracing::warn!(
                        service,
                        source = self.source,
                        "there seem to be no endpoints: asking once more"
                    );
                    return Next::Ask(Some(PAUSE_MIN));
                }
                let nobody = endpoints.is_empty();
                directory.set(service, endpoints);
                Next::Ask(nobody.then_some(PAUSE_MIN))
            }
            Err(Unavailable(error)) => {
                if state.failures == 0 {
                    tracing::warn!(
                        service,
                        source = self.source,
                        error,
                        "endpoints cannot be looked up: those known last stay"
                    );
                }
                state.error = Some(error);
                let pause = PAUSE_MIN.saturating_mul(1 << state.failures.min(5)).min(PAUSE_MAX);
                state.failures = state.failures.saturating_add(1);
                Next::Ask(Some(pause))
            }
        }
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").field("status", &self.status()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use leeward_resilience::TokioClock;

    use super::*;

    struct Nowhere;

    impl Registry for Nowhere {
        fn source(&self) -> String {
            "nowhere".to_owned()
        }

        async fn next(&mut self) -> Result<Vec<Endpoint>, Unavailable> {
            std::future::pending().await
        }
    }

    fn at(ports: &[u16]) -> Vec<Endpoint> {
        ports.iter().map(|port| Endpoint::parse(&format!("http://127.0.0.1:{port}")).unwrap()).collect()
    }

    fn count(directory: &Directory) -> usize {
        directory.upstream("a").endpoints().len()
    }

    #[test]
    fn what_was_known_last_stays_until_there_is_something_better() {
        let directory = Directory::new();
        let lookup = Lookup::new("a", &Nowhere, Arc::new(TokioClock));
        assert!(!lookup.was_tried());
        assert_eq!(lookup.take(Ok(at(&[1, 2])), &directory), Next::Ask(None));
        assert_eq!(count(&directory), 2);
        let failed = || lookup.take(Err(Unavailable("down".to_owned())), &directory);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(failed(), Next::Ask(Some(Duration::from_secs(seconds))));
        }
        assert_eq!((count(&directory), lookup.status().error.as_deref()), (2, Some("down")));
        assert_eq!(lookup.take(Ok(at(&[3])), &directory), Next::Ask(None));
        assert_eq!((count(&directory), lookup.status().error), (1, None));
        assert_eq!(failed(), Next::Ask(Some(PAUSE_MIN)), "the pauses begin anew");
    }

    #[test]
    fn that_there_is_nobody_is_believed_the_second_time() {
        let directory = Directory::new();
        let lookup = Lookup::new("a", &Nowhere, Arc::new(TokioClock));
        lookup.take(Ok(at(&[1])), &directory);
        for (said, left) in
            [(vec![], 1), (at(&[1]), 1), (vec![], 1), (vec![], 0), (vec![], 0), (at(&[2, 3]), 2)]
        {
            lookup.take(Ok(said), &directory);
            assert_eq!(count(&directory), left);
        }
    }

    #[test]
    fn after_its_end_an_answer_changes_nothing() {
        let directory = Directory::new();
        let lookup = Lookup::new("a", &Nowhere, Arc::new(TokioClock));
        lookup.take(Ok(at(&[1])), &directory);
        lookup.end();
        directory.set("a", at(&[2, 3]));
        assert_eq!(lookup.take(Ok(at(&[1])), &directory), Next::End);
        assert_eq!(count(&directory), 2);
        directory.remove("a");
        assert_eq!(lookup.take(Ok(at(&[1])), &directory), Next::End);
        assert!(directory.service("a").is_none(), "what is gone does not come back");
    }
}
