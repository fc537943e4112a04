//! The life of a request, in one function: outermost first, one reason a line.

mod around;
mod choose;
mod edge;
mod experiment;
mod fallback;
mod forward;
mod identity;
mod outbound;
mod own;
mod parse;
mod sending;
mod series;
mod shed;
mod substitute;
mod trip;
mod unanswered;
mod witness;

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use leeward_resilience::{Deadline, Timer};

pub(crate) use self::edge::OWN_PATHS;
use self::forward::Forward;
pub(crate) use self::forward::target;
pub(crate) use self::identity::{nobody, unreadable};
pub(crate) use self::parse::{host, host_name, path, rule_broken, too_large};
use self::sending::Sending;
use self::series::Series;
use self::trip::Trip;
pub(crate) use self::trip::{Held, method_not_allowed, no_route, unmet};
use crate::access::{Delivery, Recorder};
use crate::body::Download;
use crate::decisions::Book;
use crate::h1::Rule;
use crate::incoming::Incoming;
use crate::jwt::{Subject, TokenCache};
use crate::layer::Layers;
use crate::overload::Overload;
use crate::plane::Load;
use crate::refusal::Refusal;
use crate::shared::{Answers, RouteState, Shared};
use crate::upstream::Pool;
use crate::{address, grpc, headers, tls};

/// One core under one snapshot: what it shares with the others, and what is its own. A request keeps the one that it began with.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pool: Rc<Pool>,
    pub(crate) tokens: Rc<RefCell<TokenCache>>,
    pub(crate) load: Arc<Load>,
    /// Whether the core keeps up.
    pub(crate) overload: Rc<Overload>,
    pub(crate) recorder: Option<Rc<Recorder>>,
    /// What was decided lately, if that is kept.
    pub(crate) book: Option<Rc<Book>>,
    pub(crate) layers: Rc<Layers>,
    series: Series,
}

impl Core {
    pub(crate) fn new(shared: Arc<Shared>, load: Arc<Load>) -> Self {
        let pool = Pool::new(Arc::clone(&shared.clock));
        let recorder = shared.access.as_ref().map(|log| log.recorder());
        let book = Book::new(&shared.config.decisions).map(Rc::new);
        let layers = Layers::new(&shared.layers, &shared.metrics);
        let series = Series::new();
        let overload = Rc::new(Overload::new(shared.config.shed, Arc::clone(&load)));
        Self { shared, pool, tokens: Self::no_tokens(), load, overload, recorder, book, layers, series }
    }

    /// The core under the next snapshot. Connections stay, and so do verified tokens, unless tokens are checked in another way.
    pub(crate) fn after(&self, shared: Arc<Shared>) -> Self {
        let reads_the_same = match (&shared.authentication, &self.shared.authentication) {
            (Some(new), Some(old)) => new.reads_the_same(old),
            // What is known of passwords is bound to their file.
            (None, None) => true,
            _ => false,
        };
        let tokens = if reads_the_same && shared.config.jwt == self.shared.config.jwt {
            Rc::clone(&self.tokens)
        } else {
            Self::no_tokens()
        };
        let (pool, load) = (Rc::clone(&self.pool), Arc::clone(&self.load));
        let overload = Rc::clone(&self.overload);
        overload.configure(shared.config.shed);
        let book = self.book_after(&shared);
        let (recorder, layers) = (self.recorder.clone(), Rc::clone(&self.layers));
        // Routes have other numbers now.
        let series = Series::new();
        Self { shared, pool, tokens, load, overload, recorder, book, layers, series }
    }

    /// Decisions stay, as many as there is room for.
    fn book_after(&self, shared: &Shared) -> Option<Rc<Book>> {
        let options = &shared.config.decisions;
        match &self.book {
            Some(book) if *options == self.shared.config.decisions => Some(Rc::clone(book)),
            Some(book) => book.after(options).map(Rc::new),
            None => Book::new(options).map(Rc::new),
        }
    }

    fn no_tokens() -> Rc<RefCell<TokenCache>> {
        Rc::new(RefCell::new(TokenCache::new()))
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) ip: IpAddr,
    /// Whether nobody in between can read along.
    pub(crate) is_encrypted: bool,
    /// Who it is by the certificate that it presented.
    pub(crate) certificate: Option<Rc<tls::Identity>>,
    /// What bounds its requests, one after the other.
    pub(crate) timer: Rc<Timer>,
    /// Whether a handshake was done for it, and nothing else yet.
    pub(crate) has_paid: Cell<bool>,
}

/// Answers one request. Whatever happens inside, there is an answer, and it carries ids, limits and CORS headers.
pub(crate) async fn serve(core: Rc<Core>, peer: &Peer, request: Request<Incoming>) -> Response<Delivery> {
    core.load.count_request();
    let mut trip = Trip::begin(&core.shared, peer.ip, request.method(), request.headers());
    trip.is_encrypted = peer.is_encrypted;
    trip.is_call = grpc::is_call(&request);
    trip.record(&core, Some(&request));
    match pass(&core, &mut trip, peer, request).await {
        Ok(answer) => trip.finish(&core, answer),
        Err(refusal) => trip.refuse(&core, refusal),
    }
}

