//! One canonical path: what is routed, authorised and forwarded. `/admin` needs a token that no case here has, so that whoever
//! gets there by another spelling gets a 401 or reaches the upstream under a path that is not `/admin`.

use super::case::{Area, Setup, Table, get, seen};

pub(crate) fn table() -> Table {
    let mut table = Table::new(Area::Path);
    guarded(&mut table);
    refused(&mut table);
    forwarded(&mut table);
    kept_slashes(&mut table);
    table
}

/// However `/admin` is written, it is `/admin`.
fn guarded(table: &mut Table) {
    for (name, target) in [
        ("admin-plain", "/admin"),
        ("admin-slash-behind", "/admin/"),
        ("admin-below", "/admin/a"),
        ("admin-dot-segments", "/open/../admin"),
        ("admin-dot-segment-alone", "/./admin"),
        ("admin-dot-segment-behind", "/admin/."),
        ("admin-dot-segments-behind", "/admin/a/.."),
        ("admin-encoded-dot-segments", "/open/%2e%2e/admin"),
        ("admin-half-encoded-dot-segments", "/open/.%2E/admin"),
        ("admin-empty-segment", "//admin"),
        ("admin-empty-segments-and-dots", "/open//a//..//..///admin"),
        ("admin-encoded-letter", "/%61dmin"),
        ("admin-every-letter-encoded", "/%61%64%6d%69%6E"),
        ("admin-query-behind", "/admin?a=/open"),
        ("admin-query-with-dots", "/admin?/../../open"),
        ("admin-absolute-form", "http://t/open/../admin"),
        ("admin-dots-that-end-in-it", "/open/x/../../admin"),
    ] {
        table.refused(name, get(target, ""), 401, "unauthenticated");
    }
}

/// What two servers read in two ways.
fn refused(table: &mut Table) {
    for (name, target) in [
        ("path-above-the-root", "/../admin"),
        ("path-above-the-root-encoded", "/%2e%2e/admin"),
        ("path-above-the-root-twice", "/open/../../admin"),
        ("path-encoded-slash", "/open%2fadmin"),
        ("path-encoded-slash-in-upper-case", "/open%2Fadmin"),
        ("path-encoded-slash-and-dots", "/open/..%2fadmin"),
        ("path-encoded-slash-first", "/%2fadmin"),
        ("path-encoded-back-slash", "/open%5cadmin"),
        ("path-back-slash", "/open\\admin"),
        ("path-back-slash-and-dots", "/open/..\\admin"),
        ("path-back-slash-first", "/\\evil"),
        ("path-escaped-twice-slash", "/open%252fadmin"),
        ("path-escaped-twice-dots", "/open/%252e%252e/admin"),
        ("path-escaped-twice-letter", "/%2561dmin"),
        ("path-escaped-twice-in-pieces", "/open%25%32%46admin"),
        ("path-escaped-three-times", "/open/%25252e%25252e/admin"),
        ("path-parameter", "/admin;a=b"),
        ("path-parameter-on-dots", "/open/..;/admin"),
        ("path-parameter-before-dots", "/open/;a/../admin"),
        ("path-parameter-empty", "/;/admin"),
        ("path-nul", "/admin%00"),
        ("path-nul-and-suffix", "/admin%00.html"),
        ("path-line-break", "/a%0d%0aX-User-Id:%20admin"),
        ("path-line-feed", "/a%0aX"),
        ("path-tab", "/admin%09"),
        ("path-delete", "/admin%7f"),
        ("path-escape-without-digits", "/admin%"),
        ("path-escape-with-one-digit", "/admin%4"),
        ("path-escape-with-letters", "/%zzadmin"),
        ("path-escape-of-microsoft", "/open/%u002e%u002e/admin"),
        ("path-overlong-dots", "/open/%c0%ae%c0%ae/admin"),
        ("path-overlong-slash", "/open/..%c0%afadmin"),
        ("path-overlong-slash-of-three-bytes", "/open/..%e0%80%afadmin"),
        ("path-overlong-slash-of-four-bytes", "/open/..%f0%80%80%afadmin"),
        ("path-overlong-back-slash", "/open/..%c1%9cadmin"),
    ] {
        table.refused(name, get(target, ""), 400, "bad_path");
    }
}

/// What is forwarded is what was matched.
fn forwarded(table: &mut Table) {
    for (name, target, forwarded) in [
        ("dots-are-resolved", "/open/a/../b", "/open/b"),
        ("empty-segments-are-merged", "/open///b", "/open/b"),
        ("escape-of-a-letter-is-resolved", "/open/%41%7e", "/open/A~"),
        ("escape-in-lower-case", "/open/%c3%a9", "/open/%C3%A9"),
        ("three-dots-are-a-name", "/open/...", "/open/..."),
        ("dots-within-a-name", "/open/a..b", "/open/a..b"),
        ("encoded-semicolon-stays", "/open/%3Ba", "/open/%3Ba"),
        ("encoded-question-mark-stays", "/open/%3fa=b", "/open/%3Fa=b"),
        ("encoded-hash-stays", "/open/%23a", "/open/%23a"),
        ("encoded-percent-stays", "/open/100%25", "/open/100%25"),
        ("encoded-space-stays", "/open/a%20b", "/open/a%20b"),
        ("query-is-not-touched", "/open?a=../..//%2e%2e%2f;x\\&b=%00", "/open?a=../..//%2e%2e%2f;x\\&b=%00"),
        ("query-stays-when-the-path-changes", "/open/./a?b=/../c", "/open/a?b=/../c"),
        ("upper-case-is-another-name", "/ADMIN", "/ADMIN"),
        ("longer-is-another-name", "/administration", "/administration"),
        ("encoded-space-behind-is-another-name", "/admin%20", "/admin%20"),
        ("absolute-form-goes-as-path", "http://t/open/./b?c", "/open/b?c"),
        ("absolute-form-without-path", "http://t", "/"),
        ("absolute-form-without-path-but-query", "http://t?a=b", "/?a=b"),
        ("prefix-is-stripped", "/strip/b", "/b"),
        ("prefix-is-stripped-to-the-root", "/strip", "/"),
        ("prefix-is-stripped-once", "/strip/strip/b", "/strip/b"),
        ("prefix-and-slashes-make-no-host", "/strip//evil/b", "/evil/b"),
        ("prefix-and-dots", "/strip/a/../b", "/b"),
        ("prefix-encoded", "/%73trip/b", "/b"),
        ("prefix-of-a-longer-name-stays", "/stripped", "/stripped"),
    ] {
        table.passes(name, get(target, ""), [seen(&format!("GET {forwarded}"), &[], "")]);
    }
}

/// Where an encoded slash is kept, it is kept as it is.
fn kept_slashes(table: &mut Table) {
    table.setup = Setup::KeptSlash;
    table.passes("kept-slash-stays-encoded", get("/open%2fadmin", ""), [seen("GET /open%2Fadmin", &[], "")]);
    table.passes("kept-slash-is-not-the-prefix", get("/strip%2Fb", ""), [seen("GET /strip%2Fb", &[], "")]);
    for (name, target) in [
        ("kept-slash-does-not-walk", "/open/..%2fadmin"),
        ("kept-slash-does-not-walk-encoded", "/open/%2e%2e%2fadmin"),
        ("kept-slash-ends-in-dots", "/open/a%2f.."),
        ("kept-slash-first", "/%2fadmin"),
        ("kept-slash-twice", "/open%2f%2fadmin"),
        ("kept-slash-escaped-twice", "/open%252fadmin"),
    ] {
        table.refused(name, get(target, ""), 400, "bad_path");
    }
}
