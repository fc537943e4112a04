//! What the pages show is taken: every configuration in them parses, whole, in parts, or as a cell of a table.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use leeward_gateway::Config;
use leeward_runtime::Env;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");
const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/any-language/leeward.yaml");
const MIGRATING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/migrating.md");

/// The pages of a folder and of those below it.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(pages(&path));
        } else if path.extension().is_some_and(|it| it == "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The fenced blocks of a page that are YAML, each with the line that it begins at.
fn blocks(page: &str) -> Vec<(usize, String)> {
    let (mut found, mut inside) = (Vec::<(usize, String)>::new(), false);
    for (at, line) in page.lines().enumerate() {
        match (inside, line.trim_end()) {
            (false, "```yaml") => {
                inside = true;
                found.push((at + 2, String::new()));
            }
            (true, "```") => inside = false,
            (true, line) => writeln!(found.last_mut().unwrap().1, "{line}").unwrap(),
            (false, _) => {}
        }
    }
    assert!(!inside, "a block has no end");
    found
}

fn says(text: &str, key: &str) -> bool {
    text.lines().any(|line| line.starts_with(key) && line[key.len()..].starts_with(':'))
}

/// The services that a text names without a URL.
fn named(text: &str) -> Vec<&str> {
    let names = text.split("service: ").skip(1).map(|rest| rest.split([',', '}', '\n', ' ']).next().unwrap());
    let mut names: Vec<&str> = names.filter(|name| !name.contains("://")).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A part of a configuration with what it needs to be one: a route, and the services that it names.
fn whole(part: &str) -> String {
    // A part of a route, or of the list of routes, is shown as it is indented there.
    let (above, inside) = match part {
        part if part.starts_with("    ") => ("routes:\n  - path: /part\n", true),
        part if part.starts_with("  - ") => ("routes:\n", true),
        _ => ("", false),
    };
    let mut text = format!("{above}{part}");
    let part = text.clone();
    let part = part.as_str();
    if !says(part, "services") {
        let versions = if inside { &["orders", "orders-next"][..] } else { &[] };
        let names: BTreeSet<&str> = named(part).into_iter().chain(versions.iter().copied()).collect();
        let services: Vec<_> = names.into_iter().map(|name| format!("{name}: {{}}")).collect();
        writeln!(text, "services: {{{}}}", services.join(", ")).unwrap();
    }
    if !says(part, "routes") {
        text.push_str("routes: [{path: /, service: \"http://127.0.0.1:4001\"}]\n");
    }
    text
}

/// A folder with the files that the pages name, and an environment with their secrets.
fn surroundings() -> (tempfile::TempDir, Env) {
    let folder = tempfile::tempdir().unwrap();
    let partner = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().public_key_pem();
    let files = [
        ("blocked.txt", "198.51.100.7\n"),
        ("partner.pem", &partner),
        ("admin.token", "of-the-pages"),
        ("callers.keys", "# nobody yet\n"),
        ("users.passwords", "# nobody yet\n"),
    ];
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    // What the findings of lint read as a token is there in every environment.
    let env = Env::from_pairs([
        ("LEGACY_SECRET", "a secret of more than 32 bytes of text"),
        ("ADMIN_TOKEN", "of-the-pages"),
        ("PATH", "a-token"),
    ]);
    (folder, env)
}

/// What is wrong with a text, in the surroundings of the pages.
fn mistake(text: &str) -> Option<String> {
    let (folder, env) = surroundings();
    let file = folder.path().join("leeward.yaml");
    std::fs::write(&file, text).unwrap();
    Config::load(&file, &env).err().map(|error| format!("{error}\n---\n{text}"))
}

#[test]
fn every_configuration_in_the_pages_is_one() {
    let (mut count, mut report) = (0, String::new());
    let pages = pages(Path::new(DOCS)).into_iter().chain([README.into(), EXAMPLE.into()]);
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        let blocks = if page.ends_with("leeward.yaml") { vec![(1, text)] } else { blocks(&text) };
        for (line, block) in blocks {
            count += 1;
            if let Some(mistake) = mistake(&whole(&block)) {
                writeln!(report, "{}:{line}: {mistake}", page.display()).unwrap();
            }
        }
    }
    assert!(report.is_empty(), "{report}");
    assert!(count > 60, "only {count} blocks were found");
}

/// A row of a table.
fn cells(row: &str) -> Vec<&str> {
    let row = row.trim().strip_prefix('|').and_then(|row| row.strip_suffix('|')).unwrap();
    row.split('|').map(str::trim).collect()
}

/// The pieces of code of a cell.
fn codes(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// A cell of a table as a configuration: `place` says where in one its options stand.
fn placed(place: &str, codes: &[&str]) -> String {
    let has = |key: &str| codes.iter().any(|code| code.starts_with(key));
    let given = codes.join(", ");
    let unless = |keys: &[&str], text: &'static str| if keys.iter().any(|key| has(key)) { "" } else { text };
    let mut text = match place {
        "top" => codes.join("\n") + "\n",
        "service" => {
            let urls = unless(&["urls:", "dns:"], "urls: [\"http://127.0.0.1:4001\"], ");
            format!("services: {{one: {{{urls}{given}}}}}\nroutes: [{{path: /, service: one}}]\n")
        }
        "route" => {
            let path = unless(&["path:"], "path: /, ");
            let answers = ["service:", "split:", "delivery:", "redirect:", "respond:"];
            let service = unless(&answers, "service: \"http://127.0.0.1:4001\", ");
            format!("routes: [{{{path}{service}{given}}}]\n")
        }
        other => panic!("{other} is no place in a configuration"),
    };
    if has("split:") || has("delivery:") {
        text.push_str("services: {orders: {}, orders-next: {}}\n");
    }
    if place != "top" && given.contains("access:") {
        text.push_str("jwt: {secret: \"env:LEGACY_SECRET\", issuer: legacy}\n");
    }
    text
}

#[test]
fn every_option_in_the_tables_of_migrating_is_one() {
    let page = std::fs::read_to_string(MIGRATING).unwrap();
    let (mut count, mut report) = (0, String::new());
    for (at, line) in page.lines().enumerate().filter(|(_, line)| line.starts_with('|')) {
        let cells = cells(line);
        let [_theirs, place, ours, _differs] = cells[..] else {
            panic!("migrating.md:{}: four cells are wanted, not {}: {line}", at + 1, cells.len())
        };
        let codes = codes(ours);
        if !matches!(place, "top" | "service" | "route") || codes.is_empty() {
            let is_command = ["leeward ", "curl ", "kill "].iter().any(|name| ours[1..].starts_with(name));
            let says_so = match place {
                "where" | "---" => true,
                "command" => is_command,
                place => place.is_empty() && ours.starts_with("none"),
            };
            assert!(says_so, "migrating.md:{}: no option, no command, not `none`: {line}", at + 1);
            continue;
        }
        count += 1;
        if let Some(mistake) = mistake(&whole(&placed(place, &codes))) {
            writeln!(report, "migrating.md:{}: {mistake}", at + 1).unwrap();
        }
    }
    assert!(report.is_empty(), "{report}");
    assert!(count > 60, "only {count} options were found");
}

/// What is said of an option that stands at such a place, as `routes[].deadline` or `services.NAME.retry`.
fn said_of(path: &str) -> String {
    let inside = |value: String, part: &str| match part.strip_suffix("[]") {
        Some(list) => format!("{{{list}: [{value}]}}"),
        None => format!("{{{part}: {value}}}"),
    };
    let text = path.rsplit('.').fold("0".to_owned(), inside);
    Config::parse("a.yaml", &text, &Env::default()).unwrap_err().to_string()
}

#[test]
fn the_settings_that_a_code_names_are_there() {
    let mut count = 0;
    for page in pages(&Path::new(DOCS).join("problems")) {
        let text = std::fs::read_to_string(&page).unwrap();
        let Some((_, settings)) = text.split_once("## Settings") else { continue };
        // What ends in a colon is a word of some other file.
        let codes = codes(settings).into_iter().filter(|code| !code.ends_with(':'));
        let paths = codes.map(|code| code.split(':').next().unwrap());
        for path in paths.filter(|path| path.starts_with(char::is_alphabetic)) {
            count += 1;
            let said = said_of(path);
            let is_none = said.contains("unknown key") || said.contains("is called");
            assert!(!is_none, "{}: {path}: {said}", page.display());
        }
    }
    assert!(count > 40, "only {count} settings were found");
    assert!(said_of("services.NAME.breaker").contains("is called `circuit_breaker`"));
    assert!(said_of("routes[].dedline").contains("unknown key"));
}

#[test]
fn the_readme_leads_to_every_page() {
    let readme = std::fs::read_to_string(README).unwrap();
    for page in pages(Path::new(DOCS)).iter().filter(|page| page.parent() == Some(Path::new(DOCS))) {
        let name = page.file_name().unwrap().to_str().unwrap();
        let is_listed = readme.contains(&format!("(crates/leeward-gateway/docs/{name})"));
        assert!(is_listed, "{name} needs a line in the table of guides of README.md");
    }
    let example = std::fs::read_to_string(EXAMPLE).unwrap();
    assert!(
        readme.contains(&format!("```yaml\n{example}```")),
        "README.md shows another file than the example's"
    );
}

#[test]
fn a_configuration_that_is_none_is_seen() {
    let page = "text\n```yaml\nlistn: 127.0.0.1:80\n```\n```sh\nlisten\n```\n";
    let [(3, block)] = &blocks(page)[..] else { panic!("one block, at line 3") };
    assert!(mistake(&whole(block)).unwrap().contains("did you mean: listen"));
    let row = cells("| `retries` | service | `retry: {max_retires: 2}` | |");
    assert!(mistake(&placed(row[1], &codes(row[2]))).unwrap().contains("did you mean: max_retries"));
}
