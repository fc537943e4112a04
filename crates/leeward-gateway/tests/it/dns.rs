//! Services that are found by DNS: a real resolver asks a name server that a test plays, over UDP and TCP.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use leeward_gateway::health::State;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use crate::pki::Pki;
use crate::rig::{Rig, Upstream};
use crate::towards::Secure;

#[derive(Clone)]
pub(crate) enum Said {
    Records {
        ttl: u32,
        data: Vec<RData>,
    },
    Code(ResponseCode),
    /// Nothing at all.
    Silence,
}

/// A name server: what it says to each question, and how often it was asked.
#[derive(Default)]
pub(crate) struct Zone {
    said: Mutex<HashMap<(String, RecordType), Said>>,
    asked: AtomicUsize,
    over_tcp: AtomicUsize,
    /// Whether answers do not fit into a datagram.
    truncates: std::sync::atomic::AtomicBool,
}

impl Zone {
    pub(crate) async fn start() -> (Arc<Self>, SocketAddr) {
        let zone = Arc::new(Self::default());
        // The two have one port: as long as it takes to find one that is free for both.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let of_udp = Arc::clone(&zone);
        tokio::spawn(async move {
            let mut bytes = [0; 4_096];
            while let Ok((count, from)) = udp.recv_from(&mut bytes).await {
                let truncates = of_udp.truncates.load(Ordering::SeqCst);
                if let Some(answer) = of_udp.answer(&bytes[..count], truncates) {
                    udp.send_to(&answer, from).await.unwrap();
                }
            }
        });
        let of_tcp = Arc::clone(&zone);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let zone = Arc::clone(&of_tcp);
                tokio::spawn(async move {
                    while let Ok(length) = stream.read_u16().await {
                        let mut question = vec![0; usize::from(length)];
                        stream.read_exact(&mut question).await.unwrap();
                        zone.over_tcp.fetch_add(1, Ordering::SeqCst);
                        let Some(answer) = zone.answer(&question, false) else { return };
                        stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
                        stream.write_all(&answer).await.unwrap();
                    }
                });
            }
        });
        (zone, address)
    }

    fn answer(&self, question: &[u8], truncates: bool) -> Option<Vec<u8>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let question = Message::from_vec(question).unwrap();
        let query = question.queries[0].clone();
        let name = query.name().to_ascii().to_ascii_lowercase();
        let said = self.said.lock().get(&(name, query.query_type())).cloned();
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        answer.metadata.recursion_available = true;
        match said.unwrap_or(Said::Records { ttl: 0, data: Vec::new() }) {
            Said::Silence => return None,
            Said::Code(code) => answer.metadata.response_code = code,
            Said::Records { .. } if truncates => answer.metadata.truncation = true,
            Said::Records { ttl, data } => {
                let record = |data| Record::from_rdata(query.name().clone(), ttl, data);
                answer.answers = data.into_iter().map(record).collect();
            }
        }
        answer.queries = vec![query];
        Some(answer.to_vec().unwrap())
    }

    pub(crate) fn says(&self, name: &str, kind: RecordType, said: Said) {
        self.said.lock().insert((name.to_owned(), kind), said);
    }

    pub(crate) fn has(&self, name: &str, ttl: u32, addresses: &[&str]) {
        let data = addresses.iter().map(|ip| RData::A(A(ip.parse().unwrap()))).collect();
        self.says(name, RecordType::A, Said::Records { ttl, data });
    }
}

pub(crate) fn yaml(server: SocketAddr, dns: &str, name: &str) -> String {
    format!(
        "dns: {{servers: [\"{server}\"], timeout: 300ms, {dns}}}\n\
         services:\n  one:\n    dns: {name}\n    balance: round_robin\n    slow_start: off\n    retry: {{max_retries: 0}}\nroutes:\n  - {{path: /, service: one}}\n"
    )
}

/// The addresses of the service, as operators see them.
async fn endpoints(rig: &Rig) -> Vec<String> {
    let services = rig.send(rig.admin("GET", "/v1/services"), "").await.json();
    let one = services.as_array().unwrap().iter().find(|service| service["name"] == "one").unwrap().clone();
    let urls = one["endpoints"].as_array().unwrap().iter().map(|one| one["url"].as_str().unwrap().to_owned());
    urls.collect()
}

#[tokio::test]
async fn requests_go_to_the_addresses_of_a_name_for_as_long_as_these_hold() {
    let (zone, server) = Zone::start().await;
    let one = Upstream::start().await;
    let port = one.addr.port();
    let two = Upstream::on(TcpListener::bind(("127.0.0.2", port)).await.unwrap());
    zone.has("orders.test.", 1, &["127.0.0.1"]);
    let rig = Rig::start(&yaml(server, "", &format!("orders.test.:{port}"))).await;
    assert_eq!(rig.get("/").await.status, 200, "ready means that the service was looked for");
    assert_eq!((one.hits(), two.hits()), (1, 0));

    zone.has("orders.test.", 3_600, &["127.0.0.2", "127.0.0.1"]);
    rig.until("the other is known too", async || endpoints(&rig).await.len() == 2).await;
    for _ in 0..40 {
        assert_eq!(rig.get("/").await.status, 200);
    }
    assert!(two.hits() > 0);
    // Two questions a lookup: the one of the start, at most one for each second since, and none in the next hour.
    let asked = zone.asked.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(zone.asked.load(Ordering::SeqCst), asked, "what holds is not asked for again");
}

