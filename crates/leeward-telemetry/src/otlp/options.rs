use std::collections::HashMap;
use std::time::Duration;

use http::Uri;
use percent_encoding::percent_decode_str;

const SDK_DISABLED: &str = "OTEL_SDK_DISABLED";
const TRACES_EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";

/// Where spans are sent and which. From the standard environment keys: see [`Options::from_lookup`].
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The full URL of the traces endpoint.
    pub endpoint: Uri,
    /// Headers to send along, such as a token.
    pub headers: HashMap<String, String>,
    /// How long one attempt to send a batch may take. Default 10 s, as the specification has it.
    pub timeout: Duration,
    /// The share of traces to record, from 0 to 1. Default all.
    pub share: f64,
    /// Attributes of every service's resource, besides its name.
    pub attributes: Vec<(String, String)>,
}

/// A key whose value cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("environment {key}: `{given}` is not usable; allowed: {allowed}")]
pub struct Error {
    /// The environment key.
    pub key: String,
    /// Its value.
    pub given: String,
    /// What it may be.
    pub allowed: &'static str,
}

impl Options {
    /// The options for an endpoint, all else at its default.
    #[must_use]
    pub fn new(endpoint: Uri) -> Self {
        let timeout = Duration::from_secs(10);
        Self { endpoint, headers: HashMap::new(), timeout, share: 1.0, attributes: Vec::new() }
    }

    /// Reads the OpenTelemetry keys through `lookup`, which is how the environment comes in without this
    /// crate reading it.
    ///
    /// `None` without an endpoint, with `OTEL_SDK_DISABLED=true`, or with `OTEL_TRACES_EXPORTER=none`. Read
    /// are the endpoint, headers, timeout and protocol in their `OTEL_EXPORTER_OTLP_TRACES_` and
    /// `OTEL_EXPORTER_OTLP_` forms, the first before the second; `OTEL_TRACES_SAMPLER` with its `_ARG`; and
    /// `OTEL_RESOURCE_ATTRIBUTES`. A service's name is its own, since one process hosts several:
    /// `OTEL_SERVICE_NAME` is not read.
    ///
    /// # Errors
    /// The first key whose value cannot be used.
    pub fn from_lookup<'e>(lookup: impl Fn(&str) -> Option<&'e str>) -> Result<Option<Self>, Error> {
        let keys = Keys { lookup };
        if keys.is_off() {
            return Ok(None);
        }
        let Some(endpoint) = keys.endpoint()? else { return Ok(None) };
        keys.check_protocol()?;
        let mut options = Self::new(endpoint);
        if let Some((key, given)) = keys.otlp("HEADERS") {
            options.headers = pairs(&key, given)?.into_iter().collect();
        }
        if let Some((key, given)) = keys.otlp("TIMEOUT") {
            let millis = given.parse().ok().filter(|millis| *millis > 0);
            let millis = millis.ok_or_else(|| refused(&key, given, "milliseconds, at least 1"))?;
            options.timeout = Duration::from_millis(millis);
        }
        if let Some(given) = keys.get(RESOURCE_ATTRIBUTES) {
            options.attributes = pairs(RESOURCE_ATTRIBUTES, given)?;
            options.attributes.retain(|(name, _)| name != "service.name");
        }
        options.share = keys.share()?;
        Ok(Some(options))
    }
}

struct Keys<F> {
    lookup: F,
}

