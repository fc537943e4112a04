//! What a proxied request costs: CPU time of the gateway's cores for each request with all policies on.
//!
//! Run it with `cargo run --release -p leeward-gateway --example cost`. Clients, gateway and service share the machine,
//! so the requests a second are those of all three together; the CPU time is that of the gateway's threads alone, read
//! from `/proc`.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measuring program"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use leeward_gateway::{Config, Gateway};
use leeward_runtime::{Env, Tasks};
use leeward_service::identity::Identity;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const CONNECTIONS: usize = 64;
const USERS: usize = 1_000;
const MEASURED: Duration = Duration::from_secs(6);
/// PKCS#8 of the key in RFC 8410, 10.3, and its public half.
const PRIVATE: [u8; 48] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20, 0xd4,
    0xee, 0x72, 0xdb, 0xf9, 0x13, 0x58, 0x4a, 0xd5, 0xb6, 0xd8, 0xf1, 0xf7, 0x69, 0xf8, 0xad, 0x3a, 0xfe,
    0x7c, 0x28, 0xcb, 0xf1, 0xd4, 0xfb, 0xe0, 0x97, 0xa8, 0x8f, 0x44, 0x75, 0x58, 0x42,
];
const KEYS: &str = "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"use\":\"sig\",\"alg\":\"EdDSA\",\"kid\":\"k1\",\
    \"x\":\"Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE\"}]}";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let variants = [
            ("routing alone", false, 2_048),
            ("all policies", true, 2_048),
            ("all policies, no decisions kept", true, 0),
        ];
        for (name, policies, decisions) in variants {
            let service = service().await;
            let tasks = Tasks::new();
            let config =
                Config::parse("cost.yaml", &config(service, policies, decisions), &Env::default()).unwrap();
            let identity = Identity::ephemeral("gateway").unwrap();
            let gateway = Gateway::builder(config).identity(identity).start(&tasks).await.unwrap();
            while !gateway.is_ready() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            measure(name, gateway.addr()).await;
            tasks.shutdown(Duration::from_secs(5)).await;
        }
    });
}

fn config(service: SocketAddr, policies: bool, decisions: u32) -> String {
    let limits = "rate_limits: {address: 900000/s, principal: 100000/s}";
    let all =
        "jwt: {service: users, issuer: users, audience: shop}\ncors: {origins: [\"https://shop.example\"]}";
    let none = "rate_limits: {address: \"off\", principal: \"off\"}";
    let (top, access) =
        if policies { (format!("{limits}\n{all}"), "user") } else { (none.to_owned(), "anyone") };
    format!(
        "listen: 127.0.0.1:0\nadmin: {{listen: \"127.0.0.1:0\"}}\ncores: 2\ndecisions: {{keep: {decisions}}}\n{top}\nservices: {{users: {{urls: \
         [\"http://{service}\"]}}}}\nroutes:\n  - {{path: /api/v1, strip_prefix: /api/v1, service: users, access: {access}}}\n"
    )
}

/// A service that answers 1 KiB to everything, except for its keys.
async fn service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = |body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let (page, keys): (Arc<str>, Arc<str>) = (answer(&"x".repeat(1_024)).into(), answer(KEYS).into());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (page, keys) = (Arc::clone(&page), Arc::clone(&keys));
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let mut request = [0_u8; 8_192];
                while let Ok(read @ 1..) = stream.read(&mut request).await {
                    let is_keys = request[..read].starts_with(b"GET /.well-known");
                    let answer = if is_keys { &keys } else { &page };
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn token(user: usize) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let claims = serde_json::json!({"sub": format!("user-{user:08}"), "role": "customer", "iss": "users", "aud": "shop",
        "jti": format!("token-{user:08}"), "sid": "session", "iat": now, "exp": now + 900, "permissions": ["cart:write"]});
    let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::EdDSA) };
    jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_der(&PRIVATE)).unwrap()
}

async fn measure(name: &str, gateway: SocketAddr) {
    let tokens: Arc<Vec<String>> = Arc::new((0..USERS).map(token).collect());
    let done = Arc::new(AtomicU64::new(0));
    for number in 0..CONNECTIONS {
        let (tokens, done) = (Arc::clone(&tokens), Arc::clone(&done));
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(gateway).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut read = [0_u8; 8_192];
            for at in number.. {
                let request = format!(
                    "GET /api/v1/cart?page=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: cost\r\nAccept: */*\r\n\
                     Origin: https://shop.example\r\nAuthorization: Bearer {}\r\n\r\n",
                    tokens[at * 7 % USERS]
                );
                if stream.write_all(request.as_bytes()).await.is_err() {
                    return;
                }
                let mut length = 0;
                // The service's kilobyte ends each answer.
                while !read[..length].ends_with(b"xxxxxxxx") {
                    match stream.read(&mut read[length..]).await {
                        Ok(count @ 1..) => length += count,
                        _ => return,
                    }
                }
                assert!(read.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&read[..length]));
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (before, cpu_before, started) = (done.load(Ordering::Relaxed), core_cpu(), Instant::now());
    tokio::time::sleep(MEASURED).await;
    let requests = done.load(Ordering::Relaxed) - before;
    let cpu = core_cpu() - cpu_before;
    let per_second = u128::from(requests) * 1_000 / started.elapsed().as_millis();
    let micros = cpu.as_micros() / u128::from(requests.max(1));
    println!(
        "{name}: {per_second} requests/s with everything on this machine, {micros} us CPU of the gateway a request"
    );
}

/// CPU time of the threads named `leeward-core-*`.
fn core_cpu() -> Duration {
    let mut ticks = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let text = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let Some((name, rest)) = text.rsplit_once(") ") else { continue };
        if name.contains("(leeward-core-") {
            // Fields 14 and 15 of stat, user and system time, are 11 and 12 after the name and the state.
            let fields: Vec<u64> =
                rest.split(' ').skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
            ticks += fields.iter().sum::<u64>();
        }
    }
    // A tick is 10 ms on every Linux in use.
    Duration::from_millis(ticks * 10)
}
