use std::fs;
use std::time::Duration;

use leeward_runtime::Env;
use leeward_runtime::config::{DEPTH_MAX, DOCUMENT_BYTES_MAX, Document, Origin, PROBLEMS_MAX, Problems};

fn document(text: &str) -> Document {
    Document::parse("leeward.yaml", text, &Env::default()).unwrap()
}

/// Reads `text` and returns what finishing reports, as printed.
fn report(text: &str, read: impl FnOnce(&Document)) -> String {
    let doc = document(text);
    read(&doc);
    doc.finish().map_or_else(|problems| problems.to_string(), |()| String::new())
}

#[test]
fn a_correct_document_yields_its_values_and_no_problem() {
    let text = "
listen:
  port: 8080
  host: 'localhost'
  drain: 1m30s
routes:
  - path: /a
    methods: [GET, HEAD]
    body: 10MiB
  - path: /b
    methods: GET
    limit: 100/s
    budget: 20%
    enabled: false
upstreams:
  inventory: http://127.0.0.1:1
  'odd name': x
country: no
version: 1.10
nothing:
";
    let doc = document(text);
    let root = doc.root();
    let listen = root.get("listen");
    assert_eq!(listen.get("port").int(1..=u16::MAX), Some(8080));
    assert_eq!(listen.get("host").text().as_deref(), Some("localhost"));
    assert_eq!(
        listen.get("drain").duration(Duration::ZERO..=Duration::from_secs(600)),
        Some(Duration::from_secs(90))
    );
    assert_eq!(listen.get("absent").int(1..=2_u8), None);
    let routes = root.get("routes").items();
    assert_eq!(routes[0].get("path").text().as_deref(), Some("/a"));
    assert_eq!(routes[0].get("methods").texts(), ["GET", "HEAD"]);
    assert_eq!(routes[0].get("body").size(0..=1 << 30), Some(10 << 20));
    assert_eq!(routes[1].get("path").text().as_deref(), Some("/b"));
    assert_eq!(routes[1].get("methods").texts(), ["GET"]);
    assert_eq!(routes[1].get("limit").rate().map(|rate| rate.count), Some(100));
    assert_eq!(routes[1].get("budget").percentage(0.0..=1.0), Some(0.2));
    assert_eq!(routes[1].get("enabled").bool(), Some(false));
    let upstreams: Vec<_> =
        root.get("upstreams").entries().into_iter().map(|(name, at)| (name, at.text())).collect();
    assert_eq!(upstreams, [("inventory", Some("http://127.0.0.1:1".into())), ("odd name", Some("x".into()))]);
    assert_eq!(root.get("country").text().as_deref(), Some("no"));
    assert_eq!(root.get("version").text().as_deref(), Some("1.10"));
    assert!(!root.get("nothing").is_given());
    doc.finish().unwrap();
}

#[test]
fn all_mistakes_are_reported_at_once_each_with_its_place() {
    let text = "listen:
  prot: 8080
  admin_port: 99000
  drain: 5 parsecs
  mode: fats
routes:
  - path: [not, text]
    retries: many
  - {}
extra: 1
";
    let read = |doc: &Document| {
        let listen = doc.root().get("listen");
        let _ = listen.get("port").int(1..=u16::MAX);
        let _ = listen.get("admin_port").int(1..=u16::MAX);
        let _ = listen.get("drain").duration(Duration::from_millis(1)..=Duration::from_secs(60));
        let _ = listen.get("mode").one_of(&[("fast", 1), ("safe", 2)]);
        for route in doc.root().get("routes").items() {
            let _ = route.get("path").required().text();
            let _ = route.get("retries").int(0..=10_u32);
        }
    };
    let expected = "\
leeward.yaml:2:3: listen.prot: unknown key
  allowed: admin_port, drain, mode, port
  did you mean: port
leeward.yaml:3:15: listen.admin_port: `99000` is not a whole number
  allowed: a whole number from 1 to 65535
leeward.yaml:4:10: listen.drain: `5 parsecs` is not a duration
  allowed: a number with us, ms, s, m, h or d, from 1ms to 1m
leeward.yaml:5:9: listen.mode: `fats` is not a choice
  allowed: fast, safe
  did you mean: fast
leeward.yaml:7:11: routes[0].path: `a list` is not text
  allowed: text
leeward.yaml:8:14: routes[0].retries: `many` is not a whole number
  allowed: a whole number from 0 to 10
leeward.yaml:9:5: routes[1].path: is required
leeward.yaml:10:1: extra: unknown key
  allowed: listen, routes";
    assert_eq!(report(text, read), expected);
}

#[test]
fn a_map_of_the_wrong_type_is_one_mistake_not_two() {
    let text = "listen: 8080\n";
    let report = report(text, |doc| {
        let _ = doc.root().get("listen").get("port").int(1..=9_u8);
        let _ = doc.root().get("listen").get("host").text();
    });
    assert_eq!(
        report,
        "leeward.yaml:1:9: listen: `8080` is not a map\n  allowed: a map, as `key: value` lines"
    );
}

