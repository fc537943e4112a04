//! The schema says what the reader takes, and no more.

use std::collections::{BTreeMap, BTreeSet};

use jsonschema::Validator;
use leeward_gateway::Config;
use leeward_gateway::schema::{schema, shapes};
use leeward_runtime::Env;
use leeward_runtime::config::leaves;
use serde_json::{Map, Value, json};

fn validator() -> Validator {
    jsonschema::validator_for(&schema()).unwrap()
}

/// A configuration as an editor's YAML reader has it.
fn document(yaml: &str) -> Value {
    let mut root = Value::Null;
    let lines: Vec<&str> = yaml.lines().collect();
    for leaf in leaves(yaml).unwrap() {
        // An empty list and an empty map look the same as leaves.
        let is_empty_list = leaf.text.is_empty() && lines[leaf.line - 1].contains("[]");
        put(&mut root, &leaf.path, if is_empty_list { json!([]) } else { scalar(&leaf.text) });
    }
    root
}

fn scalar(text: &str) -> Value {
    let word = |text: &str| Value::from(text);
    match text {
        "true" | "false" => Value::Bool(text == "true"),
        "" => json!({}),
        _ => serde_json::from_str::<serde_json::Number>(text).map_or_else(|_| word(text), Value::Number),
    }
}

fn put(at: &mut Value, path: &str, value: Value) {
    if path.is_empty() {
        *at = value;
    } else if let Some(rest) = path.strip_prefix("[\"") {
        let (key, rest) = rest.split_once("\"]").unwrap();
        put(object(at).entry(key).or_insert(Value::Null), rest.trim_start_matches('.'), value);
    } else if let Some(rest) = path.strip_prefix('[') {
        let (index, rest) = rest.split_once(']').unwrap();
        if at.is_null() {
            *at = json!([]);
        }
        let (list, index) = (at.as_array_mut().unwrap(), index.parse::<usize>().unwrap());
        if list.len() == index {
            list.push(Value::Null);
        }
        put(&mut list[index], rest.trim_start_matches('.'), value);
    } else {
        let end = path.find(['.', '[']).unwrap_or(path.len());
        put(
            object(at).entry(&path[..end]).or_insert(Value::Null),
            path[end..].trim_start_matches('.'),
            value,
        );
    }
}

fn object(at: &mut Value) -> &mut Map<String, Value> {
    if at.is_null() {
        *at = json!({});
    }
    at.as_object_mut().unwrap()
}

#[test]
fn it_takes_what_the_reader_takes() {
    let validator = validator();
    for (name, text) in [
        ("full.yaml", include_str!("config/full.yaml")),
        ("full.printed.yaml", include_str!("config/full.printed.yaml")),
        ("leeward.yaml", include_str!("../../../../leeward.yaml")),
        ("the shortest", "routes:\n  - {path: /, service: \"http://127.0.0.1:1\"}\n"),
    ] {
        let document = document(text);
        let wrong: Vec<String> = validator
            .iter_errors(&document)
            .map(|error| format!("{}: {error}", error.instance_path()).chars().take(400).collect())
            .collect();
        assert!(wrong.is_empty(), "{name}: {wrong:#?}");
    }
}

/// Mistakes that are about the form of one value.
#[test]
fn it_refuses_what_the_reader_refuses() {
    let validator = validator();
    let route = "routes: [{path: /, service: \"http://127.0.0.1:1\"}]";
    for wrong in [
        "lisen: 127.0.0.1:8080",
        "cores: 0",
        "cores: many",
        "unsafe_keep_encoded_slash: decode",
        "admin: {token: open-sesame}",
        "admin: {faults: perhaps}",
        "limits: {body: 10}",
        "limits: {head_timeout: fast}",
        "limits: {hedaers: 64}",
        "limits: {headers: 7}",
        "cors: {origins: [\"https://a.example\"], credentials: yes}",
        "cors: {methods: [GET]}",
        "services: {a: {retry: {max_retries: 99}}}",
        "services: {a: {retry: {backoff: 10ms}}}",
        "services: {a: {retry: {budget: {ratio: 2}}}}",
        "services: {a: {circuit_breaker: {window: soon}}}",
        "services: {a: {circuit_breaker: {probes: [1]}}}",
        "services: {a: {breaker: off}}",
        "services: {a: {facts: {keep_alive: long}}}",
        "services: {a: {calls: {b: {retries: 11}}}}",
        "facts: {replicas: 0}",
        "policies: {service: {}}",
        "policies: {services: {a: {read_timeout: now}}}",
        "policies: {routes: {a: {pathh: /x}}}",
        "policies: {routes: {a: {fallback: {within: soon}}}}",
        "policies: {routes: {a: {fallback: {respond: {status: 199}}}}}",
        "policies: {routes: {a: {fallback: {on_premanent: true}}}}",
        "access_log: {to: stdout, sample: 110}",
        "access_log: {sample: 10%}",
        "access_log: {to: stdout, always: {slow: 1s}}",
        "decisions: {keep: 200000}",
        "decisions: {sampel: 1%}",
        "concurrency: {limit: 5}",
    ] {
        let text = format!("{wrong}\n{route}");
        let taken = Config::parse("a.yaml", &text, &Env::default());
        assert!(taken.is_err(), "the reader takes it: {wrong}");
        assert!(!validator.is_valid(&document(&text)), "{wrong}");
    }
    for wrong in ["routes: [{service: \"http://127.0.0.1:1\"}]", "listen: 127.0.0.1:1", "routes: {}"] {
        assert!(Config::parse("a.yaml", wrong, &Env::default()).is_err(), "{wrong}");
        assert!(!validator.is_valid(&document(wrong)), "{wrong}");
    }
}

