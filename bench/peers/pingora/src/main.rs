//! pingora-proxy, set up as one would who knows it: one thread, kept-alive connections to the service, no logs.
//!
//! `leeward-bench-pingora LISTEN UPSTREAM`

use async_trait::async_trait;
use pingora::apps::HttpServerOptions;
use pingora::prelude::{HttpPeer, ProxyHttp, Result, Server, Session, http_proxy_service};
use pingora::server::configuration::ServerConf;

/// As many idle connections as the others keep.
const IDLE_CONNECTIONS: usize = 256;

struct Forward {
    to: String,
}

#[async_trait]
impl ProxyHttp for Forward {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut Self::CTX) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.to.as_str(), false, String::new())))
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(to)) = (arguments.next(), arguments.next()) else {
        eprintln!("leeward-bench-pingora LISTEN UPSTREAM");
        std::process::exit(2);
    };
    let conf =
        ServerConf { threads: 1, upstream_keepalive_pool_size: IDLE_CONNECTIONS, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Forward { to });
    // HTTP/2 without TLS, where a client begins with it.
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    service.app_logic_mut().expect("it was just made").server_options = Some(options);
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever();
}
