//! The loop that measures every library in every case, and the allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs::File;
use std::future::Future;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::pin::{Pin, pin};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use leeward_resilience::{Clock, TokioClock};
use serde_json::json;
use tokio::runtime::Runtime;

/// One library in one case.
pub struct Subject {
    pub case: &'static str,
    pub lib: &'static str,
    /// Which clock the calls that are measured read, and how often.
    pub clock: &'static str,
    /// What is different from the others, if anything.
    pub note: &'static str,
    /// It cannot be shared by threads.
    pub one_thread: bool,
    pub measure: fn(&Run) -> Result<Sample, String>,
}

impl Subject {
    pub const fn new(
        case: &'static str,
        lib: &'static str,
        clock: &'static str,
        measure: fn(&Run) -> Result<Sample, String>,
    ) -> Self {
        Self { case, lib, clock, note: "", one_thread: false, measure }
    }

    pub const fn note(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }

    pub const fn one_thread(mut self) -> Self {
        self.one_thread = true;
        self
    }

    pub fn json(&self) -> String {
        let Self { case, lib, clock, note, one_thread, .. } = self;
        json!({ "case": case, "lib": lib, "clock": clock, "note": note, "one_thread": one_thread })
            .to_string()
    }
}

pub struct Run {
    pub threads: usize,
    pub millis: u64,
}

pub struct Sample {
    ns: f64,
    allocs: f64,
}

impl Sample {
    pub fn json(&self) -> String {
        json!({ "ns": self.ns, "allocs": self.allocs }).to_string()
    }
}

/// Calls are timed in slices of about this length: long against the clock, short against a time slice of the system.
const SLICE: Duration = Duration::from_micros(200);

/// Runs on each thread what `prepare` makes there, all at once, for the run's time. The figure is the median over the
/// slices of all threads. On a busy machine threads are held up, and hardly ever run together; what does not meet does not
/// contend. So a slice counts only if the thread did not wait for a processor, and every other thread finished one meanwhile.
pub fn measure<Op: FnMut()>(run: &Run, prepare: impl Fn() -> Op + Sync) -> Result<Sample, String> {
    let (barrier, progress) = (Barrier::new(run.threads), Progress::new(run.threads));
    let of_threads: Vec<(Vec<f64>, f64)> = std::thread::scope(|scope| {
        let of_thread = |thread| {
            let (barrier, progress, prepare) = (&barrier, &progress, &prepare);
            scope.spawn(move || {
                // Timers and the like belong to a runtime for each thread.
                let runtime = runtime();
                let _entered = runtime.enter();
                slices(prepare(), run, barrier, progress, thread)
            })
        };
        let threads: Vec<_> = (0..run.threads).map(of_thread).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a thread panicked"))
            .collect::<Result<_, _>>()
    })?;
    let mut all: Vec<f64> = of_threads.iter().flat_map(|(slices, _)| slices).copied().collect();
    all.sort_by(f64::total_cmp);
    // No figure, on a machine that is too busy for one.
    let ns = if all.len() < SLICES_MIN { f64::NAN } else { all[all.len() / 2] };
    let allocs = of_threads.iter().map(|(_, allocs)| allocs).fold(0.0, |most: f64, allocs| most.max(*allocs));
    Ok(Sample { ns, allocs })
}

/// Fewer do not make a median.
const SLICES_MIN: usize = 20;

/// So many times the run's time is waited for them.
const PATIENCE: u32 = 60;

/// The slices that each thread has finished, in lines of their own.
struct Progress {
    finished: Vec<Finished>,
    /// Those of all threads that count.
    counted: AtomicU64,
}

#[repr(align(128))]
struct Finished(AtomicU64);

impl Progress {
    fn new(threads: usize) -> Self {
        let finished = (0..threads).map(|_| Finished(AtomicU64::new(0))).collect();
        Self { finished, counted: AtomicU64::new(0) }
    }

    /// Until the time is over; on a busy machine until enough slices count, but not for ever.
    fn wanted(&self, elapsed: Duration, run: &Run) -> bool {
        let (time, enough) = (Duration::from_millis(run.millis), SLICES_MIN as u64);
        elapsed < time || (elapsed < time * PATIENCE && self.counted.load(Ordering::Relaxed) < enough)
    }

