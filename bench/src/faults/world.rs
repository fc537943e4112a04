//! The gateway with a few lines of configuration, and services behind it, as processes of their own.

use std::cell::RefCell;
use std::io::{BufRead, BufReader as StdReader};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::upstream::Shape;
use crate::http::Http;
use crate::process::{Cpu, Memory, memory};

/// A debug build on a busy machine takes a tenth.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A process that ends with this value.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _status = self.0.wait();
    }
}

/// A service.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    control: RefCell<Option<BufReader<TcpStream>>>,
    _process: Process,
}

impl Upstream {
    pub(super) async fn start(shape: Shape) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let child = Command::new(program)
            .arg("fault-upstream")
            .arg(shape.line().trim_end())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let mut process = Process(child.map_err(|error| format!("the service: {error}"))?);
        let mut line = String::new();
        let output = process.0.stdout.take().ok_or("no output")?;
        StdReader::new(output).read_line(&mut line).map_err(|error| error.to_string())?;
        let mut addresses = line.split_whitespace().map(str::parse::<SocketAddr>);
        let (Some(Ok(address)), Some(Ok(control))) = (addresses.next(), addresses.next()) else {
            return Err(format!("the service said `{line}`"));
        };
        let control = TcpStream::connect(control).await.map_err(|error| error.to_string())?;
        control.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(Self { address, control: RefCell::new(Some(BufReader::new(control))), _process: process })
    }

    /// Gives it another shape; says how many requests came to it so far.
    pub(super) async fn set(&self, shape: Shape) -> Result<u64, String> {
        let mut control = self.control.take().ok_or("the service is being told something else")?;
        let text = |error: std::io::Error| format!("the service: {error}");
        control.write_all(shape.line().as_bytes()).await.map_err(text)?;
        let mut line = String::new();
        control.read_line(&mut line).await.map_err(text)?;
        *self.control.borrow_mut() = Some(control);
        line.trim().parse().map_err(|_| format!("the service said `{line}`"))
    }
}

/// The gateway.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) address: SocketAddr,
    pub(super) admin: SocketAddr,
    process: Process,
    _folder: TempDir,
}

impl Gateway {
    /// Starts `binary` with the addresses, that no limit by address holds, since the whole load comes from one, and `rest`.
    pub(super) async fn start(binary: &Path, rest: &str) -> Result<Self, String> {
        Self::start_at(binary, |address| format!("listen: {address}\n{rest}")).await
    }

    /// The same with everything but the operators' side and that limit as `config` says; whether it is ready it has to say there.
    pub(super) async fn start_at(
        binary: &Path,
        config: impl FnOnce(SocketAddr) -> String,
    ) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let [address, admin] = [free()?, free()?];
        let text =
            format!("admin: {{listen: \"{admin}\"}}\nrate_limits: {{address: off}}\n{}", config(address));
        let config = folder.path().join("leeward.yaml");
        std::fs::write(&config, text).map_err(|error| error.to_string())?;
        let said: PathBuf = folder.path().join("output");
        let output = std::fs::File::create(&said).map_err(|error| error.to_string())?;
        let both = output.try_clone().map_err(|error| error.to_string())?;
        let mut command = Command::new(binary);
        command.arg("gateway").arg(&config).arg("--data").arg(folder.path().join("data"));
        command.stdin(Stdio::null()).stdout(output).stderr(both);
        let child = command.spawn().map_err(|error| format!("{}: {error}", binary.display()))?;
        let mut gateway = Self { address, admin, process: Process(child), _folder: folder };
        gateway.wait(&said).await?;
        Ok(gateway)
    }

    async fn wait(&mut self, said: &Path) -> Result<(), String> {
        let until = Instant::now() + READY_WITHIN;
        let http = Http::new(self.admin)?;
        while Instant::now() < until {
            if self.process.0.try_wait().map_err(|error| error.to_string())?.is_some() {
                break;
            }
            if http.get("/health/ready").await.is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(format!("the gateway is not ready: {}", std::fs::read_to_string(said).unwrap_or_default()))
    }

    /// CPU time of it and of this process.
    pub(super) fn cpu(&self) -> Result<Cpu, String> {
        Cpu::now(self.process.0.id())
    }

    pub(super) fn memory(&self) -> Result<Memory, String> {
        memory(self.process.0.id())
    }
}

fn free() -> Result<SocketAddr, String> {
    let listener = StdListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map_err(|error| error.to_string())
}
