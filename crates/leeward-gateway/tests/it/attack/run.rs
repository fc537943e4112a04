//! Plays the cases against a gateway, one after the other.

use super::case::{Area, Case, Expected, HIDDEN, Setup, get};
use super::client::{Answer, Client, Next};
use super::upstream::{Request, Upstream};
use crate::rig::Rig;

/// A gateway in front of the strict upstream.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) rig: Rig,
    pub(crate) upstream: Upstream,
}

impl Stage {
    pub(crate) async fn new(setup: Setup) -> Self {
        let upstream = Upstream::start().await;
        let rig = Rig::start(&yaml(setup, upstream.addr)).await;
        Self { rig, upstream }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.rig.gateway.addr()).await
    }

    /// A plain request on a connection of its own. What reached the upstream before it, in the form of the tables.
    pub(crate) async fn probe(&self) -> Result<Vec<Request>, String> {
        let mut client = self.connect().await;
        client.send(get("/probe", "Connection: close\r\n").as_bytes()).await;
        match client.next().await? {
            Next::Answer(answer) if answer.status == 200 && answer.body == "ok" => {}
            other => return Err(format!("the next request is answered {other:?}")),
        }
        let mut requests: Vec<Request> = self.upstream.log.requests.lock().drain(..).collect();
        let probe = requests.iter().rposition(|request| request.target() == "/probe");
        requests.remove(probe.ok_or("the upstream has not seen the next request")?);
        match self.upstream.log.faults.lock().pop() {
            Some(fault) => Err(format!("the upstream saw {fault}")),
            None => Ok(requests),
        }
    }

    fn seen(&self, requests: &[Request]) -> Result<Vec<String>, String> {
        requests.iter().map(|request| request.seen(&self.upstream.addr.to_string())).collect()
    }
}

fn yaml(setup: Setup, upstream: std::net::SocketAddr) -> String {
    let service = format!(
        "services:\n  s:\n    urls: [\"http://{upstream}\"]\n    circuit_breaker: {{mode: shadow}}\n"
    );
    let plain = "cores: 1\nrate_limits: {address: off, principal: off}\n";
    let root = "routes:\n  - {path: /, service: s}\n";
    let more = match setup {
        Setup::Plain => "limits: {body: 195KiB}\n".to_owned(),
        Setup::Guarded | Setup::KeptSlash => {
            let kept = if setup == Setup::KeptSlash { "unsafe_keep_encoded_slash: true\n" } else { "" };
            format!("{kept}jwt: {{service: s, issuer: users, audience: shop, leeway: 0s}}\n")
        }
        Setup::Keyed => "jwt: {service: s, issuer: users, audience: shop, leeway: 0s}\n\
             api_keys: {file: tests/it/config/callers.keys}\n"
            .to_owned(),
        Setup::Named => "jwt: {service: s, issuer: users, audience: shop, leeway: 0s}\n\
             basic: {file: tests/it/config/callers.passwords, attempts: 1000/s}\n"
            .to_owned(),
        Setup::Issuers => super::algorithm::issuers(),
        Setup::Proxied => "trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]\n".to_owned(),
        Setup::Listed => "trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]\n\
             allow: [127.0.0.0/8, 1.2.3.0/24, \"2001:db8::/32\"]\n\
             deny: [1.2.3.66, \"::ffff:1.2.3.128/121\", \"2001:db8:6::/48\"]\n"
            .to_owned(),
        Setup::Pages => "cors: {origins: [\"https://shop.example\"], credentials: true}\n".to_owned(),
        Setup::AnyPage => "cors: {origins: \"*\"}\n".to_owned(),
        Setup::Sticky => String::new(),
        Setup::Small => {
            "limits: {head: 2KiB, headers: 16, body: 195KiB, head_timeout: 300ms, idle_timeout: 300ms, \
             body_timeout: 300ms, write_timeout: 300ms}\n"
                .to_owned()
        }
        Setup::Hasty => "limits: {body_timeout: 300ms}\n".to_owned(),
    };
    let routes = match setup {
        Setup::Guarded | Setup::Issuers | Setup::Keyed | Setup::Named | Setup::KeptSlash => {
            "  - {path: /admin, service: s, access: \"role:admin\"}\n  \
             - {path: /mine, service: s, access: user}\n  \
             - {path: /strip, service: s, strip_prefix: /strip}\n"
        }
        Setup::Sticky => "  - {path: /side, split: {s: 100%}, sticky: {set_cookie: side}}\n",
        _ => "",
    };
    format!("{plain}{service}{more}{root}{routes}")
}