/// Answers what is no request.
pub(crate) fn broken(core: &Core, peer: &Peer, rule: Rule) -> Response<Delivery> {
    core.load.count_request();
    let mut trip = Trip::begin(&core.shared, peer.ip, &Method::GET, &HeaderMap::new());
    trip.is_encrypted = peer.is_encrypted;
    trip.record(core, None);
    trip.refuse(core, parse::rule_broken(rule))
}

async fn pass(
    core: &Rc<Core>,
    trip: &mut Trip,
    peer: &Peer,
    request: Request<Incoming>,
) -> Result<Response<Download>, Refusal> {
    let shared = &*core.shared;
    let config = &shared.config;
    let (mut head, body) = request.into_parts();

    // One host. That the message has one end, whoever reads it, the codec has seen to.
    parse::host(&head)?;
    // One path is routed, authorised, limited and forwarded.
    let uri = head.uri.clone();
    let path = parse::path(&uri, config.encoded_slash)?;
    // The address is read while the headers that proxies say it in are still there.
    trip.comes_from(address::client(trip.client, &head.headers, &config.trusted_proxies));
    // Who may not come at all learns nothing more, not even whether the gateway is well.
    edge::admit(&config.addresses, trip.client)?;
    // Said about this connection, and so gone in a moment.
    trip.reads_connection(&head);
    // Nobody outside speaks for the gateway, in any spelling.
    let dropped = headers::strip_request(&mut head.headers);
    shared.metrics.headers_dropped.add(dropped as u64);
    // Health is the gateway's own; everything else is somebody's route.
    if let Some(answer) = edge::answer(shared, &head.method, &path) {
        return Ok(answer);
    }
    let route = trip.route(shared, &head, &path)?;
    edge::admit(&route.config.addresses, trip.client)?;
    // A core that does not keep up works on what matters most: what it refuses has cost it nothing but reading yet.
    shed::judge(core, trip, route, peer)?;
    // A page asks for permission: that needs no token and reaches no service.
    if let Some(answer) = trip.preflight(shared, &head) {
        return Ok(answer);
    }
    // Nor does a question that may not be passed on.
    if let Some(answer) = edge::last_stop(&mut head, route.config.methods) {
        return Ok(answer);
    }
    // A body that says it is too long is not read at all.
    parse::size(&body, route.body_bytes_max)?;
    // A connection may be switched where the route says so, by a handshake that is one.
    trip.handshake(route, &head, &body)?;
    // A route may want to know who called before it hears for whom.
    identity::certified(route, peer)?;
    // The time of the whole request starts here; every wait below ends with it.
    let deadline = trip.deadline(route, &head)?;
    // Floods end before anything is computed for them.
    trip.limit_by_address(shared)?;
    // Who is it? A good token is verified once and remembered; a revoked one is no token.
    let subject = identity::authenticate(core, route, &head, (trip.client, trip.started)).await?;
    // May they?
    trip.is_for(subject.as_deref());
    identity::authorise(route, subject.as_deref())?;
    // Each user has a share, wherever they call from.
    trip.limit_by_principal(shared, route, subject.as_deref())?;
    // Redirects and fixed answers need nobody else.
    if matches!(route.answers, Answers::Gateway) {
        return own::answer(config, route, &head, &path);
    }
    let going = Going { route, peer, head, body, path: &path, subject, deadline };
    // An operator may have something go wrong here on purpose.
    if let Some(faults) = &route.faults {
        return Box::pin(experiment::run(faults, core, trip, going)).await;
    }
    further(core, trip, going).await
}

async fn further(core: &Rc<Core>, trip: &mut Trip, going: Going<'_>) -> Result<Response<Download>, Refusal> {
    // What the program has put on the path stands around all that is still to come.
    if core.layers.is_empty() {
        onward(core, trip, going).await
    } else {
        around::layers(core, trip, going).await
    }
}

/// At which end of which connection somebody asks, and who that is.
type Asks<'a> = (&'a Peer, Option<&'a Subject>);

/// A request that may go to a service.
struct Going<'a> {
    route: &'a RouteState,
    peer: &'a Peer,
    head: Parts,
    body: Incoming,
    path: &'a str,
    subject: Option<Arc<Subject>>,
    deadline: Deadline,
}

async fn onward(core: &Rc<Core>, trip: &mut Trip, going: Going<'_>) -> Result<Response<Download>, Refusal> {
    let shared = &*core.shared;
    let Going { route, peer, mut head, body, path, subject, deadline } = going;
    // Which of its services is asked.
    let Some(service) = choose::service(shared, trip, route, (&mut head, peer), subject.as_deref()) else {
        return Err(no_route());
    };
    // A short body is read whole: it can then be sent again, and a slow client holds up nobody.
    let sending = Sending::prepare(shared, (route, service), trip, &head.headers, body, deadline).await?;
    // More than can be served in time is refused before it costs anything behind here.
    let permit = trip.shed(shared, deadline).await?;

    // What a service is told about the request, by the only one who may.
    let asks = (peer, subject.as_deref());
    let forward = Forward::new(shared, trip, (route, service), (head, path, deadline), asks)?;
    // fallback > deadline > retry > hedge > throttle > breaker > limits > attempt timeout > balance > call
    let mut answer =
        outbound::call(core, (route, service), (&forward, &sending, asks), deadline, permit, trip).await?;
    // What the configuration changes of it.
    route.config.response_headers.apply(answer.headers_mut());
    Ok(answer)
}
