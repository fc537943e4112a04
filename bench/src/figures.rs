//! Figures of several rounds as one, and as they are printed.

/// The one in the middle; of an even number the higher of the two.
pub(crate) fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

/// Two digits after the point.
pub(crate) fn round(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}
