//! Secrets stay where they were put: a distinct one of every kind, a gateway that logs as much as it can, and everything that
//! comes out of it and of every command.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{CertificateParams, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

use crate::process::{command, get, get_as, run, run_with, send};

const ADMIN: &str = "secret-of-the-operators-4f1c";
const BUS: &str = "secret-of-the-bus-77ab";
const SHARED: &str = "secret-of-hs256-shared-with-an-issuer-90d2";
const SHARED_IN_ENV: &str = "secret-of-hs256-in-the-environment-31e8";
const PASSWORD: &str = "secret-of-anna-5a5a";
const GUESS: &str = "secret-guess-of-mallory-1b1b";
const COOKIE: &str = "secret-of-a-cookie-c00c";
const QUERY: &str = "secret-of-a-query-d1d1";
const OPAQUE: &str = "secret-opaque-token-e2e2";
const BODY: &str = "secret-of-a-body-f3f3";
const URL_PASSWORD: &str = "secret-of-a-url-a4a4";
const URL_QUERY: &str = "secret-of-a-key-set-b5b5";
const INLINE: &str = "secret-written-into-the-file-c6c6-of-more-than-32";
const CLIENTS_OWN: &str = "secret-header-of-a-client-d7d7";

/// Everything that must not be seen, by what it is.
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    /// Finds none of them in a text.
    fn must_not_be_in(&self, place: &str, text: &str) {
        for (name, secret) in &self.0 {
            let at = text.find(secret.as_str());
            let around = at.map(|at| {
                let line = text[..at].rfind('\n').map_or(0, |line| line + 1);
                text[line..].lines().next().unwrap_or_default()
            });
            assert!(at.is_none(), "{place} shows {name}: {}", around.unwrap_or_default());
        }
    }
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap();
            out.push(if place > chunk.len() { '=' } else { char::from(DIGITS[digit]) });
        }
    }
    out
}

fn token(secret: &str, issuer: &str, lives: bool) -> String {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let end = if lives { now + 600 } else { now - 600 };
    let claims = json!({"sub": "u1", "iss": issuer, "iat": now - 700, "exp": end, "jti": "t1"});
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
}

