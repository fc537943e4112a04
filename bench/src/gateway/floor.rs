//! The floor: the least that a forwarding process of this kind costs. It reads a message's head for its framing, copies
//! its bytes, and keeps connections to the service; it checks, adds and decides nothing. One thread, a process of its own.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Where the floor listens and where it forwards to.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where it listens.
    listen: SocketAddr,
    /// Where it forwards to.
    upstream: SocketAddr,
}

/// Bytes read at a time.
const BUFFER_BYTES: usize = 16 * 1024;

/// Most header lines of a message.
const HEADERS_MAX: usize = 64;

/// Idle connections to the service.
type Idle = Rc<RefCell<Vec<TcpStream>>>;

/// Forwards until it is killed.
///
/// # Errors
/// When it cannot listen.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    // It ends with the benchmark, however that ends.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    tokio::task::LocalSet::new().block_on(&runtime, listen(arguments)).map_err(|error| error.to_string())
}

async fn listen(arguments: &Arguments) -> std::io::Result<()> {
    let listener = TcpListener::bind(arguments.listen).await?;
    let (idle, upstream) = (Idle::default(), arguments.upstream);
    loop {
        let (client, _) = listener.accept().await?;
        client.set_nodelay(true)?;
        let idle = Rc::clone(&idle);
        tokio::task::spawn_local(async move {
            let _closed_by_either_side = serve(client, upstream, &idle).await;
        });
    }
}

async fn serve(mut client: TcpStream, upstream: SocketAddr, idle: &Idle) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let Some(read) = head(&mut client, &mut buffer, request).await? else { return Ok(()) };
        let kept = idle.borrow_mut().pop();
        let mut service = match kept {
            Some(service) => service,
            None => connect(upstream).await?,
        };
        copy(&mut client, &mut service, &mut buffer, read).await?;
        let read =
            head(&mut service, &mut buffer, response).await?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        copy(&mut service, &mut client, &mut buffer, read).await?;
        idle.borrow_mut().push(service);
    }
}

async fn connect(upstream: SocketAddr) -> std::io::Result<TcpStream> {
    let service = TcpStream::connect(upstream).await?;
    service.set_nodelay(true)?;
    Ok(service)
}

/// What is in the buffer, and what of the message is still to come.
#[derive(Clone, Copy, Debug)]
struct Begun {
    filled: usize,
    left: usize,
}

/// Reads until a head is complete; none when the connection ended before one began.
async fn head(
    from: &mut TcpStream,
    buffer: &mut [u8],
    parse: impl Fn(&[u8]) -> std::io::Result<Option<usize>>,
) -> std::io::Result<Option<Begun>> {
    let mut filled = 0;
    loop {
        let read = from.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return if filled == 0 { Ok(None) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) };
        }
        filled += read;
        if let Some(message) = parse(&buffer[..filled])? {
            let left = message.checked_sub(filled).ok_or(std::io::ErrorKind::InvalidData)?;
            return Ok(Some(Begun { filled, left }));
        }
    }
}

/// Copies a message whose beginning is in the buffer.
async fn copy(
    from: &mut TcpStream,
    to: &mut TcpStream,
    buffer: &mut [u8],
    begun: Begun,
) -> std::io::Result<()> {
    let Begun { mut filled, mut left } = begun;
    loop {
        to.write_all(&buffer[..filled]).await?;
        if left == 0 {
            return Ok(());
        }
        let most = left.min(buffer.len());
        filled = from.read(&mut buffer[..most]).await?;
        if filled == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        left -= filled;
    }
}

/// The length of the request, head and body, once its head is complete.
fn request(bytes: &[u8]) -> std::io::Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let status = request.parse(bytes).map_err(|_| std::io::ErrorKind::InvalidData)?;
    Ok(length(status, request.headers))
}

/// As [`request`].
fn response(bytes: &[u8]) -> std::io::Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let status = response.parse(bytes).map_err(|_| std::io::ErrorKind::InvalidData)?;
    Ok(length(status, response.headers))
}

fn length(status: httparse::Status<usize>, headers: &[httparse::Header<'_>]) -> Option<usize> {
    let httparse::Status::Complete(head) = status else { return None };
    let body = headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let body = body.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    Some(head + body.unwrap_or(0))
}