impl<'e, F: Fn(&str) -> Option<&'e str>> Keys<F> {
    fn get(&self, key: &str) -> Option<&'e str> {
        (self.lookup)(key).map(str::trim).filter(|value| !value.is_empty())
    }

    /// A key in its form for traces, else in its general one.
    fn otlp(&self, name: &str) -> Option<(String, &'e str)> {
        let forms = [format!("OTEL_EXPORTER_OTLP_TRACES_{name}"), format!("OTEL_EXPORTER_OTLP_{name}")];
        forms.into_iter().find_map(|key| self.get(&key).map(|value| (key, value)))
    }

    fn is_off(&self) -> bool {
        self.get(SDK_DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || self.get(TRACES_EXPORTER) == Some("none")
    }

    fn endpoint(&self) -> Result<Option<Uri>, Error> {
        let Some((key, given)) = self.otlp("ENDPOINT") else { return Ok(None) };
        // The general key names the base of all signals, the traces key the endpoint itself.
        let url = match key.contains("TRACES") {
            true => given.to_owned(),
            false => format!("{}/v1/traces", given.trim_end_matches('/')),
        };
        let is_http = |url: &Uri| url.scheme_str() == Some("http") && url.authority().is_some();
        let url = url.parse::<Uri>().ok().filter(is_http);
        let allowed = "an http:// URL; for https, send to a collector beside this process";
        url.map(Some).ok_or_else(|| refused(&key, given, allowed))
    }

    fn check_protocol(&self) -> Result<(), Error> {
        match self.otlp("PROTOCOL") {
            Some((key, given)) if given != "http/protobuf" => Err(refused(&key, given, "http/protobuf")),
            _ => Ok(()),
        }
    }

    fn share(&self) -> Result<f64, Error> {
        let Some(sampler) = self.get(SAMPLER) else { return Ok(1.0) };
        match sampler {
            "always_on" | "parentbased_always_on" => Ok(1.0),
            "always_off" | "parentbased_always_off" => Ok(0.0),
            "traceidratio" | "parentbased_traceidratio" => {
                let Some(given) = self.get(SAMPLER_ARG) else { return Ok(1.0) };
                let share = given.parse().ok().filter(|share| (0.0..=1.0).contains(share));
                share.ok_or_else(|| refused(SAMPLER_ARG, given, "a number from 0 to 1"))
            }
            _ => Err(refused(
                SAMPLER,
                sampler,
                "always_on, always_off or traceidratio, each also with parentbased_ before it",
            )),
        }
    }
}

/// `key=value` pairs with commas between, values percent-encoded.
fn pairs(key: &str, text: &str) -> Result<Vec<(String, String)>, Error> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        Some((name.trim().to_owned(), value.into_owned()))
    };
    let pairs = text.split(',').filter(|part| !part.trim().is_empty()).map(pair).collect::<Option<_>>();
    // What stands there may be a token: it is not repeated in the message.
    pairs.ok_or_else(|| refused(key, "(hidden)", "name=value pairs with commas between"))
}

fn refused(key: &str, given: &str, allowed: &'static str) -> Error {
    Error { key: key.to_owned(), given: given.to_owned(), allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &'static str)]) -> Result<Option<Options>, Error> {
        Options::from_lookup(|key| pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| *value))
    }

    #[test]
    fn without_an_endpoint_there_is_no_export() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), Ok(None));
        for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"), off]), Ok(None));
        }
    }

    #[test]
    fn the_general_endpoint_gets_the_path_and_the_traces_endpoint_is_as_given() {
        let endpoint = |pairs: &[(&str, &'static str)]| read(pairs).unwrap().unwrap().endpoint.to_string();
        let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/");
        assert_eq!(endpoint(&[general]), "http://c:4318/v1/traces");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://d:1/x");
        assert_eq!(endpoint(&[general, traces]), "http://d:1/x");
    }

    #[test]
    fn the_other_keys_are_read() {
        let options = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x, tenant=a"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=ignored"),
        ]);
        let options = options.unwrap().unwrap();
        assert_eq!(options.headers["authorization"], "Bearer x");
        assert_eq!(options.headers["tenant"], "a");
        assert_eq!(options.timeout, Duration::from_millis(2500));
        assert!((options.share - 0.25).abs() < f64::EPSILON);
        assert_eq!(options.attributes, [("deployment.environment.name".to_owned(), "test".to_owned())]);
    }

    #[test]
    fn a_value_that_cannot_be_used_names_its_key() {
        let table = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "nonsense"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a-token-without-a-name"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ];
        for (key, given) in table {
            let error = read(&[(key, given), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318")]).unwrap_err();
            assert_eq!(error.key, key);
            assert!(!error.to_string().contains("a-token"), "{error}");
        }
    }
}
