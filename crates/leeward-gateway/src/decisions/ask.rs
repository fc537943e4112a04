//! How the admin API asks the cores.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};

use super::record::Decision;

/// Questions that wait at a core: operators ask one at a time.
const QUESTIONS_MAX: usize = 16;
/// A core that does not answer in this time is busy with something else, or gone.
const WITHIN: Duration = Duration::from_secs(1);

/// Which decisions are wanted. What is not said takes all.
#[derive(Clone, Default, Debug)]
pub(crate) struct Filter {
    pub(crate) request_id: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) route: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) limit: usize,
}

impl Filter {
    pub(super) fn takes(&self, one: &Decision) -> bool {
        let is = |wanted: &Option<String>, given: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| given == Some(wanted))
        };
        is(&self.request_id, Some(one.request_id.as_str()))
            && is(&self.code, one.refused.as_ref().map(|refused| refused.code))
            && is(&self.route, one.route.as_deref())
            && is(&self.service, one.service.as_deref())
    }
}

/// A question on its way to a core.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) filter: Filter,
    pub(crate) answer: oneshot::Sender<Vec<Decision>>,
}

/// The core's end.
pub(crate) type Asked = mpsc::Receiver<Question>;

/// Asks all cores.
#[derive(Clone, Debug)]
pub(crate) struct Asking(Vec<mpsc::Sender<Question>>);

/// What the cores said.
#[derive(Debug)]
pub(crate) struct Found {
    /// Newest first.
    pub(crate) decisions: Vec<Decision>,
    /// Cores that did not answer.
    pub(crate) silent: usize,
}

/// For so many cores.
pub(crate) fn channels(cores: usize) -> (Asking, Vec<Asked>) {
    let (senders, receivers) = (0..cores).map(|_| mpsc::channel(QUESTIONS_MAX)).unzip();
    (Asking(senders), receivers)
}

impl Asking {
    pub(crate) async fn find(&self, filter: &Filter) -> Found {
        let answers = join_all(self.0.iter().map(|core| ask(core, filter.clone()))).await;
        let silent = answers.iter().filter(|answer| answer.is_none()).count();
        let mut decisions: Vec<Decision> = answers.into_iter().flatten().flatten().collect();
        decisions.sort_by_key(|one| std::cmp::Reverse(one.unix_ms));
        decisions.truncate(filter.limit);
        Found { decisions, silent }
    }
}

async fn ask(core: &mpsc::Sender<Question>, filter: Filter) -> Option<Vec<Decision>> {
    let (answer, answered) = oneshot::channel();
    core.try_send(Question { filter, answer }).ok()?;
    tokio::time::timeout(WITHIN, answered).await.ok()?.ok()
}
