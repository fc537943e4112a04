use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use leeward_resilience::{Clock, FastRng, ManualClock};
use leeward_telemetry::otlp::{
    self, QUEUE_SPANS_MAX, SPANS_DROPPED_TOTAL, SPANS_EXPORTED_TOTAL, SPANS_RECORDED_TOTAL,
};
use leeward_telemetry::{Recorder, Registry, SpanKind, TraceContext};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{Span, span, status};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A request as the collector got it.
struct Received {
    path: String,
    headers: HeaderMap,
    body: ExportTraceServiceRequest,
}

/// A collector that answers the n-th request with the n-th status, and 200 beyond.
struct Collector {
    url: String,
    received: mpsc::Receiver<Received>,
}

#[expect(clippy::disallowed_methods, reason = "a test's server ends with the test")]
async fn collector(statuses: &'static [StatusCode]) -> Collector {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, received) = mpsc::channel(64);
    let count = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (sender, count) = (sender.clone(), Arc::clone(&count));
            let service = service_fn(move |request: Request<Incoming>| {
                let (sender, count) = (sender.clone(), Arc::clone(&count));
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let body = ExportTraceServiceRequest::decode(body).unwrap();
                    sender
                        .send(Received { path: head.uri.path().to_owned(), headers: head.headers, body })
                        .await
                        .unwrap();
                    let nth = count.fetch_add(1, Ordering::SeqCst);
                    let status = statuses.get(nth).copied().unwrap_or(StatusCode::OK);
                    let response = Response::builder().status(status).body(Full::new(Bytes::new()));
                    Ok::<_, Infallible>(response.unwrap())
                }
            });
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    Collector { url, received }
}

fn options(url: &str) -> otlp::Options {
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20token"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
    ];
    let lookup = |key: &str| env.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
    otlp::Options::from_lookup(lookup).unwrap().unwrap()
}

/// Runs `act` against a recorder, then stops the export and waits until it has sent everything.
async fn exported(url: &str, registry: &Registry, act: impl AsyncFnOnce(&Recorder, &ManualClock)) {
    let clock = Arc::new(ManualClock::new());
    let (recorder, export) = otlp::start(options(url), Arc::clone(&clock) as Arc<dyn Clock>, registry);
    act(&recorder, &clock).await;
    export.run(std::future::ready(())).await;
}

fn total(registry: &Registry, name: &'static str) -> u64 {
    registry.counter(name, "").get()
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?;
    match value {
        AnyValue { value: Some(any_value::Value::StringValue(text)) } => Some(text),
        other => Some(format!("{other:?}")),
    }
}

fn spans(request: &ExportTraceServiceRequest) -> Vec<&Span> {
    request
        .resource_spans
        .iter()
        .flat_map(|resource| &resource.scope_spans)
        .flat_map(|scope| &scope.spans)
        .collect()
}

#[tokio::test]
async fn the_collector_gets_one_connected_trace_over_two_services() {
    let mut collector = collector(&[]).await;
    let registry = Registry::new();
    let root = TraceContext::new_root(&FastRng::seeded(5));
    exported(&collector.url, &registry, async |recorder, clock| {
        let mut outer = recorder.span("POST /checkout", SpanKind::Server, "gateway", &root);
        outer.attr("http.response.status_code", 202_u16).attr("http.route", "/checkout");
        clock.advance(Duration::from_millis(3));
        // Over the wire: the other service sees a header only.
        let header = outer.context().header_value();
        let parent = TraceContext::parse(&header).unwrap();
        let mut inner = recorder.span("checkout", SpanKind::Consumer, "orders", &parent);
        inner.error("no stock");
        clock.advance(Duration::from_millis(4));
    })
    .await;

    let (one, two) = (collector.received.recv().await.unwrap(), collector.received.recv().await.unwrap());
    let service = |received: &Received| {
        let resource = received.body.resource_spans[0].resource.clone().unwrap();
        assert_eq!(text(&resource.attributes, "deployment.environment.name").as_deref(), Some("test"));
        text(&resource.attributes, "service.name").unwrap()
    };
    let (gateway, orders) = if service(&one) == "gateway" { (one, two) } else { (two, one) };
    assert_eq!((service(&gateway), service(&orders)), ("gateway".into(), "orders".into()));
    assert_eq!(gateway.path, "/v1/traces");
    assert_eq!(gateway.headers["content-type"], "application/x-protobuf");
    assert_eq!(gateway.headers["authorization"], "Bearer token");

    let (outer, inner) = (spans(&gateway.body)[0].clone(), spans(&orders.body)[0].clone());
    assert_eq!(outer.name, "POST /checkout");
    assert_eq!(outer.kind(), span::SpanKind::Server);
    assert_eq!(inner.kind(), span::SpanKind::Consumer);
    assert_eq!(outer.trace_id, root.trace_id().to_be_bytes());
    assert_eq!(inner.trace_id, outer.trace_id);
    assert!(outer.parent_span_id.iter().all(|byte| *byte == 0), "the trace begins with this span");
    assert_eq!(inner.parent_span_id, outer.span_id);
    assert_eq!(outer.end_time_unix_nano - outer.start_time_unix_nano, 7_000_000);
    assert_eq!(inner.end_time_unix_nano - inner.start_time_unix_nano, 4_000_000);
    assert_eq!(inner.start_time_unix_nano - outer.start_time_unix_nano, 3_000_000);
    assert_eq!(text(&outer.attributes, "http.route").as_deref(), Some("/checkout"));
    let status = inner.status.unwrap();
    assert_eq!((status.code(), status.message.as_str()), (status::StatusCode::Error, "no stock"));
    assert_eq!(total(&registry, SPANS_EXPORTED_TOTAL), 2);
}

