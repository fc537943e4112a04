//! What stands around the attempts: kept answers, and substitutes.

use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use super::{Attempt, Call, Pipeline};
use crate::cache::{AnswerCache, Cached, Store};
use crate::config::ConfigErrors;
use crate::fallback::{Answer, Cause};
use crate::outcome::{Class, Error};

impl Pipeline {
    /// A cache over `store` with the pipeline's cache options, for answers of one type: for
    /// [`call_cached`](Self::call_cached). `None` when the pipeline has none. It is a cache of its own each time: keep it.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn cache<K, V, E, S>(&self, store: S) -> Result<Option<AnswerCache<K, V, E, S>>, ConfigErrors>
    where
        K: Hash + Eq + Clone,
        V: Clone,
        E: Clone,
        S: Store<K, V>,
    {
        let around = &self.shared.around;
        let config = self.shared.parts.load().options.cache.clone();
        let make = |config| {
            let (clock, rng) = (Arc::clone(&around.clock), Arc::clone(&around.rng));
            AnswerCache::with(Arc::clone(&around.name), config, store, clock, rng, around.observer.clone())
        };
        config.map(make).transpose()
    }

    /// The answer for `key` out of `cache`, or by a [`call`](Self::call) that all who ask for it share.
    ///
    /// # Errors
    /// As [`call`](Self::call), also when another caller made it, and what [`AnswerCache::get`] adds.
    ///
    /// # Cancel safety
    /// As [`AnswerCache::get`].
    pub async fn call_cached<K, T, E, S, F, Fut, C>(
        &self,
        cache: &AnswerCache<K, T, E, S>,
        key: &K,
        call: Call,
        send: F,
        classify: C,
    ) -> Result<Cached<T>, Error<E>>
    where
        K: Hash + Eq + Clone,
        T: Clone,
        E: Clone,
        S: Store<K, T>,
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        C: Fn(&Result<T, E>) -> Class,
    {
        cache.get(key, || self.call(call, send, &classify), &classify).await
    }

    /// A [`call`](Self::call), or what `substitute` gives in its place when it ends for a cause that the pipeline's fallback
    /// covers. Without a fallback among the options nothing is substituted.
    ///
    /// # Errors
    /// As [`call`](Self::call); the call's own also when the substitute fails or takes too long.
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn call_or<T, E, Other, F, Fut, C, S, SubFut>(
        &self,
        call: Call,
        send: F,
        classify: C,
        substitute: S,
    ) -> Result<Answer<T>, Error<E>>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        C: Fn(&Result<T, E>) -> Class,
        S: FnOnce(Cause) -> SubFut,
        SubFut: Future<Output = Result<T, Other>>,
    {
        self.or(self.call(call, send, &classify), &classify, substitute).await
    }

    /// What `substitute` gives in the place of `work`, which went through this pipeline, when that ends for a cause that the
    /// fallback covers: for whatever else stands between the fallback and the call, such as
    /// [`call_cached`](Self::call_cached).
    ///
    /// # Errors
    /// As [`call_or`](Self::call_or).
    ///
    /// # Cancel safety
    /// As that of `work`.
    pub async fn or<T, E, Other, C, S, SubFut>(
        &self,
        work: impl Future<Output = Result<T, Error<E>>>,
        classify: C,
        substitute: S,
    ) -> Result<Answer<T>, Error<E>>
    where
        C: Fn(&Result<T, E>) -> Class,
        S: FnOnce(Cause) -> SubFut,
        SubFut: Future<Output = Result<T, Other>>,
    {
        let fallback = self.shared.parts.load().fallback.clone();
        match fallback {
            Some(fallback) => fallback.or_call(work, classify, substitute).await,
            None => work.await.map(Answer::Real),
        }
    }
}