/// Plays all cases of an area. What fails is told together.
pub(crate) async fn area(area: Area) {
    let cases = super::cases(area);
    let mut failed = Vec::new();
    for setup in Setup::ALL {
        let (broken, mut here): (Vec<&Case>, Vec<&Case>) =
            cases.iter().filter(|case| case.setup == setup).partition(|case| leaves_a_part(&case.expected));
        if broken.is_empty() && here.is_empty() {
            continue;
        }
        // What leaves a part of a request at the upstream comes last: nothing else is to be blamed for it.
        here.extend(broken);
        let stage = Stage::new(setup).await;
        for case in here {
            if let Err(error) = play(&stage, case).await {
                failed.push(format!("{}: {error}", case.name));
            }
        }
        // Nothing comes late.
        match stage.probe().await {
            Ok(late) if late.is_empty() => {}
            late => failed.push(format!("after all of {setup:?}: {late:?}")),
        }
    }
    assert!(failed.is_empty(), "{} of {} cases fail:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

fn leaves_a_part(expected: &Expected) -> bool {
    matches!(expected, Expected::Cut { .. } | Expected::BrokenOff)
}

async fn play(stage: &Stage, case: &Case) -> Result<(), String> {
    let open = stage.upstream.log.bytes_open();
    let mut client = stage.connect().await;
    client.play(&case.steps).await;
    let outcome = outcome(&mut client, case).await;
    let requests = stage.probe().await?;
    let mut seen = stage.seen(&requests)?;
    if outcome? == Went::On {
        let after = seen.pop();
        if !after.as_deref().is_some_and(|after| after.starts_with("GET /after HTTP/1.1\r\n")) {
            return Err(format!("the request after it is not in step: {after:?}"));
        }
    }
    let wanted: &[String] = match &case.expected {
        Expected::Passes(seen) | Expected::Refused { after: seen, .. } => seen,
        Expected::BrokenOff => {
            return if seen.len() == 1 { Ok(()) } else { Err(format!("the upstream saw {seen:?}")) };
        }
        Expected::Cut { .. } | Expected::Answered { .. } | Expected::Closed => &[],
    };
    if seen != wanted {
        return Err(format!("the upstream saw {seen:?}, not {wanted:?}"));
    }
    if !leaves_a_part(&case.expected) && stage.upstream.log.bytes_open() != open {
        return Err("a part of a request reached the upstream".to_owned());
    }
    Ok(())
}

/// What became of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Went {
    /// It served one more request.
    On,
    /// It is closed.
    Down,
}

async fn outcome(client: &mut Client, case: &Case) -> Result<Went, String> {
    match &case.expected {
        Expected::Refused { after, status, why } => {
            for _ in after {
                let answer = final_answer(client).await?;
                check(&answer, 200)?;
            }
            let answer = final_answer(client).await?;
            check(&answer, *status)?;
            headers(&answer, case)?;
            if !answer.names(why) {
                return Err(format!("the answer does not name {why}: {}", answer.body));
            }
            // Whoever breaks a rule of the message itself is not listened to any longer.
            let must_close = !matches!(status, 401 | 403 | 404 | 405 | 429);
            if must_close && !answer.closes() {
                return Err(format!("the connection goes on: {answer:?}"));
            }
            finish(client, &answer).await
        }
        Expected::Cut { status, why } => {
            let answer = final_answer(client).await?;
            check(&answer, *status)?;
            if !answer.names(why) || !answer.closes() {
                return Err(format!("the answer does not name {why}, or does not close: {answer:?}"));
            }
            finish(client, &answer).await
        }
        Expected::Answered { status } => {
            let answer = final_answer(client).await?;
            check(&answer, *status)?;
            headers(&answer, case)?;
            finish(client, &answer).await
        }
        Expected::Passes(seen) => {
            let mut last = None;
            for at in 0..seen.len() {
                let answer = final_answer(client).await?;
                check(&answer, 200)?;
                if at == 0 {
                    headers(&answer, case)?;
                }
                last = Some(answer);
            }
            finish(client, &last.ok_or("a case that passes has a request")?).await
        }
        Expected::Closed => match client.next().await? {
            Next::End { clean: true } => Ok(Went::Down),
            other => Err(format!("it ends in {other:?}")),
        },
        Expected::BrokenOff => match client.next().await? {
            Next::End { clean: false } => Ok(Went::Down),
            other => Err(format!("it ends in {other:?}")),
        },
    }
}

async fn final_answer(client: &mut Client) -> Result<Answer, String> {
    loop {
        match client.next().await? {
            Next::Answer(answer) if answer.status == 100 => {}
            Next::Answer(answer) => return Ok(answer),
            end @ Next::End { .. } => return Err(format!("no answer: {end:?}")),
        }
    }
}

fn check(answer: &Answer, status: u16) -> Result<(), String> {
    let is_whole = answer.all("date").count() == 1 && answer.all("x-request-id").count() == 1;
    if answer.status != status || !is_whole {
        return Err(format!("not {status}, or not whole: {answer:?}"));
    }
    Ok(())
}

fn headers(answer: &Answer, case: &Case) -> Result<(), String> {
    for (name, wanted) in &case.headers {
        let found: Vec<&str> = answer.all(name).collect();
        if found != wanted.iter().copied().collect::<Vec<_>>() {
            return Err(format!("{name} is {found:?}, not {wanted:?}"));
        }
    }
    Ok(())
}

/// A connection that ends says nothing more; one that goes on serves the next request and nothing else.
async fn finish(client: &mut Client, answer: &Answer) -> Result<Went, String> {
    let went = if answer.closes() {
        Went::Down
    } else {
        let after = get("/after", "Connection: close\r\n") + HIDDEN;
        client.send(after.as_bytes()).await;
        let answer = final_answer(client).await?;
        check(&answer, 200)?;
        Went::On
    };
    match client.next().await? {
        Next::End { clean: true } => Ok(went),
        other => Err(format!("after the last answer comes {other:?}")),
    }
}
