use leeward_telemetry::metrics::{
    CONTENT_TYPE, LATENCY_BUCKETS, PROCESS_CPU_SECONDS_TOTAL, PROCESS_OPEN_FDS,
    PROCESS_RESIDENT_MEMORY_BYTES, Registry, http,
};

/// The value of the one line that starts with `series`.
fn value(text: &str, series: &str) -> f64 {
    let lines: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).collect();
    assert_eq!(lines.len(), 1, "{series} in:\n{text}");
    lines[0].parse().unwrap()
}

#[test]
fn http_metrics_have_the_names_and_labels_of_the_design() {
    let registry = Registry::new();
    let requests = registry.counters(http::REQUESTS_TOTAL, "Requests answered", http::REQUEST_LABELS);
    let durations = registry.histograms(
        http::REQUEST_DURATION_SECONDS,
        "Duration",
        http::DURATION_LABELS,
        LATENCY_BUCKETS,
    );
    requests.with(["GET", "/products/{id}", "200"]).inc();
    durations.with(["GET", "/products/{id}"]).observe(0.004);
    let text = registry.encode();
    let series = r#"http_requests_total{method="GET",route="/products/{id}",status_code="200"}"#;
    assert!((value(&text, series) - 1.0).abs() < 1e-9);
    let count = r#"http_request_duration_seconds_count{method="GET",route="/products/{id}"}"#;
    assert!((value(&text, count) - 1.0).abs() < 1e-9);
    let bucket = |le: &str| {
        format!(r#"http_request_duration_seconds_bucket{{le="{le}",method="GET",route="/products/{{id}}"}}"#)
    };
    assert!(value(&text, &bucket("0.0025")).abs() < 1e-9);
    assert!((value(&text, &bucket("0.005")) - 1.0).abs() < 1e-9);
    assert!((value(&text, &bucket("+Inf")) - 1.0).abs() < 1e-9);
    assert!(text.contains("# TYPE http_requests counter\n"), "{text}");
    assert!(text.ends_with("# EOF\n"));
    assert!(CONTENT_TYPE.starts_with("application/openmetrics-text"));
}

#[test]
fn a_name_registered_twice_is_one_metric() {
    let registry = Registry::with_labels([("service", "orders")]);
    registry.counter("leeward_tests_total", "Tests.").inc();
    registry.clone().counter("leeward_tests_total", "Tests.").inc();
    registry.gauge("leeward_depth", "Depth").set(-3);
    registry.gauge_fn("leeward_share", "Share", || 0.5);
    let text = registry.encode();
    assert!((value(&text, r#"leeward_tests_total{service="orders"}"#) - 2.0).abs() < 1e-9);
    assert!((value(&text, r#"leeward_depth{service="orders"}"#) + 3.0).abs() < 1e-9);
    assert!((value(&text, r#"leeward_share{service="orders"}"#) - 0.5).abs() < 1e-9);
    assert_eq!(text.matches("# HELP leeward_tests Tests.\n").count(), 1, "{text}");
    assert_eq!(registry.names(), ["leeward_depth", "leeward_share", "leeward_tests_total"]);
}

#[test]
#[should_panic(expected = "registered twice")]
fn one_name_with_two_kinds_is_refused() {
    let registry = Registry::new();
    let _ = registry.gauge("leeward_depth", "Depth");
    let _ = registry.gauges("leeward_depth", "Depth", ["queue"]);
}

#[test]
#[should_panic(expected = "registered twice")]
fn one_name_with_two_label_sets_is_refused() {
    let registry = Registry::new();
    let _ = registry.gauges("leeward_depth", "Depth", ["queue"]);
    let _ = registry.gauges("leeward_depth", "Depth", ["topic"]);
}

#[test]
fn names_off_the_convention_are_refused_and_leave_the_registry_usable() {
    let registry = Registry::new();
    let refused = |register: &dyn Fn(&Registry)| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| register(&registry))).unwrap_err();
    };
    refused(&|registry| drop(registry.counter("leeward_tests", "A counter without _total")));
    refused(&|registry| drop(registry.gauge("leeward_depth_total", "A gauge with it")));
    refused(&|registry| drop(registry.gauge("leeward-depth", "A dash")));
    refused(&|registry| drop(registry.gauge("Depth", "A capital")));
    assert!(registry.names().is_empty());
    assert_eq!(registry.encode(), "# EOF\n");
}

#[test]
fn a_label_from_outside_cannot_break_the_text() {
    let registry = Registry::new();
    registry.gauges("leeward_depth", "Depth", ["queue"]).with(["a\"} 1\nforged 2"]).set(1);
    let text = registry.encode();
    assert!(!text.lines().any(|line| line.starts_with("forged")), "{text}");
}

#[test]
fn the_process_shows_its_memory_cpu_and_files() {
    let registry = Registry::new();
    registry.process_metrics();
    registry.process_metrics();
    let before = registry.encode();
    assert!(value(&before, PROCESS_RESIDENT_MEMORY_BYTES) > 100_000.0);
    assert!(value(&before, PROCESS_CPU_SECONDS_TOTAL) >= 0.0);
    let _files: Vec<_> = (0..10).map(|_| std::fs::File::open("/proc/self/stat").unwrap()).collect();
    let grown = value(&registry.encode(), PROCESS_OPEN_FDS) - value(&before, PROCESS_OPEN_FDS);
    assert!(grown >= 10.0 - 5.0, "other tests may close files meanwhile: {grown}");
}
