//! Maps over maps, where values stand, and what a reader asks for.

use std::time::Duration;

use leeward_resilience::{Concurrency, Retry};
use leeward_runtime::Env;
use leeward_runtime::config::{Document, Form, Node, Origin, describe, leaves};

fn document(text: &str) -> Document {
    Document::parse("a.yaml", text, &Env::default()).unwrap()
}

/// What `service` reads, laid over what `policies` reads.
fn laid<'d>(document: &'d Document) -> Node<'d> {
    let policies: Vec<Node<'d>> =
        document.root().get("policies").entries().into_iter().map(|(_, node)| node).collect();
    document.root().get("service").over(&policies)
}

const LAYERS: &str = "\
policies:
  one: {a: 1, b: 1, deep: {x: 1, y: 1}, list: [1], whole: {x: 1}}
  two: {a: 2, b: 2, c: 2, deep: {x: 2, y: 2, z: 2}, list: [1, 2], whole: off}
service:
  a: 0
  b:
  deep: {x: 0}
  whole: {y: 0}
";

#[test]
fn what_a_map_lacks_comes_from_the_first_that_it_is_laid_over() {
    let doc = document(LAYERS);
    let node = laid(&doc);
    let int = |node: &Node<'_>, key: &str| node.get(key).int(0..=9_u8);
    assert_eq!(["a", "b", "c", "d"].map(|key| int(&node, key)), [Some(0), Some(1), Some(2), None]);
    let deep = node.get("deep");
    assert_eq!(["x", "y", "z"].map(|key| int(&deep, key)), [Some(0), Some(1), Some(2)]);
    assert_eq!(node.get("list").items().len(), 1, "a list is taken whole");
    let whole = node.get("whole");
    assert_eq!(["x", "y"].map(|key| int(&whole, key)), [Some(1), Some(0)]);
    doc.finish().unwrap();
}

#[test]
fn what_lies_under_a_single_value_is_hidden_by_it() {
    let doc = document("policies: {one: {whole: off}, two: {whole: {x: 1}}}\nservice: {whole: {y: 0}}\n");
    assert_eq!(laid(&doc).get("whole").get("x").int(0..=9_u8), None);
}

#[test]
fn a_mistake_is_reported_where_it_stands_and_so_is_an_origin() {
    let doc = document("policies:\n  one: {a: many, c: 1}\nservice: {b: 5}\n");
    let node = laid(&doc);
    let _ = (node.get("a").int(0..=9_u8), node.get("b").int(0..=9_u8));
    let origins = doc.origins();
    let line = |origin: Option<&Origin>| match origin {
        Some(Origin::File { line, .. }) => *line,
        _ => 0,
    };
    assert_eq!(line(origins.of_value("service.a")), 2);
    assert_eq!(line(origins.of_value("service.b")), 3);
    assert_eq!(origins.of_value("service"), None, "a map is no value");
    assert_eq!(origins.of_value("service.absent"), None);
    assert_eq!(line(origins.near("service.absent.deep")), 3);
    let report = doc.finish().unwrap_err().to_string();
    assert!(report.contains("a.yaml:2:12: service.a: `many` is not a whole number"), "{report}");
    assert!(report.contains("a.yaml:2:18: policies.one.c: unknown key"), "{report}");
}

#[test]
fn the_form_of_the_upper_map_is_the_one_taken() {
    let doc = document(
        "policies: {one: {order: {lifo_under_overload: {after: 1s}}, limit: 7}}\nservice: {order: fifo}\n",
    );
    let mut concurrency = Concurrency::default();
    laid(&doc).policy(&mut concurrency);
    doc.finish().unwrap();
    assert_eq!((concurrency.limit.get(), concurrency.order), (7, Concurrency::default().order));
}

#[test]
fn what_a_reader_asks_for_is_a_description_of_it() {
    let shapes = describe(|root| {
        let limits = root.get("limits");
        assert_eq!(limits.get("time").env("TIME").duration(Duration::ZERO..=Duration::from_secs(9)), None);
        for route in root.get("routes").required().items() {
            let _ = route.get("path").required().text();
            route.get("path").reject("is never right", "nothing");
        }
        for (_, service) in root.get("services").entries() {
            service.get("retry").optional_policy(&mut Some(Retry::default()));
        }
    });
    let mut asked: Vec<_> = shapes.iter().map(|(path, shape)| (shape.order, path.as_str())).collect();
    asked.sort_unstable();
    let asked: Vec<&str> = asked.into_iter().map(|(_, path)| path).collect();
    assert_eq!(&asked[..6], ["", "limits", "limits.time", "routes", "routes[]", "routes[].path"]);
    let time = &shapes["limits.time"];
    let [Form::Duration(bounds)] = &time.forms[..] else { panic!("{time:?}") };
    assert_eq!((bounds.least.as_str(), bounds.most.as_deref()), ("0s", Some("9s")));
    assert_eq!(time.env.as_deref(), Some("TIME"));
    assert!(shapes["routes"].required && shapes["routes[].path"].required && !time.required);
    let retries = &shapes["services.*.retry.max_retries"];
    assert_eq!(retries.default.as_deref(), Some("2"));
    assert!(!retries.what.is_empty() && matches!(retries.forms[..], [Form::Whole(_)]), "{retries:?}");
    let choice = Form::Choice(vec!["on".to_owned(), "off".to_owned()]);
    assert_eq!(shapes["services.*.retry"].forms, [Form::Map, choice]);
}

#[test]
fn a_reader_that_tells_lists_from_values_is_heard_out() {
    let listener = |node: &Node<'_>| {
        if node.is_scalar() {
            let _ = node.parse::<u16>("a port", "a port");
        } else {
            let _ = node.get("port").int(1..=9_u16);
        }
    };
    let shapes = describe(|root| {
        let listen = root.get("listen");
        if listen.is_list() {
            listen.items().iter().for_each(listener);
        } else {
            listener(&listen);
        }
    });
    let port = Form::Written("a port".to_owned(), "a port".to_owned());
    assert_eq!(shapes["listen"].forms, [Form::Map, port.clone(), Form::List]);
    assert_eq!(shapes["listen[]"].forms, [Form::Map, port]);
    assert!(shapes.contains_key("listen.port") && shapes.contains_key("listen[].port"));
}

#[test]
fn a_part_of_a_whole_need_not_be_whole() {
    let doc = document("one: {}\n");
    let _ = doc.root().get("one").partial().get("needed").required().text();
    doc.finish().unwrap();
}

#[test]
fn leaves_are_the_values_with_their_lines() {
    let leaves = leaves("a: 1\nb:\n  - {c: x}\n  - []\n").unwrap();
    let flat: Vec<_> =
        leaves.iter().map(|leaf| (leaf.path.as_str(), leaf.text.as_str(), leaf.line)).collect();
    assert_eq!(flat, [("a", "1", 1), ("b[0].c", "x", 3), ("b[1]", "", 4)]);
}
