//! The classified requests of `http_desync_guardian`, read from its source where cargo keeps it. What it does not call compliant
//! is refused here, or reaches the upstream in a form that it calls compliant, or as the last request of its connection.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use http_desync_guardian::RequestSafetyTier;
use http_desync_guardian::request_analyzer::HttpRequestData;

use super::case::{HIDDEN, Setup};
use super::client::Next;
use super::run::Stage;

/// One request of its test data.
#[derive(Debug, Default)]
struct Known {
    name: String,
    method: String,
    uri: String,
    version: String,
    headers: Vec<(String, String)>,
    tier: String,
}

impl Known {
    /// With a host if it has none, with the body that its headers seem to announce, and with a request behind it.
    fn bytes(&self) -> Vec<u8> {
        let Self { method, uri, version, headers, .. } = self;
        let mut text = format!("{method} {uri} {version}\r\n");
        let named = |wanted: &str| headers.iter().find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
        if named("host").is_none() {
            text.push_str("Host: t\r\n");
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let length = named("content-length").and_then(|(_, value)| value.trim().parse::<usize>().ok());
        match (named("transfer-encoding"), length) {
            (Some(_), _) => text.push_str("0\r\n\r\n"),
            (None, Some(length)) => text.push_str(&"a".repeat(length.min(10_000))),
            (None, None) => {}
        }
        (text + HIDDEN).into_bytes()
    }
}

/// The platform of this toolchain: what others need for theirs may not be here.
fn platform() -> String {
    let rustc = Command::new("rustc").arg("-vV").output().unwrap();
    let said = String::from_utf8(rustc.stdout).unwrap();
    said.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

/// Where cargo keeps the source.
fn source() -> PathBuf {
    let cargo = Command::new(option_env!("CARGO").unwrap_or("cargo"))
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", &platform()])
        .arg("--manifest-path")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&cargo.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "http_desync_guardian").unwrap();
    PathBuf::from(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
}

/// Its files are lists of maps in a form so plain that lines are enough.
fn read(text: &str) -> Vec<Known> {
    let mut all: Vec<Known> = Vec::new();
    let mut is_expected = false;
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = scalar(value.trim());
        match key {
            "- name" => {
                all.push(Known { name: value, ..Known::default() });
                is_expected = false;
                continue;
            }
            "  expected" => is_expected = true,
            _ => {}
        }
        let Some(known) = all.last_mut() else { continue };
        match key {
            "  uri" => known.uri = value,
            "  method" => known.method = value,
            "  version" => known.version = value,
            "    - name" => known.headers.push((value, String::new())),
            "      value" => known.headers.last_mut().unwrap().1 = value,
            "    tier" if is_expected => known.tier = value,
            _ => {}
        }
    }
    all
}

/// A text, quoted or not, with its escapes.
fn scalar(text: &str) -> String {
    let quoted =
        |mark: char| text.strip_prefix(mark).and_then(|rest| rest.rsplit_once(mark)).map(|(text, _)| text);
    let text = quoted('"').or_else(|| quoted('\'')).unwrap_or(text);
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(next) = chars.next() {
        if next != '\\' {
            out.push(next);
            continue;
        }
        out.push(match chars.next() {
            Some('x') => {
                let digits: String = chars.by_ref().take(2).collect();
                char::from(u8::from_str_radix(&digits, 16).unwrap())
            }
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            other => other.unwrap(),
        });
    }
    out
}

#[tokio::test]
async fn what_others_call_ambiguous_is_refused_or_made_plain() {
    let mut known = Vec::new();
    for file in fs::read_dir(source().join("tests")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            known.extend(read(&fs::read_to_string(path).unwrap()));
        }
    }
    let (compliant, dubious): (Vec<_>, Vec<_>) = known.iter().partition(|known| known.tier == "Compliant");
    let tiers = ["Acceptable", "Ambiguous", "Severe"];
    assert!(
        dubious.len() >= 80 && dubious.iter().all(|known| tiers.contains(&known.tier.as_str())),
        "{known:?}"
    );
    let stage = Stage::new(Setup::Hasty).await;
    let (mut failed, mut refused) = (Vec::new(), 0);
    for case in dubious.iter().chain(&compliant) {
        match play(&stage, case).await {
            Ok(was_refused) => refused += usize::from(was_refused),
            Err(error) => failed.push(format!("{} ({}): {error}", case.name, case.tier)),
        }
    }
    assert!(failed.is_empty(), "{} fail:\n{}", failed.len(), failed.join("\n"));
    // Not everything is refused, and most of what is dubious is.
    assert!(refused > dubious.len() / 2 && refused < known.len(), "{refused} of {} are refused", known.len());
}

/// Whether it was refused.
async fn play(stage: &Stage, case: &Known) -> Result<bool, String> {
    let mut client = stage.connect().await;
    client.asked_for_head = case.method == "HEAD";
    client.send(&case.bytes()).await;
    let Next::Answer(answer) = client.next().await? else { return Err("no answer".to_owned()) };
    let refused = answer.status >= 400;
    if refused {
        match client.next().await? {
            Next::End { clean: true } if answer.closes() => {}
            next => return Err(format!("{} is followed by {next:?}", answer.status)),
        }
    } else if !answer.closes() {
        match client.next().await? {
            Next::Answer(next) if next.status == 200 => {}
            next => return Err(format!("the request behind it is answered {next:?}")),
        }
    }
    drop(client);
    let seen = stage.probe().await?;
    let wanted = match (refused, answer.closes()) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2,
    };
    if seen.len() != wanted || (wanted == 2 && seen[1].target() != "/hidden") {
        return Err(format!("answered {}, and the upstream saw {seen:?}", answer.status));
    }
    for request in &seen {
        let verdict = HttpRequestData::analyze_raw_request(&request.raw_head);
        // What it wants for the others: that nothing follows on the connection.
        let is_last = request.headers.iter().any(|line| line == "connection: close");
        if verdict.tier != RequestSafetyTier::Compliant && !is_last {
            return Err(format!("reaches the upstream in a form that is {:?}: {request:?}", verdict.tier));
        }
    }
    Ok(refused)
}
