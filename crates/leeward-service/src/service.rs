//! A service put together: its routes, its background work, and how it starts and stops.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::routing::any;
use leeward_events::Relay;
use leeward_events::metrics::RelayMetrics;
use leeward_runtime::{Stage, Stop};
use leeward_saga::Sagas;
use leeward_store::{Db, Kind};
use tokio::net::TcpListener;

use crate::access::Access;
use crate::api::{Api, RouteInfo, RouteOptions};
use crate::builtin::{self, Host};
use crate::consumer::{ConsumerSource, IntoConsumer};
use crate::health::{self, Check, Workers};
use crate::inbound::{self, Spec};
use crate::kit::{BuildError, Kit};
use crate::operator::projections::{Projections, Rebuild};
use crate::problem::Problem;
use crate::serve;
use crate::worker::{End, Keeper, Worker};

/// Puts a service together. `S` is the state that its handlers still wait for.
#[must_use = "a builder does nothing until it is built"]
pub struct Builder<S = ()> {
    kit: Kit,
    api: Api<S>,
    jobs: Vec<Worker>,
    /// The groups of its consumers.
    groups: Vec<Arc<str>>,
    sagas: Option<Sagas>,
    workers: Workers,
    projections: Projections,
    mistake: Option<BuildError>,
}

/// A service that is ready to be served.
#[must_use = "a service does nothing until it is served"]
pub struct Service {
    kit: Kit,
    router: axum::Router,
    routes: Vec<RouteInfo>,
    jobs: Vec<Worker>,
    workers: Workers,
}

impl Service {
    /// Begins a service with what its host gave it.
    pub fn builder(kit: Kit) -> Builder {
        let workers = Workers::default();
        kit.health.add(workers.check());
        Builder {
            kit,
            api: Api::new(),
            jobs: Vec::new(),
            groups: Vec::new(),
            sagas: None,
            workers,
            projections: Projections::new(),
            mistake: None,
        }
    }

    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.kit.name
    }

    /// What it was built with.
    #[must_use]
    pub fn kit(&self) -> &Kit {
        &self.kit
    }

    /// Every (method, path, access) it answers to, the kit's own among them.
    #[must_use]
    pub fn routes(&self) -> &[RouteInfo] {
        &self.routes
    }

    /// Its routes without a socket, each behind the inbound stack.
    pub fn router(&self) -> axum::Router {
        self.router.clone()
    }

    /// Starts everything: background work, health checks, and the listener, all owned by the kit's tasks. The checks
    /// that gate readiness have run once when this returns, so that the first probe gets a true answer.
    ///
    /// It stops with the tasks: first nothing new is accepted and the service says that it is not ready, then the requests
    /// at work are finished, then background work rests, then the database closes.
    ///
    /// # Errors
    /// When the listener has no address.
    pub async fn serve(self, listener: TcpListener) -> std::io::Result<SocketAddr> {
        let address = listener.local_addr()?;
        let Kit { tasks, health, rng, .. } = self.kit;
        for worker in self.jobs {
            let (workers, health, rng) = (self.workers.clone(), health.clone(), Arc::clone(&rng));
            let (name, keeper) = (worker.name().clone(), Keeper { workers, health, rng });
            tasks.spawn(Stage::Work, name, move |stop| worker.keep(keeper, stop));
        }
        health.run_gating().await;
        health.start(&tasks);
        let (router, owner) = (self.router, tasks.clone());
        tasks.spawn_critical(Stage::Edge, "http.accept", move |stop| async move {
            serve::accept(listener, router, owner, stop).await;
            health.close("stopping");
        });
        Ok(address)
    }
}