#[test]
fn the_environment_takes_precedence_and_is_named_as_the_origin() {
    let env = Env::from_pairs([("LEEWARD_PORT", "9000"), ("LEEWARD_ADMIN_PORT", "high")]);
    let doc = Document::parse("leeward.yaml", "port: 8080\n", &env).unwrap();
    assert_eq!(doc.root().get("port").env("LEEWARD_PORT").int(1..=u16::MAX), Some(9000));
    let admin = doc.root().get("admin_port").env("LEEWARD_ADMIN_PORT");
    assert_eq!(admin.origin(), Origin::Env("LEEWARD_ADMIN_PORT".into()));
    assert_eq!(admin.int(1..=u16::MAX), None);
    let problems = doc.finish().unwrap_err().to_string();
    assert!(problems.starts_with("environment LEEWARD_ADMIN_PORT: admin_port: `high` is not"), "{problems}");
}

#[test]
fn what_is_not_yaml_is_refused_with_its_line() {
    let refused =
        |text: &str| Document::parse("leeward.yaml", text, &Env::default()).unwrap_err().to_string();
    assert!(
        refused("a: 1\nb: [1, 2\nc: 3\n").starts_with("leeward.yaml:3:"),
        "{}",
        refused("a: 1\nb: [1, 2\nc: 3\n")
    );
    let twice = refused("port: 1\nhost: x\nport: 2\n");
    assert!(twice.contains("leeward.yaml:3:1") && twice.contains("duplicate"), "{twice}");
    // Wherever the first of the two stands, in a small map and in a large one.
    for (keys, again) in [(2, 0), (15, 14), (16, 0), (16, 15), (17, 16), (40, 0), (40, 20), (40, 39)] {
        let map: String = (0..keys).map(|at| format!("key{at}: {at}\n")).collect();
        assert!(Document::parse("leeward.yaml", &map, &Env::default()).is_ok());
        let twice = refused(&format!("{map}key{again}: 1\n"));
        let place = format!("leeward.yaml:{}:1: is not YAML: duplicate key `key{again}`", keys + 1);
        assert!(twice.starts_with(&place), "{twice}");
    }
    assert!(refused("a: 1\n---\nb: 2\n").contains("second document"));
}

/// On a thread with as little stack as any that reads a configuration: what called itself for each level would end the process.
fn refused_on_a_small_stack(text: String) -> String {
    let read =
        move || Document::parse("leeward.yaml", &text, &Env::default()).map(drop).unwrap_err().to_string();
    std::thread::Builder::new().stack_size(128 * 1024).spawn(read).unwrap().join().unwrap()
}

#[test]
fn what_lies_too_deep_is_refused_with_its_place() {
    let fits = format!("a: {}1{}\n", "[".repeat(DEPTH_MAX - 1), "]".repeat(DEPTH_MAX - 1));
    Document::parse("leeward.yaml", &fits, &Env::default()).unwrap();
    let too_deep = format!("a: {}1{}\n", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
    let place = format!("leeward.yaml:1:{}: lies more than {DEPTH_MAX} lists and maps deep", DEPTH_MAX + 3);
    assert!(refused_on_a_small_stack(too_deep).starts_with(&place));
    let deep = [
        "- ".repeat(20_000),
        (0..900).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(),
        format!("a: {}", "[".repeat(200)),
        format!("a: {}", "{a: ".repeat(200)),
        "? ".repeat(20_000),
    ];
    for text in deep {
        let start: String = text.chars().take(9).collect();
        let report = refused_on_a_small_stack(text);
        assert!(report.contains("maps deep"), "{start}: {report}");
    }
    // The scanner of YAML counts flow levels itself.
    let report = refused_on_a_small_stack(format!("a: {}", "[".repeat(100_000)));
    assert!(report.starts_with("leeward.yaml:1:"), "{report}");
}

#[test]
fn aliases_cannot_multiply_without_end() {
    let mut text = "a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]\n".to_owned();
    for level in 1..12 {
        let below = format!("*a{}, ", level - 1).repeat(9);
        text.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    let report = refused_on_a_small_stack(text);
    assert!(report.starts_with("leeward.yaml:6:") && report.contains("250000 values"), "{report}");
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), "*a, ".repeat(40));
    let report = refused_on_a_small_stack(long);
    assert!(report.starts_with("leeward.yaml:2:") && report.contains("bytes of text"), "{report}");
    assert!(refused_on_a_small_stack("a: &a [*a]\n".to_owned()).contains("inside of what it stands for"));
}

