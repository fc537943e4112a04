//! A service whose capacity is known, as a process of its own: so many workers, so long for a request, and a queue of
//! bounded length before them. What it is can be changed while it runs, over a control connection: a line of
//! `workers=N service_us=N backlog=N mode=WORD`, answered with a line that says how many requests came so far.
//!
//! It works on what it has taken, also when whoever asked has left: as most services do.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinSet, LocalSet, spawn_local};
use tokio::time::Instant;

/// Longest head of a request that it reads.
const HEAD_BYTES_MAX: usize = 16 * 1024;

const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok";
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\nfull";
const FAILED: &[u8] =
    b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain\r\ncontent-length: 6\r\n\r\nfailed";

/// What it does with requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// Works on them.
    Works,
    /// Takes no connection, and closes those that are open.
    Refuses,
    /// Takes them and never answers.
    Hangs,
    /// Answers each with an error at once.
    Fails,
    /// Answers every other one with an error at once.
    FailsHalf,
}

impl Mode {
    const NAMES: [(Self, &str); 5] = [
        (Self::Works, "works"),
        (Self::Refuses, "refuses"),
        (Self::Hangs, "hangs"),
        (Self::Fails, "fails"),
        (Self::FailsHalf, "fails-half"),
    ];

    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(mode, _)| *mode == self).map_or("works", |(_, name)| name)
    }
}

/// What it is at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    pub(super) workers: usize,
    /// How long a request takes one of them, a tenth up or down.
    pub(super) service: Duration,
    /// Requests that wait for a worker; one more is refused with 503.
    pub(super) backlog: usize,
    pub(super) mode: Mode,
}

impl Shape {
    /// Requests a second.
    pub(super) fn capacity(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a few hundred workers")]
        let workers = self.workers as f64;
        workers / self.service.as_secs_f64()
    }

    pub(super) fn line(&self) -> String {
        let Self { workers, service, backlog, mode } = self;
        format!(
            "workers={workers} service_us={} backlog={backlog} mode={}\n",
            service.as_micros(),
            mode.name()
        )
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let word = |name: &str| {
            let found = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            found.ok_or(format!("`{name}=` is missing in `{line}`"))
        };
        let number = |name: &str| word(name)?.parse::<u32>().map_err(|error| format!("{name}: {error}"));
        let mode = word("mode")?;
        let known = Mode::NAMES.iter().find(|(_, name)| *name == mode);
        Ok(Self {
            workers: number("workers")? as usize,
            service: Duration::from_micros(number("service_us")?.into()),
            backlog: number("backlog")? as usize,
            mode: known.ok_or(format!("`{mode}` is no mode"))?.0,
        })
    }
}

/// What the process is started with.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// As over the control connection.
    shape: String,
}

/// Runs the service until its control connection ends. It prints both its addresses.
///
/// # Errors
/// When it cannot listen.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let shape = arguments.shape.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    LocalSet::new().block_on(&runtime, serve(shape)).map_err(|error| error.to_string())
}

async fn serve(shape: Shape) -> std::io::Result<()> {
    let control = TcpListener::bind("127.0.0.1:0").await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    println!("{address} {}", control.local_addr()?);
    std::io::stdout().flush()?;
    let work = Rc::new(Work::new(shape));
    let mut accepting = Some(accept(listener, Rc::clone(&work)));
    let (stream, _) = control.accept().await?;
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    while lines.read_line(&mut line).await? > 0 {
        let shape: Shape = line.parse().map_err(std::io::Error::other)?;
        work.shape.set(shape);
        match (&accepting, shape.mode) {
            (Some(task), Mode::Refuses) => {
                task.abort();
                accepting = None;
            }
            (None, mode) if mode != Mode::Refuses => {
                accepting = Some(accept(again(address).await?, Rc::clone(&work)));
            }
            _ => {}
        }
        work.dispatch(Instant::now());
        lines.write_all(format!("{}\n", work.received.get()).as_bytes()).await?;
        line.clear();
    }
    Ok(())
}

/// Listens where it did; what is left of the old listener may take a moment to go.
async fn again(address: SocketAddr) -> std::io::Result<TcpListener> {
    const TRIES: u32 = 100;
    for _ in 0..TRIES {
        if let Ok(listener) = TcpListener::bind(address).await {
            return Ok(listener);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    TcpListener::bind(address).await
}

/// Takes connections; they end with the task.
fn accept(listener: TcpListener, work: Rc<Work>) -> tokio::task::JoinHandle<()> {
    spawn_local(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    let work = Rc::clone(&work);
                    connections.spawn_local(async move {
                        let _ended = connection(stream, &work).await;
                    });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    })
}

async fn connection(mut stream: TcpStream, work: &Rc<Work>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::with_capacity(1_024);
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() > HEAD_BYTES_MAX || stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        head.clear();
        stream.write_all(work.answer().await).await?;
    }
}

/// The workers and the queue before them.
struct Work {
    shape: Cell<Shape>,
    received: Cell<u64>,
    busy: Cell<usize>,
    waiting: RefCell<VecDeque<(Instant, oneshot::Sender<()>)>>,
}

impl Work {
    fn new(shape: Shape) -> Self {
        let waiting = RefCell::default();
        Self { shape: Cell::new(shape), received: Cell::new(0), busy: Cell::new(0), waiting }
    }

    async fn answer(self: &Rc<Self>) -> &'static [u8] {
        let number = self.received.get();
        self.received.set(number + 1);
        match self.shape.get().mode {
            Mode::Hangs => std::future::pending().await,
            Mode::Fails => return FAILED,
            Mode::FailsHalf if number.is_multiple_of(2) => return FAILED,
            Mode::FailsHalf | Mode::Works | Mode::Refuses => {}
        }
        if self.waiting.borrow().len() >= self.shape.get().backlog {
            return FULL;
        }
        let (done, is_done) = oneshot::channel();
        let now = Instant::now();
        self.waiting.borrow_mut().push_back((now, done));
        self.dispatch(now);
        let _done = is_done.await;
        GOOD
    }

    /// Gives work to whoever is free since `since`: a timer that fires late takes nothing from the capacity.
    fn dispatch(self: &Rc<Self>, since: Instant) {
        let Shape { workers, service, .. } = self.shape.get();
        while self.busy.get() < workers {
            let Some((arrived, done)) = self.waiting.borrow_mut().pop_front() else { return };
            self.busy.set(self.busy.get() + 1);
            let end = since.max(arrived) + service.mul_f64(0.9 + 0.2 * fastrand::f64());
            let work = Rc::clone(self);
            spawn_local(async move {
                tokio::time::sleep_until(end).await;
                let _whoever_asked_left = done.send(());
                work.busy.set(work.busy.get() - 1);
                work.dispatch(end);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_shape_is_read_as_it_is_written() {
        for (mode, _) in Mode::NAMES {
            let shape = Shape { workers: 4, service: Duration::from_micros(20_500), backlog: 7, mode };
            assert_eq!(shape.line().parse::<Shape>().unwrap(), shape);
        }
        assert!("workers=1".parse::<Shape>().is_err());
    }
}