#[tokio::test]
async fn a_time_to_live_is_bounded_on_both_sides() {
    let (zone, server) = Zone::start().await;
    zone.has("orders.test.", 0, &["127.0.0.1"]);
    let rig = Rig::start(&yaml(server, "ttl_min: 1h, ttl_max: 1h, family: v4", "orders.test.:9")).await;
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert_eq!(zone.asked.load(Ordering::SeqCst), 1, "nothing is not a wish to be asked without a pause");

    zone.has("orders.test.", 86_400, &["127.0.0.2"]);
    rig.reload(&yaml(server, "ttl_min: 100ms, ttl_max: 200ms, family: v4", "orders.test.:9")).unwrap();
    rig.until("it is asked under the new times", async || zone.asked.load(Ordering::SeqCst) > 4).await;
    assert_eq!(endpoints(&rig).await, ["http://127.0.0.2:9/"]);
}

#[tokio::test]
async fn who_loses_the_name_server_keeps_the_endpoints_and_says_so() {
    let (zone, server) = Zone::start().await;
    let upstream = Upstream::start().await;
    zone.has("orders.test.", 0, &["127.0.0.1"]);
    let name = format!("orders.test.:{}", upstream.addr.port());
    let rig = Rig::start(&yaml(server, "ttl_min: 100ms", &name)).await;
    assert_eq!(rig.get("/").await.status, 200);
    for said in [Said::Silence, Said::Code(ResponseCode::ServFail), Said::Code(ResponseCode::Refused)] {
        zone.says("orders.test.", RecordType::A, said);
        let check = || rig.gateway.health().checks["lookups"].clone();
        rig.until("it shows", async || check().status == State::Degraded).await;
        assert!(check().value.starts_with("one known "), "{}", check().value);
        assert_eq!(rig.get("/").await.status, 200);
        assert!(rig.gateway.is_ready());
        zone.has("orders.test.", 0, &["127.0.0.1"]);
        rig.until("it is well again", async || check().status == State::Up).await;
    }
    // Half an answer is none: the endpoints at the other kind of address would be gone.
    zone.has("orders.test.", 0, &["127.0.0.9"]);
    zone.says("orders.test.", RecordType::AAAA, Said::Code(ResponseCode::ServFail));
    rig.until("it shows", async || rig.gateway.health().checks["lookups"].status == State::Degraded).await;
    assert_eq!(endpoints(&rig).await, [format!("{}/", upstream.url())]);
}

#[tokio::test]
async fn a_name_that_is_gone_has_no_endpoints_and_is_looked_for_again() {
    let (zone, server) = Zone::start().await;
    zone.says("orders.test.", RecordType::A, Said::Code(ResponseCode::NXDomain));
    zone.says("orders.test.", RecordType::AAAA, Said::Code(ResponseCode::NXDomain));
    let rig = Rig::start(&yaml(server, "ttl_min: 100ms, ttl_max: 100ms", "orders.test.:9")).await;
    assert_eq!(rig.get("/").await.status, 503);
    zone.has("orders.test.", 0, &["127.0.0.1"]);
    let count = async |wanted| endpoints(&rig).await.len() == wanted;
    rig.until("it appears", async || count(1).await).await;
    zone.has("orders.test.", 0, &[]);
    rig.until("it is gone", async || count(0).await).await;
    assert_eq!(rig.get("/").await.code(), "upstream_unavailable");
    zone.has("orders.test.", 0, &["127.0.0.1"]);
    rig.until("it is back", async || count(1).await).await;
}

