//! The answer of `bundle diff` as titled tables: one content, shown as text or as Markdown.

use super::{place, ui};
use crate::{
    audit::{ChartChange, Coverage, Diff, ImageAt, ImageReasons, Needed},
    discover::Finding,
};

/// Titled tables and lists.
#[derive(Default)]
pub(super) struct Sections {
    sections: Vec<Section>,
    /// Everything in one line.
    pub(super) summary: String,
}

struct Section {
    title: &'static str,
    headers: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Sections {
    fn add(&mut self, title: &'static str, headers: &[&'static str], rows: Vec<Vec<String>>) {
        if !rows.is_empty() {
            self.sections.push(Section { title, headers: headers.to_vec(), rows });
        }
    }

    /// Lays the tables out for a terminal.
    pub(super) fn text(&self, old: &str, new: &str) -> String {
        let mut text = String::new();
        for section in &self.sections {
            text.push_str(&format!("{}\n", section.title));
            text.push_str(&ui::table(&section.headers, section.rows.iter().cloned()));
            text.push('\n');
        }
        text.push_str(&self.last_line(old, new));
        text
    }

    /// Lays the tables out for a pull request.
    pub(super) fn markdown(&self, old: &str, new: &str) -> String {
        let mut text =
            format!("# {} → {}\n\n{}\n", ui::markdown(old), ui::markdown(new), self.last_line(old, new).trim_end());
        for section in &self.sections {
            text.push_str(&format!("\n## {}\n\n", section.title));
            text.push_str(&ui::markdown_table(&section.headers, &section.rows));
        }
        text
    }

    fn last_line(&self, old: &str, new: &str) -> String {
        match self.summary.as_str() {
            "" => ui::clean(&format!("{old} and {new} hold the same")) + "\n",
            summary => ui::clean(summary) + "\n",
        }
    }
}

/// Returns the best reason of several, and how many more there are.
fn why(reasons: &[Finding]) -> String {
    let best = reasons.iter().min_by_key(|reason| reason.confidence);
    let best = best.map(|reason| format!("{reason} ({})", reason.confidence)).unwrap_or_default();
    match reasons.len().saturating_sub(1) {
        0 => best,
        more => format!("{best} and {more} more"),
    }
}

