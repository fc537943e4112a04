//! One call and its hedges.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Sleep;

use super::{Due, Hedge, Shared};
use crate::outcome::Class;
use crate::pipeline::Call;
use crate::time::Instant;

pub(super) async fn run<T, E, F, Fut, C>(
    shared: &Shared,
    may: impl Fn(Instant) -> bool,
    call: Call,
    started: Instant,
    mut send: F,
    classify: C,
) -> Result<T, E>
where
    F: FnMut(u32) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    C: Fn(&Result<T, E>) -> Class,
{
    // The same options until its end, whatever comes into force meanwhile.
    let live = shared.live.keep();
    let options = &live.options;
    let delay = shared.delay(options, started);
    let mut sample = Sample { shared, options, started, delay, ended: false };
    let mut first = pin!(send(0));
    let mut first_answer = None;
    // Bounded by `max_hedges`, and nothing is allocated before the first of them.
    let mut hedges: Vec<Pin<Box<Fut>>> = Vec::new();
    let mut timer = pin!(Timer { due: options.due(0, call, delay, started), sleep: None });
    let mut sent = 0_u32;
    poll_fn(|cx| {
        loop {
            if first_answer.is_none()
                && let Poll::Ready(answer) = first.as_mut().poll(cx)
            {
                let good = classify(&answer) == Class::Success;
                sample.end(good);
                if good || hedges.is_empty() {
                    return Poll::Ready(answer);
                }
                first_answer = Some(answer);
                timer.as_mut().off();
            }
            let mut index = 0;
            while let Some(hedge) = hedges.get_mut(index) {
                match hedge.as_mut().poll(cx) {
                    Poll::Ready(answer) if classify(&answer) == Class::Success => {
                        shared.win();
                        return Poll::Ready(answer);
                    }
                    Poll::Ready(_) => {
                        drop(hedges.swap_remove(index));
                        timer.as_mut().off();
                    }
                    Poll::Pending => index += 1,
                }
            }
            if hedges.is_empty()
                && let Some(answer) = first_answer.take()
            {
                return Poll::Ready(answer);
            }
            ready!(timer.as_mut().poll(cx, shared.clock.now()));
            let now = shared.clock.now();
            // A timer may be late: what would have fitted before the deadline when it was set need not fit now.
            if !options.fits(call.deadline, now) || !may(now) {
                timer.as_mut().off();
                continue;
            }
            let due = shared.decide(options, sent + 1, delay, now);
            if due == Due::Refused {
                timer.as_mut().off();
                continue;
            }
            sent += 1;
            if due == Due::Send {
                hedges.push(Box::pin(send(sent)));
            }
            timer.as_mut().at(options.due(sent, call, delay, now));
        }
    })
    .await
}

pin_project_lite::pin_project! {
    /// When the next hedge is sent. Armed only once there is something to wait for.
    struct Timer {
        due: Option<Instant>,
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl Timer {
    fn off(self: Pin<&mut Self>) {
        self.at(None);
    }

    fn at(self: Pin<&mut Self>, due: Option<Instant>) {
        let mut this = self.project();
        *this.due = due;
        this.sleep.set(None);
    }

    /// Ready when the next hedge is due; never when there is none.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let mut this = self.project();
        let Some(due) = *this.due else { return Poll::Pending };
        if this.sleep.is_none() {
            this.sleep.set(Some(tokio::time::sleep(due.saturating_duration_since(now))));
        }
        match this.sleep.as_pin_mut() {
            Some(sleep) => sleep.poll(cx),
            None => Poll::Pending,
        }
    }
}

/// The latency of the first attempt, recorded once.
struct Sample<'a> {
    shared: &'a Shared,
    options: &'a Hedge,
    started: Instant,
    delay: Duration,
    ended: bool,
}

impl Sample<'_> {
    fn end(&mut self, good: bool) {
        self.ended = true;
        if good {
            let now = self.shared.clock.now();
            self.shared.record(self.options, now.saturating_duration_since(self.started), now);
        }
    }
}

impl Drop for Sample<'_> {
    /// The attempt lost, or its call was dropped: all that is known is that it takes longer than so.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let now = self.shared.clock.now();
        let lasted = now.saturating_duration_since(self.started);
        if lasted > self.delay {
            self.shared.record(self.options, lasted, now);
        }
    }
}