/// The steps of a path that has a name for each `*`.
fn plain(path: &str) -> String {
    path.replace("[\"*\"]", ".name").replace(".*", ".name")
}

/// Every key that the schema has, put where it belongs, is a key that the reader knows, whatever it says of the value.
#[test]
fn the_reader_knows_every_option_of_the_schema() {
    let mut keys = 0;
    for path in
        shapes().keys().map(|path| plain(path)).filter(|path| !path.is_empty() && !path.ends_with("[]"))
    {
        let mut text = String::new();
        let (mut indent, mut item) = (0, "");
        for step in path.split('.') {
            let (name, items) = step.split_at(step.find("[]").unwrap_or(step.len()));
            text.push_str(&format!("{:indent$}{item}{name}:\n", ""));
            indent += if item.is_empty() { 2 } else { 4 };
            item = if items.is_empty() { "" } else { "- " };
        }
        let text = format!("{} 1\n", text.trim_end());
        let Err(problems) = Config::parse("a.yaml", &text, &Env::default()) else { continue };
        let unknown: Vec<_> = problems.iter().filter(|problem| problem.message == "unknown key").collect();
        assert!(unknown.is_empty(), "{path}: {text}{unknown:?}");
        keys += 1;
    }
    assert!(keys > 150, "{keys}");
}

/// What the reader says is allowed in each place is in the schema.
#[test]
fn the_schema_knows_every_option_of_the_reader() {
    let known: BTreeSet<String> = shapes().keys().map(|path| plain(path)).collect();
    let text = "lisen: 1\nlimits: {x: 1}\nadmin: {x: 1}\nservices: {name: {x: 1, retry: {x: 1}, circuit_breaker: {x: 1}}}\n\
                routes: [{x: 1, path: /, service: name, headers: {x: 1}, redirect: {x: 1}, rewrite: {x: 1}, fallback: {x: 1}}]\naccess_log: {x: 1}\n\
                decisions: {x: 1}\ncors: {x: 1}\nbehind: {name: {x: 1}}\nrate_limits: {x: 1}\nlisten: [{x: 1, tls: {x: 1}}]\n";
    let problems = Config::parse("a.yaml", text, &Env::default()).unwrap_err();
    let mut asked = 0;
    for problem in problems.iter().filter(|problem| problem.message == "unknown key") {
        let place = problem.path.rsplit_once('.').map_or("", |(place, _)| place).replace("[0]", "[]");
        for key in problem.allowed.iter().flat_map(|allowed| allowed.split(", ")) {
            let path = if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
            // Old names are known so that they can be named: `is called`.
            let is_old = matches!(
                &*path,
                "concurrency" | "encoded_slash" | "services.name.breaker" | "services.name.concurrency"
            );
            assert!(known.contains(&path) != is_old, "{path}");
            asked += 1;
        }
    }
    assert!(asked > 100, "{asked}");
}

/// What holds of a service's policies where nothing is said, in the schema, is what a gateway has of which nothing was said; of a route's, too.
#[test]
fn its_defaults_are_those_of_the_gateway() {
    let text = "services: {name: {urls: [\"http://127.0.0.1:1\"], hedge: on, throttle: on}}\nroutes: [{path: /, service: name}]\n";
    let full = Config::parse("a.yaml", text, &Env::default()).unwrap().to_yaml();
    let holds: BTreeMap<String, String> =
        leaves(&full).unwrap().into_iter().map(|leaf| (leaf.path, leaf.text)).collect();
    let shapes = shapes();
    let (mut seen, mut compared) = (BTreeSet::new(), 0);
    for (path, shape) in &shapes {
        let Some(default) = &shape.default else { continue };
        let Some(held) = holds.get(&plain(path)) else { continue };
        assert_eq!(held, default, "{path}");
        compared += 1;
        let Some(below) = path.strip_prefix("services.*.") else { continue };
        if let Some(of_route) = shapes.get(&format!("routes[].{below}")).filter(|_| below.contains('.')) {
            assert_eq!(of_route.default.as_ref(), Some(default), "a route's {below}");
        }
        seen.insert(below.split('.').next().unwrap());
    }
    for policy in
        ["retry", "hedge", "throttle", "circuit_breaker", "adaptive", "concurrency_limit", "attempt_timeout"]
    {
        assert!(seen.contains(policy), "{policy} in {seen:?}");
    }
    assert!(compared > 80, "{compared}");
}
