//! Reading what is said of a route that is going away.

use http::{HeaderValue, Uri};
use leeward_runtime::config::Node;

use crate::deprecation::{Day, Deprecated};

const DAY: &str = "YEAR-MONTH-DAY, as 2026-01-31, from 1970 on";

pub(super) fn deprecated(node: &Node<'_>) -> Option<Deprecated> {
    if !node.is_given() {
        return None;
    }
    let since: Option<Day> = node.get("since").required().parse("a day", DAY);
    let sunset_node = node.get("sunset");
    let sunset: Option<Day> = sunset_node.parse("a day", DAY);
    let link = node.get("link").parse_with("a link", "a path, or a URL with http or https", link);
    if let (Some(since), Some(sunset)) = (since, sunset)
        && sunset < since
    {
        sunset_node
            .reject(format_args!("is before `since`, which is {since}"), "the same day, or a later one");
    }
    Some(Deprecated { since: since?, sunset, link })
}

/// What stands between `<` and `>` of a header.
fn link(text: &str) -> Option<HeaderValue> {
    let uri: Uri = text.parse().ok()?;
    let is_link = match uri.scheme_str() {
        Some(scheme) => matches!(scheme, "http" | "https") && uri.host().is_some(),
        None => text.starts_with('/') && !text.starts_with("//"),
    };
    (is_link && !text.contains(['<', '>', '"'])).then(|| HeaderValue::try_from(text).ok())?
}
