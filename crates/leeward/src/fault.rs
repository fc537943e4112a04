//! `leeward fault`: outages on purpose.

use http::Method;
use leeward_runtime::units;
use serde_json::{Value, json};

use crate::Error;
use crate::admin::Api;
use crate::cli;

/// The shop's outside payment provider, as the directory has it.
const PROVIDER: &str = "provider";

/// What goes wrong, as the command line says it.
#[derive(Debug, Default, PartialEq)]
struct Wanted {
    latency_ms: u64,
    errors: u8,
    refuse: u8,
    lost_replies: u8,
    refuse_refunds: bool,
    lasts_s: Option<u32>,
}

/// Shows, sets or ends the faults of one service.
pub(crate) fn run(fault: &cli::Fault) -> Result<(), Error> {
    let api = Api::new(&fault.admin)?;
    let wanted = parse(&fault.faults)?;
    let is_provider = fault.target == PROVIDER;
    let url = if is_provider {
        format!("{}/faults", provider(&api)?)
    } else {
        service(&fault.admin, &fault.target)
    };
    let now = if fault.faults.is_empty() && !fault.clear {
        api.send(Method::GET, &url, None)?
    } else {
        let body = if is_provider { of_provider(&wanted)? } else { of_service(&wanted)? };
        api.send(Method::PUT, &url, Some(&body))?;
        body
    };
    println!("{}: {now}", fault.target);
    Ok(())
}

fn service(admin: &cli::Admin, name: &str) -> String {
    format!("{}/v1/services/{name}/_leeward/faults", admin.admin.trim_end_matches('/'))
}

/// Where the provider is: it is no service of the platform and has an interface of its own.
fn provider(api: &Api) -> Result<String, Error> {
    let services = api.get("/v1/services")?;
    let found = services.as_array().and_then(|all| all.iter().find(|service| service["name"] == PROVIDER));
    let url = found.and_then(|provider| provider["endpoints"][0]["url"].as_str());
    url.map(|url| url.trim_end_matches('/').to_owned())
        .ok_or_else(|| "nobody knows where the provider is".into())
}

fn of_provider(wanted: &Wanted) -> Result<Value, Error> {
    if wanted.lasts_s.is_some() {
        return Err(
            "faults of the provider last until `leeward fault provider --clear`: leave `lasts` out".into()
        );
    }
    Ok(json!({
        "latency_ms": wanted.latency_ms,
        "error_rate": f64::from(wanted.errors) / 100.0,
        "lost_reply_rate": f64::from(wanted.lost_replies) / 100.0,
        "refuse_all": wanted.refuse > 0,
        "refuse_refunds": wanted.refuse_refunds,
    }))
}

fn of_service(wanted: &Wanted) -> Result<Value, Error> {
    if wanted.refuse_refunds {
        return Err("`refuse-refunds` is for the provider alone".into());
    }
    if *wanted == Wanted::default() {
        return Ok(json!({}));
    }
    if u32::from(wanted.errors) + u32::from(wanted.refuse) + u32::from(wanted.lost_replies) > 100 {
        return Err(
            "errors, refuse and lost-replies are together at most 100%: a request has one fault".into()
        );
    }
    Ok(json!({ "inbound": {
        "latency_ms": wanted.latency_ms,
        "error_percent": wanted.errors,
        "refuse_percent": wanted.refuse,
        "lost_reply_percent": wanted.lost_replies,
        "lasts_s": wanted.lasts_s.unwrap_or_default(),
    }}))
}

/// Reads `latency=2s errors=50% refuse lost-replies=100% refuse-refunds lasts=5m`.
fn parse(words: &[String]) -> Result<Wanted, Error> {
    let mut wanted = Wanted::default();
    for word in words {
        let (name, value) = word.split_once('=').unwrap_or((word, "100%"));
        match name {
            "latency" => {
                let latency = units::duration(value)
                    .ok_or_else(|| format!("`{word}` is no duration: write latency=2s"))?;
                wanted.latency_ms = u64::try_from(latency.as_millis())?;
            }
            "errors" => wanted.errors = percent(word, value)?,
            "refuse" => wanted.refuse = percent(word, value)?,
            "lost-replies" => wanted.lost_replies = percent(word, value)?,
            "refuse-refunds" => wanted.refuse_refunds = true,
            "lasts" => {
                let lasts = units::duration(value)
                    .filter(|lasts| lasts.as_secs() > 0)
                    .ok_or_else(|| format!("`{word}` is no time of a second or more: write lasts=5m"))?;
                wanted.lasts_s = Some(u32::try_from(lasts.as_secs())?);
            }
            _ => {
                let known = "latency=2s, errors=50%, refuse, lost-replies=100%, lasts=5m; and refuse-refunds for the provider";
                return Err(format!("`{word}` is no fault: take one of {known}").into());
            }
        }
    }
    Ok(wanted)
}

fn percent(word: &str, value: &str) -> Result<u8, Error> {
    let number = value.strip_suffix('%').and_then(|number| number.parse::<u8>().ok());
    number
        .filter(|percent| *percent <= 100)
        .ok_or_else(|| format!("`{word}` needs a percentage from 0% to 100%").into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    #[cfg(feature = "demo")]
    fn the_provider_is_the_shops() {
        assert_eq!(PROVIDER, shop_app::PROVIDER);
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn faults_are_read() {
        let wanted = parse(&words("latency=1500ms errors=50% refuse=30% lost-replies=7% lasts=2m")).unwrap();
        assert_eq!(wanted.latency_ms, 1_500);
        assert_eq!((wanted.errors, wanted.refuse, wanted.lost_replies), (50, 30, 7));
        assert_eq!(of_service(&wanted).unwrap()["inbound"]["lasts_s"], 120);
        assert!(of_provider(&wanted).is_err(), "the provider knows no end");
        assert!(of_service(&parse(&words("refuse-refunds")).unwrap()).is_err());
        assert!(of_service(&parse(&words("errors=50% refuse")).unwrap()).is_err(), "150%");
        assert_eq!(of_service(&parse(&words("refuse")).unwrap()).unwrap()["inbound"]["refuse_percent"], 100);
    }

    #[test]
    fn a_mistake_names_the_word_and_what_is_allowed() {
        for (text, names) in [
            ("latancy=2s", "latency=2s"),
            ("errors=101%", "0% to 100%"),
            ("latency=2", "latency=2s"),
            ("lasts=0s", "lasts=5m"),
        ] {
            let error = parse(&words(text)).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains(names), "{error}");
        }
    }
}