/// The folder with everything that the configuration names.
struct World {
    folder: TempDir,
    api_key: String,
    secrets: Secrets,
    logins: Vec<(&'static str, String)>,
}

impl World {
    fn new(upstream: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let (_, line, api_key) = run(folder.path(), &[], &["keys", "new", "ci", "role:deploy"]);
        let hash = line.split(' ').nth(1).unwrap().to_owned();
        let api_key = api_key.trim().to_owned();
        write("callers.keys", &line);
        let (_, line, _) = run_with(folder.path(), &["keys", "password", "anna"], &format!("{PASSWORD}\n"));
        let password_hash = line.split(' ').nth(1).unwrap().trim().to_owned();
        write("users.passwords", &line);
        write("hs256.secret", SHARED);
        let mut keys = Vec::new();
        for name in ["edge", "towards"] {
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key);
            write(&format!("{name}.pem"), &certificate.unwrap().pem());
            write(&format!("{name}.key"), &key.serialize_pem());
            // A line of the key's text is enough to tell it by.
            keys.push(key.serialize_pem().lines().nth(1).unwrap().to_owned());
        }
        write("leeward.yaml", &configuration(upstream));
        write("wrong.yaml", &wrong());
        let logins = vec![
            ("a good token", format!("Bearer {}", token(SHARED, "one", true))),
            ("a token of the environment's secret", format!("Bearer {}", token(SHARED_IN_ENV, "two", true))),
            ("a token that has ended", format!("Bearer {}", token(SHARED, "one", false))),
            ("a token of a wrong signature", format!("Bearer {}", token(INLINE, "one", true))),
            ("an opaque token", format!("Bearer {OPAQUE}")),
            ("a right password", format!("Basic {}", base64(&format!("anna:{PASSWORD}")))),
            ("a wrong password", format!("Basic {}", base64(&format!("anna:{GUESS}")))),
            ("a key", format!("ApiKey {api_key}")),
            ("a scheme that nobody knows", format!("Unheard {CLIENTS_OWN}")),
        ];
        let mut all = vec![
            ("the API key", api_key.clone()),
            ("the API key's hash", hash),
            ("the password's hash", password_hash),
            ("the private key of the listener", keys[0].clone()),
            ("the private key towards a service", keys[1].clone()),
        ];
        for (name, secret) in [
            ("the operators' token", ADMIN),
            ("the bus's token", BUS),
            ("a secret of HS256 in a file", SHARED),
            ("a secret of HS256 in the environment", SHARED_IN_ENV),
            ("a password", PASSWORD),
            ("a guess of a password", GUESS),
            ("a cookie", COOKIE),
            ("a parameter", QUERY),
            ("an opaque token", OPAQUE),
            ("a body", BODY),
            ("a password in a URL", URL_PASSWORD),
            ("a key in a URL", URL_QUERY),
            ("a secret in the configuration itself", INLINE),
            ("a header of the client's own", CLIENTS_OWN),
        ] {
            all.push((name, secret.to_owned()));
        }
        for (name, login) in &logins {
            let credential = login.split(' ').nth(1).unwrap();
            // Of a token the signature, which is what makes it one.
            let telling = credential.rsplit('.').next().unwrap();
            all.push((*name, telling.to_owned()));
        }
        Self { folder, api_key, secrets: Secrets(all), logins }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path().join(name)).unwrap_or_default()).into_owned()
    }

    fn env() -> [(&'static str, &'static str); 4] {
        [("ADMIN", ADMIN), ("LEEWARD_BUS_TOKEN", BUS), ("SHARED", SHARED_IN_ENV), ("RUST_BACKTRACE", "1")]
    }

    /// A gateway that says all it can, into files.
    fn gateway(&self) -> Running {
        let file = |name: &str| Stdio::from(File::create(self.path().join(name)).unwrap());
        let args = ["gateway", "--log", "trace", "--data", "own"];
        let mut command = command(self.path(), &Self::env(), &args);
        let child = command.stdout(file("stdout")).stderr(file("stderr")).spawn().unwrap();
        let running = Running(child);
        for _ in 0..1_000 {
            if self.read("stdout").ends_with("ready\n") {
                return running;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        panic!("it does not get ready: {}{}", self.read("stdout"), self.read("stderr"))
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _status = self.0.wait();
    }
}

fn configuration(upstream: SocketAddr) -> String {
    format!(
        "listen:
  - 127.0.0.1:0
  - {{address: \"127.0.0.1:0\", tls: {{certificates: [{{cert: edge.pem, key: edge.key}}]}}}}
admin: {{listen: \"127.0.0.1:0\", token: \"env:ADMIN\", faults: true}}
explain_to: [127.0.0.1]
access_log: {{to: \"file:access.log\"}}
decisions: {{keep: 1000, sample: 100%}}
jwt:
  - {{secret: \"file:hs256.secret\", issuer: one, prefix: \"one:\"}}
  - {{secret: \"env:SHARED\", issuer: two, prefix: \"two:\"}}
api_keys: {{file: callers.keys}}
basic: {{file: users.passwords}}
services:
  here: {{urls: [\"http://{upstream}\"]}}
  there: {{urls: [\"https://127.0.0.1:9\"], retry: off, tls: {{ca: edge.pem, certificate: towards.pem, key: towards.key}}}}
routes:
  - {{path: /here, service: here}}
  - {{path: /mine, service: here, access: user, forward_token: true}}
  - {{path: /role, service: here, access: \"role:deploy\"}}
  - {{path: /there, service: there}}
  - {{path: /kept, split: {{here: 1, there: 0}}, sticky: {{set_cookie: side}}}}
"
    )
}

/// Secrets in the wrong places, each of which is a mistake.
fn wrong() -> String {
    format!(
        "jwt:
  - {{secret: {INLINE}, issuer: one}}
  - {{url: \"https://a:{URL_PASSWORD}@idp.example/keys\", issuer: two, prefix: \"two:\"}}
  - {{url: \"https://idp.example/keys?api_key={URL_QUERY}\", issuer: three, prefix: \"three:\"}}
admin: {{token: {INLINE}}}
services:
  here: {{urls: [\"http://a:{URL_PASSWORD}@127.0.0.1:1\", \"http://127.0.0.1:1/?token={URL_QUERY}\"]}}
routes:
  - {{path: /, service: here}}
  - {{path: /b, redirect: \"https://a:{URL_PASSWORD}@b.example/c\"}}
"
    )
}

/// All that the admin API shows.
const VIEWS: [&str; 13] = [
    "/v1/config",
    "/v1/routes",
    "/v1/limits",
    "/v1/certificates",
    "/v1/services",
    "/v1/holds",
    "/v1/decisions?limit=1000",
    "/v1/delivery",
    "/v1/health",
    "/v1/bus/groups",
    "/metrics",
    "/health",
    "/.well-known/leeward-keys",
];

fn address(said: &str, name: &str) -> SocketAddr {
    let line = said.lines().find_map(|line| line.trim().strip_prefix(name));
    let url = line.map(str::trim).and_then(|line| line.split("://").nth(1));
    url.unwrap_or_else(|| panic!("no {name}: {said}")).trim().parse().unwrap()
}

/// Requests with every credential, in every way that comes to something else; gives what was answered.
fn ask_everything(world: &World, edge: SocketAddr) -> Vec<String> {
    let mut answers = Vec::new();
    let own = format!("cookie: side={COOKIE}; sid={COOKIE}\r\nx-secret: {CLIENTS_OWN}\r\n");
    for path in ["/here", "/mine", "/role", "/there", "/kept", "/nowhere", "/%zz"] {
        let path = format!("{path}?token={QUERY}&api_key={QUERY}&a=b");
        for (_, login) in &world.logins {
            answers.push(send(edge, &path, &format!("authorization: {login}\r\n{own}")));
        }
        answers.push(send(edge, &path, &format!("x-api-key: {}\r\n{own}", world.api_key)));
        answers.push(send(edge, &path, &format!("x-api-key: {CLIENTS_OWN}-{CLIENTS_OWN}\r\n{own}")));
        let both = format!("x-api-key: {}\r\nauthorization: {}\r\n{own}", world.api_key, world.logins[0].1);
        answers.push(send(edge, &path, &both));
        let twice = &world.logins[0].1;
        answers.push(send(
            edge,
            &path,
            &format!("authorization: {twice}\r\nauthorization: {twice}\r\n{own}"),
        ));
        let body = format!("content-length: {}\r\n{own}\r\n{BODY}", BODY.len());
        answers.push(send(edge, &path, &body));
        // What is no request has its head in hand all the same.
        let broken = format!("authorization: {twice}\r\n{own}content-length: 1\r\ncontent-length: 2\r\n");
        answers.push(send(edge, &path, &broken));
    }
    answers
}

fn upstream() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                use std::io::{Read, Write};
                let mut read = [0_u8; 65_536];
                while stream.read(&mut read).is_ok_and(|count| count > 0) {
                    let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine");
                }
            });
        }
    });
    address
}

#[test]
fn no_secret_comes_out_anywhere() {
    let world = World::new(upstream());
    let mut running = world.gateway();
    let said = world.read("stdout");
    let (edge, admin) = (address(&said, "gateway"), address(&said, "admin"));
    let answers = ask_everything(&world, edge);
    let count = |start: &str| answers.iter().filter(|answer| answer.starts_with(start)).count();
    for status in ["200", "400", "401", "404", "503"] {
        assert!(count(&format!("HTTP/1.1 {status}")) > 0, "nothing was answered {status}");
    }
    for answer in &answers {
        // A cookie of the gateway's own goes back to whom it belongs.
        world.secrets.must_not_be_in("an answer", answer);
    }
    for view in VIEWS {
        let shown = get_as(admin, view, ADMIN);
        assert!(shown.starts_with("HTTP/1.1 ") && shown.len() > 100, "{view}: {shown}");
        world.secrets.must_not_be_in(view, &shown);
    }
    world
        .secrets
        .must_not_be_in("the answer to an operator without a token", &get_as(admin, "/v1/config", OPAQUE));
    world.secrets.must_not_be_in("the public health", &get(edge, "/health"));
    // A reload says what it reads.
    std::fs::write(world.path().join("leeward.yaml"), wrong()).unwrap();
    let reload = format!(
        "POST /v1/reload HTTP/1.1\r\nhost: {admin}\r\nauthorization: Bearer {ADMIN}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    let refused = raw(admin, &reload);
    assert!(refused.starts_with("HTTP/1.1 422"), "{refused}");
    world.secrets.must_not_be_in("a refused reload", &refused);
    world.secrets.must_not_be_in("the health after it", &get_as(admin, "/v1/health", ADMIN));
    why(&world, admin, &answers);
    kill_process(Pid::from_child(&running.0), Signal::TERM).unwrap();
    running.0.wait().unwrap();
    for file in ["stdout", "stderr", "access.log"] {
        let text = world.read(file);
        assert!(file != "stderr" || text.len() > 1_000, "the log is empty");
        assert!(file != "access.log" || text.lines().count() > 50, "{text}");
        world.secrets.must_not_be_in(file, &text);
    }
}

fn raw(address: SocketAddr, request: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _may_be_cut = stream.read_to_string(&mut answer);
    answer
}

/// What `leeward why` says of some of the answers.
fn why(world: &World, admin: SocketAddr, answers: &[String]) {
    let admin = format!("http://{admin}");
    let mut told = 0;
    for answer in answers.iter().step_by(7) {
        let Some(id) = answer.lines().find_map(|line| line.strip_prefix("x-request-id: ")) else { continue };
        let env = [("LEEWARD_ADMIN_TOKEN", ADMIN)];
        let (code, said, complaint) = run(world.path(), &env, &["why", id, "--admin", &admin]);
        told += usize::from(code == Some(0));
        world.secrets.must_not_be_in("why", &(said + &complaint));
    }
    assert!(told > 0, "nothing is known of any answer");
}

#[test]
fn no_command_shows_one() {
    let world = World::new(SocketAddr::from(([127, 0, 0, 1], 9)));
    let bearer = format!("authorization: {}", world.logins[0].1);
    let basic = format!("authorization: {}", world.logins[5].1);
    let (key, cookie) = (format!("x-api-key: {}", world.api_key), format!("cookie: sid={COOKIE}"));
    let target = format!("/mine?token={QUERY}");
    let explain = |header: &str| run(world.path(), &World::env(), &["explain", "GET", "/mine", "-H", header]);
    let mut said = vec![explain(&bearer), explain(&basic), explain(&key), explain(&cookie)];
    for args in [
        &["check"][..],
        &["lint", "--level", "note"],
        &["lint", "--level", "note", "--json"],
        &["schema"],
        &["explain"],
        &["check", "wrong.yaml"],
        &["lint", "wrong.yaml"],
        &["explain", "wrong.yaml"],
        &["gateway", "wrong.yaml"],
    ] {
        said.push(run(world.path(), &World::env(), args));
    }
    for (code, out, complaint) in &said {
        assert!(code.is_some() && !(out.is_empty() && complaint.is_empty()));
        world.secrets.must_not_be_in("a command", &format!("{out}{complaint}"));
    }
    // Each misplaced one was seen, and none of them shown.
    let report = &said[said.len() - 4].2;
    for place in [
        "jwt[0].secret",
        "jwt[1].url",
        "jwt[2].url",
        "admin.token",
        "services.here.urls",
        "routes[1].redirect",
    ] {
        assert!(report.contains(place), "{place}: {report}");
    }
    // What a request is forwarded as has its query, by which whoever asks knows it: that is what was typed.
    let (_, out, _) = run(world.path(), &World::env(), &["explain", "GET", &target, "-H", &bearer]);
    assert!(!out.contains(world.logins[0].1.rsplit('.').next().unwrap()), "{out}");
}
