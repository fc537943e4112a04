//! Reading what a server's /metrics says.

/// The sum over all label sets of the metrics called one of `names`.
pub(crate) fn sum(text: &str, names: &[&str]) -> f64 {
    let values = text.lines().filter_map(|line| {
        let rest = names.iter().find_map(|name| line.strip_prefix(name))?;
        let value = match rest.strip_prefix('{') {
            Some(labels) => labels.rsplit_once('}')?.1,
            None => rest.strip_prefix(' ')?,
        };
        value.trim().parse::<f64>().ok()
    });
    values.sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn label_sets_are_added_up_and_longer_names_are_not() {
        let text = "# TYPE db_commits gauge\ndb_commits{db=\"a\"} 3.0\ndb_commits{db=\"b\"} 4\n\
                    db_commits_max 9\nbus_commits 2\ndb_syncs 5\n";
        assert_eq!(super::sum(text, &["db_commits", "bus_commits"]), 9.0);
        assert_eq!(super::sum(text, &["db_syncs"]), 5.0);
    }
}