    /// Whether every thread but this one has finished a slice since, and how many each has finished now.
    fn moved(&self, thread: usize, before: &mut [u64]) -> bool {
        let mut all = true;
        for (other, finished) in self.finished.iter().enumerate() {
            let now = finished.0.load(Ordering::Relaxed);
            all &= other == thread || now > before[other];
            before[other] = now;
        }
        all
    }
}

/// How long this thread was ready to run and did not, as Linux counts it. Elsewhere nobody can tell.
struct Waits {
    file: Option<File>,
    nanos: u64,
}

impl Waits {
    fn open() -> Self {
        Self { file: File::open("/proc/thread-self/schedstat").ok(), nanos: 0 }
    }

    /// Whether it waited since it was asked last, for more than the moment that a wake-up takes.
    fn grew(&mut self) -> bool {
        let mut line = [0; 64];
        let read = self.file.as_ref().and_then(|file| file.read_at(&mut line, 0).ok()).unwrap_or(0);
        let text = std::str::from_utf8(&line[..read]).unwrap_or_default();
        let nanos = text.split(' ').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
        let before = std::mem::replace(&mut self.nanos, nanos);
        nanos - before > 5_000
    }
}

fn slices(
    mut op: impl FnMut(),
    run: &Run,
    barrier: &Barrier,
    progress: &Progress,
    thread: usize,
) -> (Vec<f64>, f64) {
    let mut slice = |calls: u64| {
        let start = Instant::now();
        (0..calls).for_each(|_| op());
        start.elapsed()
    };
    let mut calls = 16;
    while slice(calls) < SLICE {
        calls *= 2;
    }
    let mut waits = Waits::open();
    let (mut taken, mut seen) = (Vec::with_capacity(SLICES_MAX), vec![0; run.threads]);
    barrier.wait();
    let (start, before, mut made) = (Instant::now(), ALLOCATIONS.get(), 0);
    progress.moved(thread, &mut seen);
    waits.grew();
    while progress.wanted(start.elapsed(), run) && taken.len() < SLICES_MAX {
        let took = slice(calls);
        made += calls;
        progress.finished[thread].0.fetch_add(1, Ordering::Relaxed);
        let (together, held_up) = (progress.moved(thread, &mut seen), waits.grew());
        if together && !held_up {
            taken.push(took.as_nanos() as f64 / calls as f64);
            progress.counted.fetch_add(1, Ordering::Relaxed);
        }
    }
    let allocs = (ALLOCATIONS.get() - before) as f64 / made as f64;
    (taken, allocs)
}

/// A run has no more; the memory is there before it starts.
const SLICES_MAX: usize = 100_000;

/// The answer of a future that is ready at once.
pub fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it is not ready at once"),
    }
}

/// The answer of a future that may find an async lock taken: it is asked again and again, which costs less than being woken.
pub fn asked<F: Future>(future: F) -> F::Output {
    let (mut future, mut context) = (pin!(future), Context::from_waker(Waker::noop()));
    // Bounded by the other thread, which gives the lock back or is let run to do so.
    for asked in 1_u32.. {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        if asked.is_multiple_of(1_000) {
            std::thread::yield_now();
        }
    }
    unreachable!("nobody asks four billion times")
}

/// The answer of a future that is suspended.
pub fn resumed<F: Future>(future: F) -> F::Output {
    let (mut future, mut context) = (pin!(future), Context::from_waker(Waker::noop()));
    assert!(future.as_mut().poll(&mut context).is_pending(), "it is not suspended");
    asked(future)
}

/// Pending the first time.
#[derive(Default)]
pub struct Suspend {
    was: bool,
}

impl Future for Suspend {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.was, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// What a proof says when it fails.
pub fn expect(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("it does not do its work: {what}")) }
}

/// Runs a proof with a runtime that it may use.
pub fn proven(proof: impl FnOnce(&Runtime) -> Result<(), String>) -> Result<(), String> {
    let runtime = runtime();
    let _entered = runtime.enter();
    proof(&runtime)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime can be built")
}

/// What a clock read alone costs.
pub fn subjects() -> Vec<Subject> {
    vec![
        Subject::new("clock_read", "std", "std once", |run| {
            measure(run, || {
                || {
                    black_box(Instant::now());
                }
            })
        }),
        Subject::new("clock_read", "leeward", "std once", |run| {
            let clock: std::sync::Arc<dyn Clock> = std::sync::Arc::new(TokioClock);
            measure(run, || {
                || {
                    black_box(clock.now());
                }
            })
        }),
    ]
}

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

// SAFETY: every call is passed on to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