fn versions(images: &[ImageAt]) -> String {
    let one = |image: &ImageAt| image.image.tag.as_ref().map_or_else(|| image.digest.short(), ToString::to_string);
    images.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn size(bytes: Option<u64>) -> String {
    bytes.map(ui::size).unwrap_or_default()
}

/// Writes how a size changed: nothing when it is not known.
fn sizes(from: Option<u64>, to: Option<u64>) -> String {
    match (from, to) {
        (Some(from), Some(to)) if from == to => ui::size(to),
        (Some(from), Some(to)) => format!("{} → {}", ui::size(from), ui::size(to)),
        (None, Some(one)) | (Some(one), None) => ui::size(one),
        (None, None) => String::new(),
    }
}

/// Adds up the sizes of images, when all are known.
fn sum(images: &[ImageAt]) -> Option<u64> {
    images.iter().map(|image| image.size).sum()
}

/// Shows what changed.
pub(super) fn of_diff(diff: &Diff) -> Sections {
    let mut sections = Sections::default();
    let properties = diff.properties.iter().map(|one| vec![one.what.to_owned(), one.from.clone(), one.to.clone()]);
    sections.add("Bundle", &["what", "from", "to"], properties.collect());
    let mut rows = Vec::new();
    for one in &diff.images.added {
        let because = why(&one.because);
        rows.push(vec![
            one.image.to_string(),
            "added".into(),
            String::new(),
            one.digest.short(),
            size(one.size),
            because,
        ]);
    }
    for one in &diff.images.removed {
        let because = why(&one.because);
        rows.push(vec![
            one.image.to_string(),
            "removed".into(),
            one.digest.short(),
            String::new(),
            size(one.size),
            because,
        ]);
    }
    for one in &diff.images.versions {
        let change = one.jump.map_or_else(|| "version".to_owned(), |jump| format!("version, {}", jump.as_str()));
        let all: Vec<Finding> = one.to.iter().flat_map(|image| image.because.clone()).collect();
        let (from, to) = (versions(&one.from), versions(&one.to));
        rows.push(vec![one.repository.clone(), change, from, to, sizes(sum(&one.from), sum(&one.to)), why(&all)]);
    }
    for one in &diff.images.moved {
        let text = "the same name, other content".to_owned();
        let (from, to) = (one.from.short(), one.to.short());
        rows.push(vec![one.image.to_string(), "moved".into(), from, to, sizes(one.from_size, one.to_size), text]);
    }
    rows.sort();
    sections.add("Images", &["image", "change", "from", "to", "size", "why"], rows);
    sections.add("Reasons", &["image", "change", "reason"], diff.images.reasons.iter().flat_map(reasons).collect());
    let charts = &diff.charts;
    let mut rows = Vec::new();
    for (change, list) in [
        ("added", &charts.added),
        ("removed", &charts.removed),
        ("version", &charts.versions),
        ("other content", &charts.moved),
        ("other reasons", &charts.reasons),
    ] {
        rows.extend(list.iter().map(|one| chart(change, one)));
    }
    rows.sort();
    sections.add("Charts", &["chart", "change", "from", "to", "size", "source"], rows);
    let files = diff.files.iter().map(|one| {
        let change = match (one.from_size, one.to_size) {
            (None, _) => "added".to_owned(),
            (_, None) => "removed".to_owned(),
            _ => {
                let parts =
                    [(one.added.len(), "added"), (one.removed.len(), "removed"), (one.changed.len(), "changed")];
                let parts = parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
                parts.collect::<Vec<_>>().join(", ")
            }
        };
        vec![one.file.clone(), change, sizes(one.from_size, one.to_size)]
    });
    sections.add("Files", &["file", "change", "size"], files.collect());
    let decisions = diff.not_carried.iter().map(|one| {
        let said = |why: Option<crate::lock::Why>| why.map(|why| why.to_string()).unwrap_or_default();
        vec![one.image.to_string(), said(one.from), said(one.to)]
    });
    sections.add("Found and not carried", &["image", "was", "is"], decisions.collect());
    if let Some(size) = &diff.size {
        let row = |what: &str, bytes: u64| vec![what.to_owned(), ui::size(bytes)];
        let mut rows = vec![row("before", size.from), row("now", size.to), row("new content", size.new)];
        rows.extend([row("in both", size.shared), row("not needed any more", size.gone)]);
        if !diff.is_empty() {
            sections.add("Content", &["what", "size"], rows);
        }
    }
    let images = &diff.images;
    sections.summary = counted(&[
        (images.added.len(), "image added", "images added"),
        (images.removed.len(), "image removed", "images removed"),
        (images.versions.len(), "repository with other versions", "repositories with other versions"),
        (images.moved.len(), "image moved", "images moved"),
        (images.reasons.len(), "image with other reasons", "images with other reasons"),
        (
            charts.added.len()
                + charts.removed.len()
                + charts.versions.len()
                + charts.moved.len()
                + charts.reasons.len(),
            "chart changed",
            "charts changed",
        ),
        (diff.files.len(), "file set changed", "file sets changed"),
        (diff.not_carried.len(), "decision changed", "decisions changed"),
        (diff.properties.len(), "property changed", "properties changed"),
    ]);
    sections
}

fn reasons(one: &ImageReasons) -> Vec<Vec<String>> {
    let name = one.image.to_string();
    let line = |change: &str, reason: &Finding| {
        vec![name.clone(), change.to_owned(), format!("{reason} ({})", reason.confidence)]
    };
    let mut rows: Vec<Vec<String>> = one.gained.iter().map(|reason| line("gained", reason)).collect();
    rows.extend(one.lost.iter().map(|reason| line("lost", reason)));
    if let Some((from, to)) = &one.source {
        let said =
            |place: &Option<crate::oci::Reference>| place.as_ref().map_or_else(|| name.clone(), ToString::to_string);
        rows.push(vec![name.clone(), "source".to_owned(), format!("{} → {}", said(from), said(to))]);
    }
    if let Some((from, to)) = &one.signers {
        let said = |keys: &[String]| if keys.is_empty() { "nobody".to_owned() } else { keys.join(", ") };
        rows.push(vec![name, "signed by".to_owned(), format!("{} → {}", said(from), said(to))]);
    }
    rows
}

fn chart(change: &str, one: &ChartChange) -> Vec<String> {
    let change = one.jump.map_or_else(|| change.to_owned(), |jump| format!("{change}, {}", jump.as_str()));
    let is_content = change == "other content";
    let side = |list: &[crate::audit::ChartAt]| {
        let one = |chart: &crate::audit::ChartAt| match is_content {
            true => format!("{} {}", chart.version, chart.archive.short()),
            false => chart.version.clone(),
        };
        list.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    let bytes = |list: &[crate::audit::ChartAt]| (!list.is_empty()).then(|| list.iter().map(|chart| chart.size).sum());
    let source = one.to.last().or(one.from.last()).map(|chart| chart.source.clone()).unwrap_or_default();
    vec![one.chart.clone(), change, side(&one.from), side(&one.to), sizes(bytes(&one.from), bytes(&one.to)), source]
}

/// Shows how well a list covers what is needed.
pub(super) fn of_coverage(coverage: &Coverage) -> Sections {
    let mut sections = Sections::default();
    let missing = coverage.missing.iter().map(|one| vec![one.image.to_string(), one.digest.short(), why(&one.because)]);
    sections.add("Missing: needed and not listed", &["image", "digest", "why"], missing.collect());
    let versions = coverage.versions.iter().map(|one| {
        let tag = |image: &crate::oci::Reference| match (&image.tag, &image.digest) {
            (Some(tag), _) => tag.to_string(),
            (None, Some(digest)) => digest.short(),
            (None, None) => String::new(),
        };
        let listed: Vec<String> =
            one.listed.iter().map(|one| format!("{} ({})", tag(&one.image), place(&one.at))).collect();
        let needed: Vec<String> = one.needed.iter().map(|one| tag(&one.image)).collect();
        let all: Vec<Finding> = one.needed.iter().flat_map(|one: &Needed| one.because.clone()).collect();
        vec![one.repository.clone(), listed.join(", "), needed.join(", "), why(&all)]
    });
    sections.add("Other versions", &["repository", "listed", "needed", "why"], versions.collect());
    let moved = coverage.moved.iter().map(|one| {
        let listed = one.listed.image.digest.map(|digest| digest.short()).unwrap_or_default();
        vec![one.listed.written.clone(), listed, one.pinned.short(), place(&one.listed.at)]
    });
    sections.add("Other digests", &["image", "listed", "pinned", "place"], moved.collect());
    let stale = coverage.stale.iter().map(|one| {
        let note = one.not_carried.as_ref().map(|known| {
            let first = known.because.first().map(ToString::to_string).unwrap_or_default();
            format!("found, and not carried: {} {first}", known.why)
        });
        vec![one.image.to_string(), one.written.clone(), place(&one.at), note.unwrap_or_default()]
    });
    let headers = ["image", "written", "place", "note"];
    sections.add("Stale: listed, and nothing that is carried needs it", &headers, stale.collect());
    for (title, list) in
        [("Charts", &coverage.charts), ("Files", &coverage.files), ("Not compared", &coverage.not_compared)]
    {
        let rows = list
            .iter()
            .map(|one| vec![one.what.clone(), one.at.as_ref().map(place).unwrap_or_default(), one.why.clone()]);
        sections.add(title, &["what", "place", "why"], rows.collect());
    }
    let mut summary = counted(&[
        (coverage.missing.len(), "image is missing", "images are missing"),
        (coverage.versions.len(), "repository has other versions", "repositories have other versions"),
        (coverage.moved.len(), "image has another digest", "images have other digests"),
        (coverage.stale.len(), "image is stale", "images are stale"),
        (coverage.charts.len(), "chart differs", "charts differ"),
        (coverage.files.len(), "file differs", "files differ"),
    ]);
    if summary.is_empty() && !coverage.not_compared.is_empty() {
        summary = format!("the list holds the {} that are needed", ui::count(coverage.covered, "image"));
    }
    if !summary.is_empty() && !coverage.not_compared.is_empty() {
        summary.push_str(&format!(
            "; {} cannot be compared",
            ui::count(coverage.not_compared.len(), "entry").replace("entrys", "entries")
        ));
    }
    sections.summary = summary;
    sections
}

fn counted(counts: &[(usize, &str, &str)]) -> String {
    let said = counts.iter().filter(|(count, _, _)| *count > 0);
    let said = said.map(|(count, one, many)| format!("{count} {}", if *count == 1 { one } else { many }));
    said.collect::<Vec<_>>().join(", ")
}
