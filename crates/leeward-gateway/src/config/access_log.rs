//! The access log's part of the configuration.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use leeward_runtime::config::{Node, nearest};
use leeward_runtime::units::{show_duration, show_percentage, show_size};

use super::parse::{HOUR, MOMENT, set, size};
use super::print::Yaml;
use crate::access::{CHUNK_BYTES, Field, Format, Template};

/// A line for each request. Default: none is written, since it says who did what: that is for an operator to decide. Metrics count
/// all requests in any case.
#[derive(Clone, PartialEq, Debug)]
pub struct AccessLog {
    /// Where it is written.
    pub to: AccessLogTo,
    /// How. Default: JSON with all fields.
    pub format: Format,
    /// The share of requests that are written. Default 100%.
    pub sample: f64,
    /// Whether those that failed here are written anyway: status 500 or above, or an answer that a service broke off. Default: yes.
    pub errors: bool,
    /// Those that took longer are written anyway, off or 1 ms to 1 h. Default 1 s.
    pub slower_than: Option<Duration>,
    /// Names of query parameters whose values are left out, beside those that always are.
    pub redact: Vec<String>,
    /// Bytes of lines that a core holds while the writer is busy, 128 KiB to 256 MiB. Default 1 MiB: some thousand lines.
    pub buffer_bytes: usize,
}

/// Where the access log is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccessLogTo {
    /// The process's standard output.
    Stdout,
    /// The process's standard error.
    Stderr,
    /// A file that is appended to, and made anew when it was moved away.
    File(PathBuf),
}

impl fmt::Display for AccessLogTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::Stderr => f.write_str("stderr"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl AccessLog {
    /// With every default.
    #[must_use]
    pub fn to(to: AccessLogTo) -> Self {
        Self {
            to,
            format: Format::default(),
            sample: 1.0,
            errors: true,
            slower_than: Some(Duration::from_secs(1)),
            redact: Vec::new(),
            buffer_bytes: 1_024 * 1_024,
        }
    }

    /// How many chunks a core has.
    pub(crate) fn chunks(&self) -> usize {
        (self.buffer_bytes / CHUNK_BYTES).max(2)
    }

    /// Whether a request is written whatever the sample says.
    pub(crate) fn always(&self, is_error: bool, took: Duration) -> bool {
        (self.errors && is_error) || self.slower_than.is_some_and(|slow| took > slow)
    }
}

pub(super) fn read(node: &Node<'_>) -> Option<AccessLog> {
    if !node.is_given() {
        return None;
    }
    let to = |text: &str| match text {
        "stdout" => Some(AccessLogTo::Stdout),
        "stderr" => Some(AccessLogTo::Stderr),
        other => other
            .strip_prefix("file:")
            .filter(|path| !path.is_empty())
            .map(|path| AccessLogTo::File(path.into())),
    };
    let to = node.get("to").required().parse_with("a place for a log", "stdout, stderr or file:PATH", to);
    let mut log = AccessLog::to(to.unwrap_or(AccessLogTo::Stdout));
    format(node, &mut log.format);
    set(&mut log.sample, node.get("sample").percentage(0.0..=1.0));
    let always = node.get("always");
    set(&mut log.errors, always.get("errors").bool());
    slower_than(&always.get("slower_than"), &mut log.slower_than);
    log.redact = redact(&node.get("redact"));
    set(&mut log.buffer_bytes, size(&node.get("buffer"), 128 * 1_024, 256 * 1_024 * 1_024));
    Some(log)
}

fn format(node: &Node<'_>, format: &mut Format) {
    let (form, fields) = (node.get("format"), node.get("fields"));
    let template = form.text().filter(|text| text != "json");
    if let Some(text) = &template {
        match Template::parse(text) {
            Ok(template) => *format = Format::Template(template),
            Err(error) => {
                form.reject(error, "json, or a text with fields, as \"{client} {method} {path} {status}\"")
            }
        }
    }
    if !fields.is_given() {
        return;
    }
    let given = fields.texts();
    if template.is_some() {
        fields.reject("goes with `format: json`; a template names its fields itself", "no `fields`");
    } else if given.is_empty() {
        fields.reject("names no field", "one field or more");
    } else if let Some(unknown) = given.iter().find(|name| Field::named(name).is_none()) {
        let names = || Field::ALL.iter().map(|(name, _)| *name);
        let meant =
            nearest(unknown, names()).map(|name| format!("; did you mean `{name}`")).unwrap_or_default();
        fields.reject(
            format_args!("has `{unknown}`, which is not a field{meant}"),
            names().collect::<Vec<_>>().join(", "),
        );
    } else {
        *format = Format::Json(given.iter().filter_map(|name| Field::named(name)).collect());
    }
}

fn slower_than(node: &Node<'_>, slower_than: &mut Option<Duration>) {
    let is_off = node.is_given() && node.texts() == ["off"];
    if is_off {
        *slower_than = None;
    } else if let Some(time) = node.duration(MOMENT..=HOUR) {
        *slower_than = Some(time);
    }
}

fn redact(node: &Node<'_>) -> Vec<String> {
    const NAMES_MAX: usize = 100;
    const NAME_BYTES_MAX: usize = 64;
    let names = node.texts();
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_name = |name: &String| (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fine);
    if let Some(bad) = names.iter().find(|name| !is_name(name)) {
        node.reject(
            format_args!("has `{bad}`, which is not a name of a parameter"),
            format_args!("1 to {NAME_BYTES_MAX} letters, digits, `-` and `_`"),
        );
    }
    if names.len() > NAMES_MAX {
        node.reject("has too many names", format_args!("at most {NAMES_MAX}"));
    }
    names
}

pub(super) fn print(out: &mut Yaml, log: &AccessLog) {
    out.open(0, "access_log");
    out.quoted(1, "to", &log.to.to_string());
    match &log.format {
        Format::Json(fields) => {
            out.line(1, "format", "json");
            out.list(1, "fields", fields.iter().map(|field| field.name().to_owned()));
        }
        Format::Template(template) => out.quoted(1, "format", &template.to_string()),
    }
    out.line(1, "sample", show_percentage(log.sample));
    out.open(1, "always");
    out.line(2, "errors", log.errors);
    out.line(2, "slower_than", log.slower_than.map_or("off".to_owned(), show_duration));
    out.list(1, "redact", log.redact.iter().cloned());
    out.line(1, "buffer", show_size(log.buffer_bytes as u64));
}
