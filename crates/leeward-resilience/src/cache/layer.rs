//! The cache as a tower layer.

use std::fmt;
use std::hash::Hash;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::{AnswerCache, Cached, MemoryStore, Source, Store};
use crate::layer::{BoxFuture, take_ready};
use crate::outcome::{Class, Error};

/// Puts an [`AnswerCache`] around a service. Every service that the layer makes shares it. Its answers say where they
/// come from: see [`Cached`]. It costs one boxed future a call.
pub struct CacheLayer<K, V, E, C, Key, S = MemoryStore<K, V>> {
    cache: AnswerCache<K, V, E, S>,
    classify: C,
    key_of: Key,
}

impl<K, V, E, C, Key, S> CacheLayer<K, V, E, C, Key, S> {
    /// `classify` is a `Fn(&Result<V, E>) -> Class` for a service whose answer is a `V` and whose error an [`Error<E>`].
    /// `key_of` is a `Fn(&Request) -> Option<K>`; a request without a key passes by the cache.
    #[must_use]
    pub const fn new(cache: AnswerCache<K, V, E, S>, classify: C, key_of: Key) -> Self {
        Self { cache, classify, key_of }
    }
}

impl<K, V, E, C: Clone, Key: Clone, S> Clone for CacheLayer<K, V, E, C, Key, S> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), classify: self.classify.clone(), key_of: self.key_of.clone() }
    }
}

impl<K, V, E, C, Key, S: fmt::Debug> fmt::Debug for CacheLayer<K, V, E, C, Key, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheLayer").field("cache", &self.cache).finish_non_exhaustive()
    }
}

impl<I, K, V, E, C: Clone, Key: Clone, S> Layer<I> for CacheLayer<K, V, E, C, Key, S> {
    type Service = CacheService<I, K, V, E, C, Key, S>;

    fn layer(&self, inner: I) -> Self::Service {
        CacheService { inner, layer: self.clone() }
    }
}

/// A service behind an [`AnswerCache`].
pub struct CacheService<I, K, V, E, C, Key, S = MemoryStore<K, V>> {
    inner: I,
    layer: CacheLayer<K, V, E, C, Key, S>,
}

impl<I: Clone, K, V, E, C: Clone, Key: Clone, S> Clone for CacheService<I, K, V, E, C, Key, S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<I: fmt::Debug, K, V, E, C, Key, S: fmt::Debug> fmt::Debug for CacheService<I, K, V, E, C, Key, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheService").field("inner", &self.inner).field("layer", &self.layer).finish()
    }
}

impl<I, K, V, E, C, Key, S, Request> Service<Request> for CacheService<I, K, V, E, C, Key, S>
where
    I: Service<Request, Response = V, Error = Error<E>> + Clone + Send + 'static,
    I::Future: Send,
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Clone + Send + Sync + 'static,
    C: Fn(&Result<V, E>) -> Class + Clone + Send + 'static,
    Key: Fn(&Request) -> Option<K>,
    S: Store<K, V>,
    Request: Send + 'static,
{
    type Response = Cached<V>;
    type Error = Error<E>;
    type Future = BoxFuture<Result<Cached<V>, Error<E>>>;

    /// Ready when the inner service is. That is more than a hit needs, but a miss must find it ready.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let key = (self.layer.key_of)(&request);
        let mut ready = take_ready(&mut self.inner);
        let (cache, classify) = (self.layer.cache.clone(), self.layer.classify.clone());
        Box::pin(async move {
            match key {
                Some(key) => cache.get(&key, || ready.call(request), classify).await,
                None => ready.call(request).await.map(|value| Cached { value, source: Source::Loaded }),
            }
        })
    }
}