#[test]
fn a_map_behind_an_alias_is_asked_for_its_own_keys() {
    let text = "one: &both {a: 1, b: 2}\ntwo: *both\n";
    let report = report(text, |doc| {
        let _ = doc.root().get("one").get("a").int(0..=9_u8);
        let _ = doc.root().get("one").get("b").int(0..=9_u8);
        let _ = doc.root().get("two").get("a").int(0..=9_u8);
    });
    assert!(report.contains("two.b: unknown key") && !report.contains("one."), "{report}");
}

#[test]
fn a_merge_key_is_refused_and_says_so() {
    let report = report("one: &one {a: 1}\ntwo: {<<: *one}\n", |doc| {
        let _ = doc.root().get("one").get("a").int(0..=9_u8);
        let _ = doc.root().get("two").get("a").int(0..=9_u8);
    });
    assert!(
        report.starts_with("leeward.yaml:2:7: two[\"<<\"]: is a merge key, which is not supported"),
        "{report}"
    );
}

#[test]
fn an_empty_file_is_an_empty_configuration() {
    for text in ["", "# nothing yet\n", "---\n", "{}"] {
        let doc = document(text);
        assert_eq!(doc.root().get("port").int(1..=9_u8), None);
        doc.finish().unwrap();
    }
}

#[test]
fn a_value_behind_an_anchor_is_read_where_it_is_used() {
    let doc = document("one: &limit 17\ntwo: *limit\n");
    assert_eq!(doc.root().get("one").int(0..=99_u8), Some(17));
    assert_eq!(doc.root().get("two").int(0..=99_u8), Some(17));
    doc.finish().unwrap();
}

#[test]
fn columns_count_characters_and_tags_are_refused() {
    let report = report("\"größe\": !number 5\nsize: x\n", |doc| {
        let _ = doc.root().get("größe").int(0..=9_u8);
        let _ = doc.root().get("size").size(0..=9);
    });
    assert!(report.contains("[\"größe\"]: ") && report.contains("has a YAML tag"), "{report}");
    assert!(report.contains("leeward.yaml:2:7: size: `x` is not a size"), "{report}");
}

#[test]
fn a_secret_is_followed_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "from-file\n").unwrap();
    fs::write(folder.path().join("empty"), "\n").unwrap();
    let path = folder.path().join("leeward.yaml");
    fs::write(
        &path,
        "a: env:TOKEN\nb: file:token\nc: hunter2\nd: env:MISSING\ne: file:absent\nf: file:empty\n",
    )
    .unwrap();
    let doc = Document::load(&path, &Env::from_pairs([("TOKEN", "from-env")])).unwrap();
    let secret = |key: &str| doc.root().get(key).secret();
    assert_eq!(secret("a").unwrap().reveal(), "from-env");
    assert_eq!(secret("b").unwrap().reveal(), "from-file");
    assert_eq!(format!("{:?}", secret("b")), "Some(Secret(hidden))");
    for key in ["c", "d", "e", "f"] {
        assert_eq!(secret(key), None);
    }
    let problems = doc.finish().unwrap_err();
    assert_eq!(problems.count(), 4);
    let text = problems.to_string();
    assert!(!text.contains("hunter2"), "{text}");
    for part in ["c: is not a reference", "MISSING, which is not set", "cannot be read", "is empty"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_report_is_bounded_and_says_how_many_it_leaves_out() {
    let text: String = (0..PROBLEMS_MAX + 7).map(|number| format!("key{number}: 1\n")).collect();
    let doc = document(&text);
    let _ = doc.root().get("port").is_given();
    let problems: Problems = doc.finish().unwrap_err();
    assert_eq!(problems.iter().count(), PROBLEMS_MAX);
    assert_eq!(problems.count(), PROBLEMS_MAX + 7);
    assert!(problems.to_string().ends_with("and 7 more"));
}

#[test]
fn a_file_that_is_absent_or_too_large_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leeward.yaml");
    let load = || Document::load(&path, &Env::default()).map(drop).map_err(|problems| problems.to_string());
    assert!(load().unwrap_err().contains("cannot be read"));
    fs::write(&path, "#".repeat(usize::try_from(DOCUMENT_BYTES_MAX).unwrap())).unwrap();
    load().unwrap();
    fs::write(&path, "#".repeat(usize::try_from(DOCUMENT_BYTES_MAX).unwrap() + 1)).unwrap();
    assert!(load().unwrap_err().contains("larger than"));
}

#[test]
fn a_policy_refusing_its_options_points_at_the_option() {
    let errors = leeward_resilience::ConfigErrors {
        mistakes: vec![leeward_resilience::Mistake::new("retry.attempts", 0, "1 to 10")],
    };
    let doc = document("retry:\n  attempts: 0\n");
    let retry = doc.root().get("retry");
    assert_eq!(retry.get("attempts").int(0..=u32::MAX), Some(0));
    retry.reject_policy(&errors);
    let text = doc.finish().unwrap_err().to_string();
    assert_eq!(text, "leeward.yaml:2:13: retry.attempts: `0` is out of range\n  allowed: 1 to 10");
}
