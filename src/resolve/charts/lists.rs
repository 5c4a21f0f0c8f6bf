//! Lists of images that the authors of charts publish: annotations of `Chart.yaml`, and `Images.lock`.

use super::super::search::Listed;
use crate::{
    discover::{self, Step},
    error::{Diagnostic, Severity},
    helm::Chart,
    spec,
};

/// The file that the distribution tooling for Helm writes.
const LOCK: &str = "Images.lock";

/// Reads the lists of a chart and of those inside. A list that cannot be read is a warning: it is not what decides.
pub(super) fn read(chart: &Chart, found: &mut Vec<Listed>, warnings: &mut Vec<Diagnostic>, entry: &spec::Chart) {
    below(chart, &[], found, &mut |diagnostic: Diagnostic, name: &str| {
        let message = format!("{}: {name}: {}", entry.entry.label, diagnostic.message);
        let at = Some(entry.entry.at.clone());
        warnings.push(Diagnostic { severity: Severity::Warning, message, at, ..diagnostic });
    });
}

fn below(chart: &Chart, above: &[Step], found: &mut Vec<Listed>, warn: &mut dyn FnMut(Diagnostic, &str)) {
    let metadata = &chart.metadata;
    let name = format!("{} {}", metadata.name, metadata.version);
    let mut way = above.to_vec();
    way.push(Step::Chart { chart: metadata.name.clone(), version: metadata.version.clone() });
    let annotations = metadata.annotations.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let mut lists = vec![discover::chart_annotations("Chart.yaml", annotations)];
    let lock = chart.files.iter().find(|file| file.name == LOCK);
    if let Some(text) = lock.and_then(|file| std::str::from_utf8(&file.data).ok()) {
        lists.push(discover::images_lock(LOCK, text));
    }
    let mut findings = Vec::new();
    for list in lists {
        findings.extend(list.findings.into_iter().map(|mut finding| {
            finding.provenance.splice(0..0, way.iter().cloned());
            finding
        }));
        list.diagnostics.into_iter().for_each(|diagnostic| warn(diagnostic, &name));
    }
    if !findings.is_empty() {
        found.push(Listed { findings });
    }
    chart.dependencies.iter().for_each(|inner| below(inner, &way, found, warn));
}
