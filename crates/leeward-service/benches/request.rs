//! What a request costs: CPU microseconds of a whole service per request, inbound and outbound.
//!
//! Run with `cargo bench -p leeward-service`. Two figures: a request that comes in (the driver writes prepared bytes and
//! counts answers, so that nearly all of the CPU is the service's and the kernel's), and a call of one service to another
//! through the outbound client (both ends and the kernel).
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

use std::time::{Duration, Instant};

use leeward_discovery::{Directory, Endpoint};
use leeward_events::{Bus, bus};
use leeward_resilience::{Clock, TokioClock};
use leeward_runtime::Tasks;
use leeward_service::identity::ASSERTION_HEADER;
use leeward_service::{
    Access, Api, Caller, Json, Kit, KitOptions, Principal, Problem, Service, User, routes,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const CONNECTIONS: usize = 16;
const REQUESTS: usize = 4_000;

#[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
struct Line {
    product_id: String,
    quantity: u32,
}

#[utoipa::path(post, path = "/cart/{id}", request_body = Line, responses((status = 200, body = Line)))]
async fn cart(caller: Caller, Json(line): Json<Line>) -> Result<Json<Line>, Problem> {
    caller.user_id()?;
    Ok(Json(line))
}

async fn kit(name: &str, folder: &std::path::Path, directory: &Directory, tasks: &Tasks) -> Kit {
    let bus = Bus::open("memory:", bus::Options::default(), tasks).await.unwrap();
    Kit::new(KitOptions::new(name, folder, directory.clone(), bus)).await.unwrap()
}

async fn serve(service: Service, directory: &Directory) -> std::net::SocketAddr {
    let name = service.name().clone();
    let address = service.serve(TcpListener::bind("127.0.0.1:0").await.unwrap()).await.unwrap();
    directory.set(&name, [Endpoint::from(address)]);
    address
}

async fn drive(address: std::net::SocketAddr, request: Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 4096];
    for _ in 0..REQUESTS {
        stream.write_all(&request).await.unwrap();
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..read]));
    }
}

fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    Duration::from_millis(10) * (fields[11].parse::<u32>().unwrap() + fields[12].parse::<u32>().unwrap())
}

fn report(what: &str, before: (Duration, Instant), requests: usize) {
    let requests = f64::from(u32::try_from(requests).unwrap());
    let each = (cpu() - before.0).as_secs_f64() * 1e6 / requests;
    let rate = requests / before.1.elapsed().as_secs_f64();
    println!("{what}: {each:.1} us CPU each, {rate:.0}/s");
}

#[tokio::main]
async fn main() {
    let (folder, directory, tasks) = (tempfile::tempdir().unwrap(), Directory::new(), Tasks::new());
    let gateway = kit("gateway", folder.path(), &directory, &tasks).await;
    serve(Service::builder(gateway.clone()).build().unwrap(), &directory).await;
    let orders = kit("orders", folder.path(), &directory, &tasks).await;
    let api: Api = Api::new().add(Access::User, routes!(cart));
    let address = serve(Service::builder(orders).api(api).build().unwrap(), &directory).await;

    let user = User::new("0198c2f0-7d1e-7cc0-8000-2f8f7c1c5a10");
    let token =
        gateway.minter().mint(&Principal::User(user.clone()), "orders", TokioClock.unix_ms()).unwrap();
    let body = r#"{"product_id":"0198c2f0-7d1e-7cc0-8000-2f8f7c1c5a11","quantity":2}"#;
    let request = format!(
        "POST /cart/7 HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         x-request-id: 0198c2f07d1e7cc080002f8f7c1c5a10\r\nx-correlation-id: c-1\r\nx-deadline-ms: 9000\r\n\
         traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n{ASSERTION_HEADER}: {}\r\n\r\n{body}",
        body.len(),
        token.to_str().unwrap(),
    );
    for _round in 0..3 {
        let before = (cpu(), Instant::now());
        let drivers = (0..CONNECTIONS).map(|_| drive(address, request.clone().into_bytes()));
        futures_util::future::join_all(drivers).await;
        report("request in", before, CONNECTIONS * REQUESTS);
    }
    let client = gateway.client("orders");
    for _round in 0..3 {
        let before = (cpu(), Instant::now());
        let callers = (0..CONNECTIONS).map(async |_| {
            for _ in 0..REQUESTS / 4 {
                let line = Line { product_id: "p".to_owned(), quantity: 2 };
                client.post("/cart/7").json(&line).act_for(&user).send::<Line>().await.unwrap();
            }
        });
        futures_util::future::join_all(callers).await;
        report("call out and in", before, CONNECTIONS * REQUESTS / 4);
    }
}
