//! Code of one's own on the path of every request that goes to a service, written in Rust and added with
//! [`Builder::layer`](crate::Builder::layer).
//!
//! **Rule.** Layers stand in the order in which they were added, the first outermost, behind the gateway's limits and the check of who may, in
//! front of the choice of the service and everything outbound. A layer sees the request's head and who asks; it may change headers, answer
//! itself, or hand on and change the answer. Bodies pass by it. What no configuration may change of a message, no layer may either.
//!
//! Each core has layers of its own, made by a function of the program, so that none needs a lock. A layer that panics answers 500, and one that takes
//! longer than the request has answers 504; the core goes on.

mod message;

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;

use futures_util::FutureExt;
use http::{HeaderMap, Response, StatusCode};
use leeward_telemetry::metrics::Counter;

pub use self::message::{Answer, Ask, NotYours, Refused};
use crate::body::Download;
use crate::metrics::Metrics;
use crate::refusal::{Refusal, Stage, code};

/// What a layer comes to: an answer, or the gateway's refusal, which it may look at and has to hand on.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Answer, Refused>> + 'a>>;

/// A step on the way of a request.
pub trait Layer {
    /// Answers a request, usually by handing it on with [`Next::run`].
    fn call<'a>(&'a self, ask: Ask, next: Next<'a>) -> Answering<'a>;
}

/// How a layer is made, once for each core.
pub(crate) struct Maker {
    pub(crate) name: &'static str,
    make: Box<dyn Fn() -> Box<dyn Layer> + Send + Sync>,
}

impl std::fmt::Debug for Maker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Maker").field(&self.name).finish()
    }
}

impl Maker {
    pub(crate) fn new<L: Layer + 'static>(
        name: &'static str,
        make: impl Fn() -> L + Send + Sync + 'static,
    ) -> Self {
        Self { name, make: Box::new(move || Box::new(make())) }
    }
}

/// The layers of one core.
pub(crate) struct Layers(Box<[One]>);

struct One {
    name: &'static str,
    layer: Box<dyn Layer>,
    requests: Counter,
    panics: Counter,
}

impl std::fmt::Debug for Layers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|one| one.name)).finish()
    }
}

impl Layers {
    pub(crate) fn new(makers: &[Maker], metrics: &Metrics) -> Rc<Self> {
        let one = |maker: &Maker| One {
            name: maker.name,
            layer: (maker.make)(),
            requests: metrics.layers.requests.with([maker.name]),
            panics: metrics.layers.panics.with([maker.name]),
        };
        Rc::new(Self(makers.iter().map(one).collect()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Through all of them, and then to the end.
    pub(crate) async fn run<'a>(&'a self, ask: Ask, end: End<'a>) -> Result<Response<Download>, Refusal> {
        let done = Next { rest: &self.0, end }.run(ask).await;
        done.map(|answer| answer.0).map_err(|refused| refused.0)
    }
}

/// What comes after the last layer.
pub(crate) type End<'a> = Box<
    dyn FnOnce(HeaderMap) -> Pin<Box<dyn Future<Output = Result<Response<Download>, Refusal>> + 'a>> + 'a,
>;

/// All that comes after a layer. It runs once or not at all.
pub struct Next<'a> {
    rest: &'a [One],
    end: End<'a>,
}

impl std::fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.rest.iter().map(|one| one.name)).finish()
    }
}

impl Next<'_> {
    /// Hands the request on.
    ///
    /// # Errors
    /// The gateway's own refusal, such as that of an open breaker, or of a layer further in that panicked.
    ///
    /// # Cancel safety
    /// As that of the request: dropping it gives up the call to the service.
    pub async fn run(self, ask: Ask) -> Result<Answer, Refused> {
        let Self { rest, end } = self;
        match rest.split_first() {
            Some((first, rest)) => first.call(ask, Next { rest, end }).await,
            None => end(ask.into_headers()).await.map(Answer).map_err(Refused),
        }
    }
}

impl One {
    fn call<'a>(&'a self, ask: Ask, next: Next<'a>) -> Answering<'a> {
        Box::pin(async move {
            self.requests.inc();
            // The layer is made and polled inside, so that a panic of either ends here.
            let calling = AssertUnwindSafe(async move { self.layer.call(ask, next).await });
            match calling.catch_unwind().await {
                Ok(done) => done,
                Err(_told_by_the_hook) => {
                    self.panics.inc();
                    tracing::error!(layer = self.name, "a layer panicked");
                    Err(Refused(failed("a layer of this gateway failed")))
                }
            }
        })
    }
}

fn failed(detail: &'static str) -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, code::INTERNAL, Stage::Layer, detail)
}
