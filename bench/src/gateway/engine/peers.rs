//! nginx, HAProxy and Envoy, each set up as one would who knows it: kept-alive connections to the service, one worker, no
//! logs unless they are part of what is compared.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{LIMIT_PER_S, ORIGIN, Policies, Seat, write};
use crate::gateway::case::prefix;
use crate::gateway::tokens::{AUDIENCE, ISSUER};

/// Tokens that Envoy remembers: more than the warm engines have.
const JWT_CACHE: u32 = 4_096;

pub(super) fn nginx(program: &Path, seat: &Seat<'_>) -> Result<Command, String> {
    let Seat { folder, listen, upstream: [upstream, _], case, .. } = seat;
    let folder = folder.display();
    let http2 = if case.is_http2 { " http2" } else { "" };
    let locations: String = beginnings(seat)
        .map(|path| format!("    location {path} {{ proxy_pass http://service; }}\n"))
        .collect();
    // Connections are kept for good, and an answer of 64 KiB fits into the buffers.
    let text = format!(
        "worker_processes 1;\ndaemon off;\npid {folder}/nginx.pid;\nerror_log stderr error;\n\
         events {{ worker_connections 8192; }}\n\
         http {{\n  access_log off;\n  client_body_temp_path {folder}/body;\n  proxy_temp_path {folder}/proxy;\n  \
         fastcgi_temp_path {folder}/fastcgi;\n  uwsgi_temp_path {folder}/uwsgi;\n  scgi_temp_path {folder}/scgi;\n  \
         keepalive_timeout 75s;\n  keepalive_requests 1000000000;\n  \
         upstream service {{ server {upstream}; keepalive 256; keepalive_requests 1000000000; }}\n  \
         server {{\n    listen {listen}{http2} reuseport;\n    \
         proxy_http_version 1.1;\n    proxy_set_header Connection \"\";\n    proxy_buffers 16 8k;\n    \
         proxy_max_temp_file_size 0;\n{locations}  }}\n}}\n"
    );
    let config = write(seat, "nginx.conf", &text)?;
    let mut command = Command::new(program);
    command.arg("-e").arg("stderr").arg("-p").arg(seat.folder).arg("-c").arg(config);
    Ok(command)
}

pub(super) fn haproxy(program: &Path, seat: &Seat<'_>) -> Result<Command, String> {
    let Seat { listen, upstream: [upstream, _], case, .. } = seat;
    let protocol = if case.is_http2 { " proto h2" } else { "" };
    let leads = if case.routes == 0 {
        "default_backend service".to_owned()
    } else {
        let table: String = beginnings(seat).map(|path| format!("{path} service\n")).collect();
        let table = write(seat, "routes.map", &table)?;
        format!("use_backend %[path,map_beg({})]", table.display())
    };
    let text = format!(
        "global\n  nbthread 1\n  maxconn 4000\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 75s\n  timeout server 30s\n  http-reuse always\n\
         frontend clients\n  bind {listen}{protocol}\n  {leads}\n\
         backend service\n  server one {upstream}\n"
    );
    let config = write(seat, "haproxy.cfg", &text)?;
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(config);
    Ok(command)
}

/// What paths of the routes begin with.
fn beginnings(seat: &Seat<'_>) -> Box<dyn Iterator<Item = String>> {
    match seat.case.routes {
        0 => Box::new(std::iter::once("/".to_owned())),
        routes => Box::new((0..routes).map(|at| prefix(at) + "/")),
    }
}

/// Envoy: forwarding alone, or with the policies that leeward-all has and it can.
pub(super) fn envoy(program: &Path, seat: &Seat<'_>, policies: Policies) -> Result<Command, String> {
    let config = json!({ "static_resources": {
        "listeners": [listener(seat, policies)],
        "clusters": [cluster(seat, policies)],
    } });
    let config = write(seat, "envoy.json", &config.to_string())?;
    let mut command = Command::new(program);
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c"]).arg(config);
    Ok(command)
}