#[tokio::test]
async fn a_running_export_sends_without_being_stopped() {
    let mut collector = collector(&[]).await;
    let (recorder, export) =
        otlp::start(options(&collector.url), Arc::new(ManualClock::new()), &Registry::new());
    let root = TraceContext::new_root(&FastRng::seeded(5));
    let received = async {
        for _ in 0..2 {
            drop(recorder.span("step", SpanKind::Internal, "orders", &root));
            assert_eq!(spans(&collector.received.recv().await.unwrap().body).len(), 1);
        }
    };
    tokio::select! {
        () = export.run(std::future::pending()) => panic!("the export ended"),
        () = received => {}
    }
}

#[tokio::test]
async fn what_is_not_sampled_is_not_sent_but_has_ids_to_hand_on() {
    let mut collector = collector(&[]).await;
    let registry = Registry::new();
    exported(&collector.url, &registry, async |recorder, _clock| {
        let parent = TraceContext::from_parts(7, 8, false).unwrap();
        let mut span = recorder.span("quiet", SpanKind::Client, "orders", &parent);
        span.attr("key", 1_u64);
        assert!(!span.is_recording());
        assert_eq!(span.context().trace_id(), 7);
        assert_ne!(span.context().span_id(), 8);
    })
    .await;
    assert!(collector.received.try_recv().is_err());
    assert_eq!(total(&registry, SPANS_RECORDED_TOTAL), 0);
}

#[tokio::test]
async fn a_full_queue_drops_and_counts_and_the_rest_arrives_in_batches() {
    let mut collector = collector(&[]).await;
    let registry = Registry::new();
    let root = TraceContext::new_root(&FastRng::seeded(5));
    exported(&collector.url, &registry, async |recorder, _clock| {
        for _ in 0..QUEUE_SPANS_MAX + 100 {
            drop(recorder.span("step", SpanKind::Internal, "orders", &root));
        }
    })
    .await;
    let queued = u64::try_from(QUEUE_SPANS_MAX).unwrap();
    assert_eq!(total(&registry, SPANS_RECORDED_TOTAL), queued);
    assert_eq!(total(&registry, SPANS_DROPPED_TOTAL), 100);
    assert_eq!(total(&registry, SPANS_EXPORTED_TOTAL), queued);
    let mut arrived = 0;
    while let Ok(received) = collector.received.try_recv() {
        let count = spans(&received.body).len();
        assert!(count <= otlp::BATCH_SPANS_MAX);
        arrived += count;
    }
    assert_eq!(arrived, QUEUE_SPANS_MAX);
}

#[tokio::test]
async fn a_busy_collector_is_asked_again_and_a_refusing_one_is_not() {
    let table: [(&'static [StatusCode], usize, u64); 3] = [
        (&[StatusCode::SERVICE_UNAVAILABLE], 2, 0),
        (&[StatusCode::BAD_REQUEST], 1, 1),
        // Three attempts in all: the exporter below has its own retries, which block the thread and must stay
        // off.
        (&[StatusCode::SERVICE_UNAVAILABLE; 16], 3, 1),
    ];
    for (statuses, requests, dropped) in table {
        let mut collector = collector(statuses).await;
        let registry = Registry::new();
        let root = TraceContext::new_root(&FastRng::seeded(5));
        exported(&collector.url, &registry, async |recorder, _clock| {
            drop(recorder.span("step", SpanKind::Internal, "orders", &root));
        })
        .await;
        let mut seen = 0;
        while collector.received.try_recv().is_ok() {
            seen += 1;
        }
        assert_eq!(seen, requests, "{statuses:?}");
        assert_eq!(total(&registry, SPANS_DROPPED_TOTAL), dropped, "{statuses:?}");
        assert_eq!(total(&registry, SPANS_EXPORTED_TOTAL), 1 - dropped, "{statuses:?}");
    }
}

#[tokio::test]
async fn a_collector_that_is_away_costs_the_spans_and_nothing_else() {
    // A port that was just free and has no listener any more.
    let url = format!("http://{}", TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap());
    let registry = Registry::new();
    let root = TraceContext::new_root(&FastRng::seeded(5));
    exported(&url, &registry, async |recorder, _clock| {
        drop(recorder.span("step", SpanKind::Internal, "orders", &root));
    })
    .await;
    assert_eq!(total(&registry, SPANS_DROPPED_TOTAL), 1);
    assert_eq!(total(&registry, SPANS_EXPORTED_TOTAL), 0);
}

#[tokio::test]
async fn the_installed_recorder_takes_the_spans_of_the_process() {
    let mut collector = collector(&[]).await;
    let (recorder, export) =
        otlp::start(options(&collector.url), Arc::new(ManualClock::new()), &Registry::new());
    leeward_telemetry::span::install(recorder).unwrap();
    let root = TraceContext::new_root(&FastRng::seeded(5));
    let mut span = leeward_telemetry::span("relay", SpanKind::Producer, "orders", &root);
    for number in 0..40_u64 {
        span.attr(Box::leak(format!("key{number}").into_boxed_str()), number);
    }
    span.attr("key0", "x".repeat(5000));
    drop(span);
    export.run(std::future::ready(())).await;
    let received = collector.received.recv().await.unwrap();
    let span = spans(&received.body).into_iter().find(|span| span.name == "relay").unwrap();
    assert_eq!(span.attributes.len(), leeward_telemetry::span::ATTRIBUTES_MAX);
    assert_eq!(span.dropped_attributes_count, 8);
    assert_eq!(text(&span.attributes, "key0").unwrap().len(), leeward_telemetry::span::TEXT_BYTES_MAX);
}
