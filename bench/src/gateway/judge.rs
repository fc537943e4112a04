//! Whether a round may count.

use super::case::Case;
use super::engine::Engine;
use super::measure::Sample;

/// Connections to the upstream a request, from which on an engine does not keep them.
const OPENED_SHARE_MAX: f64 = 0.01;

/// What an engine costs, in floors. One outside its band is set up wrongly, or the machine was disturbed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Band {
    engine: Engine,
    least: f64,
    most: f64,
}

impl std::str::FromStr for Band {
    type Err = String;

    /// `nginx=1.4..1.75`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').and_then(|(name, band)| Some((name, band.split_once("..")?)));
        let (name, (least, most)) = parts.ok_or("write ENGINE=LEAST..MOST, as nginx=1.4..1.75")?;
        let engine = name.parse()?;
        let number = |text: &str| text.parse::<f64>().map_err(|error| format!("{text}: {error}"));
        Ok(Self { engine, least: number(least)?, most: number(most)? })
    }
}

/// Everything that is wrong with one case of one round.
pub(super) fn judge(case: &Case, samples: &[(Engine, Sample)], bands: &[Band]) -> Vec<String> {
    let mut faults = Vec::new();
    for (engine, sample) in samples {
        let own = sample.faults.iter().map(|fault| format!("{}: {fault}", engine.name()));
        faults.extend(own);
        if sample.opened_share > OPENED_SHARE_MAX {
            let opened = sample.opened_share;
            faults.push(format!("{}: {opened:.3} connections to the upstream a request", engine.name()));
        }
    }
    let cpu = |wanted: Engine| {
        samples.iter().find(|(engine, _)| *engine == wanted).map(|(_, sample)| sample.cpu_us)
    };
    if case.is_reference()
        && let Some(floor) = cpu(Engine::Floor)
    {
        for Band { engine, least, most } in bands {
            let ratio = cpu(*engine).map(|cpu| cpu / floor);
            if let Some(ratio) = ratio.filter(|ratio| !(least..=most).contains(&ratio)) {
                let name = engine.name();
                faults.push(format!("{name}: {ratio:.2} times the floor, not within {least} to {most}"));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::case::CASES;
    use super::*;

    fn sample(cpu_us: f64, opened_share: f64) -> Sample {
        Sample {
            cpu_us,
            opened_share,
            rps: 1.0,
            p50_ms: 1.0,
            p99_ms: 1.0,
            rss_mib: 1.0,
            core_share: 1.0,
            errors: 0,
            unsent_share: 0.0,
            faults: Vec::new(),
        }
    }

    #[test]
    fn a_peer_outside_its_band_or_without_keep_alive_is_named() {
        let bands = ["nginx=1.4..1.75".parse().unwrap()];
        let faults = |nginx, opened, case: usize| {
            let samples = [(Engine::Floor, sample(10.0, 0.0)), (Engine::Nginx, sample(nginx, opened))];
            judge(&CASES[case], &samples, &bands)
        };
        assert!(faults(16.0, 0.009, 0).is_empty());
        assert_eq!(faults(13.0, 0.0, 0).len(), 1);
        assert_eq!(faults(18.0, 0.02, 0).len(), 2);
        // The bands are those of the first case.
        assert!(faults(30.0, 0.0, 1).is_empty());
    }

    #[test]
    fn bands_are_an_engine_and_two_numbers() {
        for bad in ["nginx", "nginx=1.4", "ngnix=1.4..2", "nginx=a..2"] {
            assert!(bad.parse::<Band>().is_err(), "{bad}");
        }
    }
}