fn listener(seat: &Seat<'_>, policies: Policies) -> Value {
    let router = filter("router", "router.v3.Router", &json!({}));
    let has_policies = policies != Policies::None;
    let mut filters = if has_policies { filters(seat, policies) } else { Vec::new() };
    filters.push(router);
    let mut route = json!({ "cluster": "service", "timeout": "10s" });
    let mut host = json!({ "name": "all", "domains": ["*"] });
    if has_policies {
        route["retry_policy"] = json!({ "retry_on": "connect-failure,refused-stream,503", "num_retries": 2 });
        host["typed_per_filter_config"] = json!({ "envoy.filters.http.cors": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
            "allow_origin_string_match": [{ "exact": ORIGIN }], "allow_credentials": true,
            "allow_methods": "GET, POST", "allow_headers": "authorization", "max_age": "600",
            "expose_headers": "x-ratelimit-limit",
        } });
    }
    let routes = beginnings(seat).map(|path| json!({ "match": { "prefix": path }, "route": route }));
    host["routes"] = routes.collect();
    let mut manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in", "codec_type": if seat.case.is_http2 { "AUTO" } else { "HTTP1" }, "http_filters": filters,
        "route_config": { "name": "all", "virtual_hosts": [host] },
    });
    if has_policies {
        manager["access_log"] = json!([access_log(seat)]);
    }
    let manager = json!({ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager });
    json!({ "name": "in", "address": address(seat.listen), "filter_chains": [{ "filters": [manager] }] })
}

fn filters(seat: &Seat<'_>, policies: Policies) -> Vec<Value> {
    let mut jwt = json!({
        "providers": { "users": {
            "issuer": ISSUER, "audiences": [AUDIENCE], "local_jwks": { "inline_string": seat.keys },
            "forward_payload_header": "x-jwt-payload",
        } },
        "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "users" } }],
    });
    if policies == Policies::Cached {
        jwt["providers"]["users"]["jwt_cache_config"] = json!({ "jwt_cache_size": JWT_CACHE });
    }
    let always = json!({ "default_value": { "numerator": 100, "denominator": "HUNDRED" } });
    let limit = json!({
        "stat_prefix": "limit", "filter_enabled": always, "filter_enforced": always,
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
        "token_bucket": { "max_tokens": LIMIT_PER_S, "tokens_per_fill": LIMIT_PER_S, "fill_interval": "1s" },
    });
    vec![
        filter("cors", "cors.v3.Cors", &json!({})),
        filter("jwt_authn", "jwt_authn.v3.JwtAuthentication", &jwt),
        filter("local_ratelimit", "local_ratelimit.v3.LocalRateLimit", &limit),
    ]
}

fn filter(name: &str, kind: &str, config: &Value) -> Value {
    let mut config = config.clone();
    config["@type"] = format!("type.googleapis.com/envoy.extensions.filters.http.{kind}").into();
    json!({ "name": format!("envoy.filters.http.{name}"), "typed_config": config })
}

fn access_log(seat: &Seat<'_>) -> Value {
    let fields = json!({
        "method": "%REQ(:METHOD)%", "path": "%REQ(:PATH)%", "status": "%RESPONSE_CODE%", "ms": "%DURATION%",
        "request_id": "%REQ(X-REQUEST-ID)%", "client": "%DOWNSTREAM_REMOTE_ADDRESS%",
    });
    json!({ "name": "envoy.access_loggers.file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": seat.access_log(), "log_format": { "json_format": fields },
    } })
}

fn cluster(seat: &Seat<'_>, policies: Policies) -> Value {
    let has_policies = policies != Policies::None;
    let endpoints = if has_policies { &seat.upstream[..] } else { &seat.upstream[..1] };
    let endpoints: Vec<Value> =
        endpoints.iter().map(|&at| json!({ "endpoint": { "address": address(at) } })).collect();
    let mut cluster = json!({
        "name": "service", "type": "STATIC", "connect_timeout": "1s",
        "load_assignment": { "cluster_name": "service", "endpoints": [{ "lb_endpoints": endpoints }] },
    });
    if has_policies {
        cluster["lb_policy"] = "LEAST_REQUEST".into();
        cluster["outlier_detection"] = json!({ "consecutive_5xx": 5, "interval": "1s" });
        let budget = json!({ "budget_percent": { "value": 20.0 }, "min_retry_concurrency": 3 });
        cluster["circuit_breakers"] = json!({ "thresholds": [{ "retry_budget": budget }] });
        cluster["health_checks"] = json!([{
            "timeout": "1s", "interval": "2s", "unhealthy_threshold": 3, "healthy_threshold": 1,
            "http_health_check": { "path": "/health" },
        }]);
    }
    cluster
}

fn address(address: std::net::SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}