impl<S: Clone + Send + Sync + 'static> Builder<S> {
    /// The service's own routes. Their handlers' state follows by [`Builder::state`], unless it is `()`.
    pub fn api<T: Clone + Send + Sync + 'static>(self, api: Api<T>) -> Builder<T> {
        let Self { kit, jobs, groups, sagas, workers, projections, mistake, .. } = self;
        Builder { kit, api, jobs, groups, sagas, workers, projections, mistake }
    }

    /// The state of the handlers.
    pub fn state(self, state: S) -> Builder<()> {
        let Self { kit, api, jobs, groups, sagas, workers, projections, mistake } = self;
        Builder { kit, api: api.with_state(state), jobs, groups, sagas, workers, projections, mistake }
    }

    /// Handles events for as long as the service runs. After a panic it is made again, where it comes as a builder.
    pub fn consumer(mut self, consumer: impl IntoConsumer) -> Self {
        match consumer.into_consumer() {
            Ok(ConsumerSource { group, mut make }) => {
                self.groups.push(Arc::clone(&group));
                self.jobs.push(Worker::new(format!("events.{group}"), move |stop| {
                    make().map(|consumer| async move {
                        match consumer.run(stop).await {
                            Ok(()) => End::early(),
                            // By its contract: another has the group, or what it stands on is closed.
                            Err(error) => End::Final(error.to_string()),
                        }
                    })
                }));
            }
            Err(mistake) => {
                self.mistake.get_or_insert(mistake);
            }
        }
        self
    }

    /// Runs the service's sagas, and shows them to operators.
    pub fn sagas(mut self, sagas: Sagas) -> Self {
        self.sagas = Some(sagas.clone());
        // A new engine takes the lease with a new epoch: to it, what the one before was at is in doubt, as after a crash.
        self.jobs.push(Worker::new("sagas", move |stop| {
            let sagas = sagas.clone();
            Some(async move {
                match sagas.run(stop).await {
                    Ok(()) => End::early(),
                    Err(leeward_saga::Error::TakenOver) => End::Final("another engine has them".to_owned()),
                    Err(leeward_saga::Error::Store(error)) if error.kind() == Kind::Closed => {
                        End::Final(error.to_string())
                    }
                    Err(error) => End::Early(error.to_string()),
                }
            })
        }));
        self
    }

    /// A read model that operators can have rebuilt from its owner's log. What `rebuild` returns is shown to them.
    pub fn projection<F, Fut>(mut self, name: impl Into<String>, rebuild: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<serde_json::Value, Problem>> + Send + 'static,
    {
        self.projections.insert(name.into(), Rebuild::new(rebuild));
        self
    }

    /// Work of its own that runs until it is told to stop. If it ends before, the health shows it; it is not made again.
    pub fn task<F, Fut>(mut self, name: impl Into<Cow<'static, str>>, work: F) -> Self
    where
        F: FnOnce(Stop) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.jobs.push(Worker::once(name.into(), work));
        self
    }

    /// A check of its own, beside those of database, bus, disk and memory.
    pub fn health(self, check: Check) -> Self {
        self.kit.health.add(check);
        self
    }
}

impl Builder<()> {
    /// The service.
    ///
    /// # Errors
    /// The first mistake in what it was built of.
    pub fn build(self) -> Result<Service, BuildError> {
        let Self { kit, api, mut jobs, groups, sagas, workers, projections, mistake } = self;
        mistake.map_or(Ok(()), Err)?;
        if let Some(db) = kit.opened_db() {
            jobs.push(relay(&kit, db.clone()));
            if !groups.is_empty() {
                let (bus, clock) = (kit.bus.clone(), Arc::clone(&kit.clock));
                kit.health.add(health::consumers(db.clone(), bus, groups, clock));
            }
        }
        let host = Host::new(kit.clone(), sagas, projections);
        let api = api.merge(builtin::api().with_state(host.clone()));
        api.check()?;
        host.publish(&api.document(&kit.name));
        let stack = Arc::new(kit.stack()?);
        let routes = api.routes();
        let unmatched = Spec { path: "unmatched", access: Access::Anyone, options: RouteOptions::ESSENTIAL };
        let not_found = any(builtin::not_found).layer(inbound::layer(&stack, unmatched));
        let router = api.into_router(&stack).fallback_service(not_found);
        Ok(Service { kit, router, routes, jobs, workers })
    }
}

/// What the service appends to its outbox leaves by this. Made again, it goes on at its mark.
fn relay(kit: &Kit, db: Db) -> Worker {
    let metrics = RelayMetrics::new(&kit.registry, &kit.outbox);
    let (outbox, bus) = (kit.outbox.clone(), kit.bus.clone());
    Worker::new("events.relay", move |stop| {
        let relay = Relay::new(db.clone(), outbox.clone(), bus.clone()).metrics(metrics.clone());
        Some(async move {
            relay.run(stop).await;
            End::early()
        })
    })
}

impl<S> std::fmt::Debug for Builder<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("service", &self.kit.name).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("name", &self.kit.name)
            .field("routes", &self.routes.len())
            .finish_non_exhaustive()
    }
}
