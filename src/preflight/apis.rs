//! API versions that Kubernetes removed, and what took their place.

use super::{
    needs::Needs,
    report::{Check, id, some_of},
};

/// One line per release, group and version; the file names its sources.
const TABLE: &str = include_str!("removed.txt");

/// Holds what is known of an API version that is no longer served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Removed {
    /// The first release without it.
    pub(super) release: (u32, u32),
    /// The version to use instead, if there is one.
    pub(super) instead: Option<&'static str>,
}

/// Returns what is known of a kind in an API version; none for all that is served or not Kubernetes' own.
pub(super) fn removed(api_version: &str, kind: &str) -> Option<Removed> {
    TABLE.lines().filter_map(row).find_map(|(release, known, kinds, instead)| {
        let found = known == api_version && kinds.split(',').any(|one| one == kind);
        found.then_some(Removed { release, instead: Some(instead).filter(|instead| *instead != "-") })
    })
}

type Row = ((u32, u32), &'static str, &'static str, &'static str);

fn row(line: &'static str) -> Option<Row> {
    let mut words = line.split_ascii_whitespace();
    let (major, minor) = words.next()?.split_once('.')?;
    let release = (major.parse().ok()?, minor.parse().ok()?);
    Some((release, words.next()?, words.next()?, words.next()?))
}

/// Says what to do about a kind that is no longer served.
pub(super) fn remedy(removed: Option<Removed>) -> String {
    match removed.and_then(|removed| removed.instead) {
        Some(instead) => format!("use {instead}, or a newer version of the chart"),
        None => "use a newer version of the chart, or remove the object".to_owned(),
    }
}

/// Holds the objects against a Kubernetes version by the table alone.
pub(super) fn check(needs: &Needs, version: (u32, u32)) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut coming = Vec::new();
    for ((api_version, kind), places) in needs.kinds() {
        let Some(removed) = removed(api_version, kind) else { continue };
        let (major, minor) = removed.release;
        if removed.release <= version {
            let text =
                format!("{kind} in {api_version} is not served since Kubernetes {major}.{minor}: {}", some_of(places));
            checks.push(Check::failure(id::APIS, text).remedy(remedy(Some(removed))));
        } else {
            coming.push(format!("{kind} in {api_version} (until {major}.{})", minor.saturating_sub(1)));
        }
    }
    if !coming.is_empty() {
        let text = format!("served for now: {}", some_of(coming));
        checks
            .push(Check::warning(id::APIS, text).remedy("plan for newer API versions before the cluster is upgraded"));
    }
    if checks.is_empty() {
        let text = format!("Kubernetes {}.{} removed none of the API versions used", version.0, version.1);
        checks.push(Check::ok(id::APIS, text));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_read() {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count();
        assert_eq!(TABLE.lines().filter_map(row).count(), lines);
        assert!(lines > 30);
    }

    #[test]
    fn removed_versions_are_known_and_served_ones_are_not() {
        let found = removed("policy/v1beta1", "PodDisruptionBudget").unwrap();
        assert_eq!((found.release, found.instead), ((1, 25), Some("policy/v1")));
        assert_eq!(removed("policy/v1beta1", "PodSecurityPolicy").unwrap().instead, None);
        assert_eq!(removed("extensions/v1beta1", "Ingress").unwrap().release, (1, 22));
        assert_eq!(removed("apps/v1", "Deployment"), None);
        assert_eq!(removed("example.com/v1beta1", "Ingress"), None);
    }
}