#[tokio::test]
async fn service_records_have_ports_weights_and_priorities() {
    let (zone, server) = Zone::start().await;
    let srv = |priority, weight, port, target: &str| {
        RData::SRV(SRV::new(priority, weight, port, Name::from_ascii(target).unwrap()))
    };
    let data = vec![
        srv(1, 30, 4_001, "a.test."),
        srv(1, 10, 4_002, "b.test."),
        srv(1, 10, 4_003, "nobody.test."),
        srv(2, 90, 4_004, "later.test."),
    ];
    zone.says("_http._tcp.orders.test.", RecordType::SRV, Said::Records { ttl: 60, data });
    zone.has("a.test.", 60, &["127.0.0.1", "127.0.0.3"]);
    zone.has("b.test.", 60, &["127.0.0.2"]);
    zone.has("later.test.", 60, &["127.0.0.4"]);
    let six = Said::Records { ttl: 60, data: vec![RData::AAAA(AAAA("::1".parse().unwrap()))] };
    zone.says("b.test.", RecordType::AAAA, six);
    // As where all of it does not fit into a datagram.
    zone.truncates.store(true, Ordering::SeqCst);
    let rig = Rig::start(&yaml(server, "", "_http._tcp.orders.test.")).await;
    let found = endpoints(&rig).await;
    assert_eq!(
        found,
        ["http://127.0.0.1:4001/", "http://127.0.0.2:4002/", "http://127.0.0.3:4001/", "http://[::1]:4002/"]
    );
    assert!(zone.over_tcp.load(Ordering::SeqCst) > 0);
    let services = rig.send(rig.admin("GET", "/v1/services"), "").await.json();
    let one = services.as_array().unwrap().iter().find(|service| service["name"] == "one").unwrap().clone();
    assert_eq!(one["lookup"]["source"], "dns _http._tcp.orders.test.");
    let weights: Vec<_> =
        one["endpoints"].as_array().unwrap().iter().map(|one| one["weight"].clone()).collect();
    assert_eq!(weights, [30, 10, 30, 10]);
}

#[tokio::test]
async fn a_service_may_move_from_addresses_to_a_name_and_back_under_load() {
    let (zone, server) = Zone::start().await;
    let upstream = Upstream::start().await;
    zone.has("orders.test.", 60, &["127.0.0.1"]);
    let by_name = yaml(server, "", &format!("orders.test.:{}", upstream.addr.port()));
    let by_url = by_name.replace(
        &format!("dns: orders.test.:{}", upstream.addr.port()),
        &format!("urls: [\"{}\"]", upstream.url()),
    );
    assert_ne!(by_name, by_url);
    let rig = Rig::start(&by_url).await;
    for round in 0..6 {
        rig.reload(if round % 2 == 0 { &by_name } else { &by_url }).unwrap();
        for _ in 0..10 {
            assert_eq!(rig.get("/").await.status, 200, "round {round}");
        }
    }
}

#[tokio::test]
async fn what_a_name_leads_to_is_spoken_to_over_tls_under_that_name() {
    let (zone, server) = Zone::start().await;
    let pki = Pki::new();
    let right = Secure::start(pki.serving(&pki.server(&["orders.test"]), false, &[])).await;
    let port = right.upstream.addr.port();
    zone.has("orders.test.", 60, &["127.0.0.1"]);
    let with = |tls: &str| {
        let name = format!("orders.test.:{port}");
        yaml(server, "family: v4", &name).replace(
            "    balance",
            &format!("    tls: {{ca: \"{}\"{tls}}}\n    balance", pki.path("ca.pem").display()),
        )
    };
    let rig = Rig::start(&with("")).await;
    assert_eq!(endpoints(&rig).await, [format!("https://127.0.0.1:{port}/")]);
    assert_eq!(rig.get("/").await.status, 200, "its certificate has the name and not the address");
    assert_eq!(right.shaken().0 + right.shaken().1, 1);
    // Another name is another service.
    rig.reload(&with(", server_name: others.test")).unwrap();
    assert_eq!(rig.get("/").await.code(), "upstream_unavailable");
    // From TLS to none and back it is the same name, and each time the endpoints are others.
    rig.reload(&yaml(server, "family: v4", &format!("orders.test.:{port}"))).unwrap();
    rig.until("they are plain", async || endpoints(&rig).await == [format!("http://127.0.0.1:{port}/")])
        .await;
    rig.reload(&with("")).unwrap();
    rig.until("they speak TLS again", async || rig.get("/").await.status == 200).await;
}

#[tokio::test]
async fn a_service_record_does_not_say_whom_to_believe() {
    let (zone, server) = Zone::start().await;
    let pki = Pki::new();
    // Who answers for the records may name any host: the certificate must be for the name that was asked for.
    let right = Secure::start(pki.serving(&pki.server(&["orders.test"]), false, &[])).await;
    let wrong = Secure::start(pki.serving(&pki.server(&["target.test"]), false, &[])).await;
    zone.has("target.test.", 60, &["127.0.0.1"]);
    for (service, status) in [(&right, 200), (&wrong, 503)] {
        let port = service.upstream.addr.port();
        let data = vec![RData::SRV(SRV::new(1, 1, port, Name::from_ascii("target.test.").unwrap()))];
        zone.says("_https._tcp.orders.test.", RecordType::SRV, Said::Records { ttl: 60, data });
        let yaml = yaml(server, "family: v4", "_https._tcp.orders.test.").replace(
            "    balance",
            &format!("    tls: {{ca: \"{}\"}}\n    balance", pki.path("ca.pem").display()),
        );
        let rig = Rig::start(&yaml).await;
        assert_eq!(rig.get("/").await.status, status);
    }
}
