//! Which crate may use which: the layers of ARCHITECTURE.md, held against `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// The platform's layers, lowest first. A crate may use lower layers and nothing else of ours.
const LAYERS: &[&[&str]] = &[
    &["leeward-resilience"],
    &["leeward-runtime", "leeward-telemetry"],
    &["leeward-store"],
    &["leeward-discovery", "leeward-events", "leeward-saga"],
    &["leeward-service"],
    &["leeward-gateway"],
];

/// The shop's services: each sees the contracts and the platform up to the service kit, never another service.
const SERVICES: &[&str] = &[
    "shop-users",
    "shop-catalog",
    "shop-inventory",
    "shop-orders",
    "shop-payments",
    "shop-provider",
    "shop-shipping",
    "shop-notifications",
];

/// Crates that put things together or test them: they may see everything below them.
const TOPS: &[&str] = &["shop-app", "leeward", "leeward-tests", "leeward-bench"];

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Every allowed edge of our own crates, as `crate -> crates it may name`.
fn allowed() -> Graph {
    let mut graph = Graph::new();
    let mut below = BTreeSet::new();
    for layer in LAYERS {
        for name in *layer {
            graph.insert((*name).into(), below.clone());
        }
        below.extend(layer.iter().map(|name| (*name).to_string()));
    }
    let kit: BTreeSet<String> = below.iter().filter(|name| *name != "leeward-gateway").cloned().collect();
    graph
        .insert("shop-contracts".into(), BTreeSet::from(["leeward-events".into(), "leeward-service".into()]));
    for name in SERVICES {
        graph.insert((*name).into(), kit.iter().cloned().chain(["shop-contracts".into()]).collect());
    }
    // For tests alone: what stands around one service of the shop.
    graph.insert("shop-testbed".into(), kit.iter().cloned().chain(["shop-contracts".into()]).collect());
    let mut all: BTreeSet<String> = below;
    all.extend(SERVICES.iter().map(|name| (*name).to_string()));
    all.insert("shop-contracts".into());
    for name in TOPS {
        graph.insert((*name).into(), all.clone());
        all.insert((*name).into());
    }
    graph
}

/// The edges that the manifests declare today, dev-dependencies aside.
fn declared() -> Graph {
    let metadata = MetadataCommand::new().no_deps().other_options(["--offline".into()]).exec().unwrap();
    let ours: BTreeSet<String> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    metadata
        .packages
        .iter()
        .map(|package| {
            let edges = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind != DependencyKind::Development)
                .filter(|dependency| ours.contains(&dependency.name))
                .map(|dependency| dependency.name.clone())
                .collect();
            (package.name.to_string(), edges)
        })
        .collect()
}

/// One line for each edge of `graph` that `allowed` lacks.
fn violations(graph: &Graph, allowed: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    for (name, edges) in graph {
        let Some(may) = allowed.get(name) else {
            found.push(format!("{name} stands in no layer: give it one here and in ARCHITECTURE.md"));
            continue;
        };
        found.extend(edges.difference(may).map(|edge| format!("{name} must not use {edge}")));
    }
    found
}

#[test]
fn every_arrow_runs_downwards() {
    let found = violations(&declared(), &allowed());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn an_arrow_upwards_is_found() {
    let mut graph = declared();
    graph.get_mut("leeward-events").unwrap().insert("leeward-saga".into());
    graph.get_mut("shop-orders").unwrap().insert("shop-payments".into());
    graph.insert("stray".into(), BTreeSet::new());
    let found = violations(&graph, &allowed());
    assert_eq!(found.len(), 3, "{}", found.join("\n"));
}

/// What the binary links, by the names of its crates.
fn linked(more: &[&str]) -> String {
    let tree = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--package", "leeward", "--edges", "normal", "--prefix", "none"])
        .args(more)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    String::from_utf8(tree.stdout).unwrap()
}

#[test]
fn without_the_demo_no_shop_is_linked() {
    assert!(linked(&[]).contains("shop-app"));
    let gateway = linked(&["--no-default-features"]);
    assert!(gateway.contains("leeward-gateway") && !gateway.contains("shop-"), "{gateway}");
}
