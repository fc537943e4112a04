//! The attack matrix: what can be sent to a gateway so that it, or somebody behind it, does what nobody meant.
//!
//! Each case is a row of a table: the bytes, and what must become of them. A case that is refused gets one answer that names the
//! rule, and nothing of it reaches the upstream, which reads as strictly as anybody can. A case that passes is seen there byte for
//! byte as the table says. After each case a plain request goes the same way and must find everything in step.
//! `docs/attacks.md` lists all of them.

mod address;
mod admin;
mod algorithm;
mod answers;
mod case;
mod client;
mod cors;
mod docs;
mod exhaustion;
mod frames;
mod framing;
mod guardian;
mod headers;
mod key;
mod password;
mod path;
mod run;
mod token;
mod upstream;

use self::case::{Area, Case};

/// All cases of an area.
fn cases(area: Area) -> Vec<Case> {
    let table = match area {
        Area::Framing => framing::table(),
        Area::Headers => headers::table(),
        Area::Path => path::table(),
        Area::Address => address::table(),
        Area::Token => token::table(),
        Area::Algorithm => algorithm::table(),
        Area::Key => key::table(),
        Area::Password => password::table(),
        Area::Cors => cors::table(),
        Area::Exhaustion => exhaustion::table(),
    };
    table.cases
}

#[tokio::test]
async fn framing_cases() {
    run::area(Area::Framing).await;
}

#[tokio::test]
async fn headers_cases() {
    run::area(Area::Headers).await;
}

#[tokio::test]
async fn path_cases() {
    run::area(Area::Path).await;
}

#[tokio::test]
async fn address_cases() {
    run::area(Area::Address).await;
}

#[tokio::test]
async fn token_cases() {
    run::area(Area::Token).await;
}

#[tokio::test]
async fn algorithm_cases() {
    run::area(Area::Algorithm).await;
}

#[tokio::test]
async fn key_cases() {
    run::area(Area::Key).await;
}

#[tokio::test]
async fn password_cases() {
    run::area(Area::Password).await;
}

#[tokio::test]
async fn cors_cases() {
    run::area(Area::Cors).await;
}

#[tokio::test]
async fn exhaustion_cases() {
    run::area(Area::Exhaustion).await;
}
