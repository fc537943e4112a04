//! The admin API, described for programs: `GET /v1/openapi.json`.

use std::sync::LazyLock;

use axum::Json;
use serde_json::Value;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    // A part of the program; a test reads it.
    let mut document: Value = serde_json::from_str(include_str!("openapi.json")).unwrap_or_default();
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    document
});

pub(super) async fn document() -> Json<&'static Value> {
    Json(&DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_path_of_the_admin_api_is_described_and_no_other() {
        let described: BTreeSet<&str> =
            DOCUMENT["paths"].as_object().into_iter().flatten().map(|(path, _)| path.as_str()).collect();
        let routed = super::super::routes(None).known;
        let routed: BTreeSet<String> = routed.into_iter().map(|path| path.replace("{*", "{")).collect();
        assert_eq!(described, routed.iter().map(String::as_str).collect());
    }
}
