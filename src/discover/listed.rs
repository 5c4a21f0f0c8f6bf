//! Lists of images that chart authors publish: annotations of Chart.yaml and `Images.lock`.
//!
//! They name what a chart can pull with any values, so they are declared, not rendered: a caller may count those that
//! rendering does not name as optional.

use crate::{
    error::{Diagnostic, Location},
    oci::Reference,
    yaml::{self, Node},
};

use super::{Confidence, Finding, Findings, Step};

/// The annotations that hold such a list: Artifact Hub's, the older name, and Bitnami's.
const LISTS: &[&str] = &["artifacthub.io/images", "helm.sh/images", "images"];

/// Finds the images that the annotations of a Chart.yaml list; `file` names it in provenance.
pub fn chart_annotations<'a>(file: &str, annotations: impl IntoIterator<Item = (&'a str, &'a str)>) -> Findings {
    let mut found = Findings::default();
    for (key, text) in annotations {
        if LISTS.contains(&key) {
            let field = format!("annotations[{key:?}]");
            match yaml::documents(text, &yaml::Options::default()) {
                Ok(documents) => {
                    for list in &documents {
                        entries(file, None, &field, list, &mut found);
                    }
                }
                Err(error) => {
                    let message = format!("{file}: `{field}` is no list of images: {}", error.problem);
                    found.diagnostics.push(Diagnostic::warning("images-unreadable", message));
                }
            }
        }
    }
    found
}

/// Finds the images of an `Images.lock`, as `dt` (the distribution tooling for Helm) writes it beside Chart.yaml.
pub fn images_lock(file: &str, text: &str) -> Findings {
    let mut found = Findings::default();
    match yaml::documents(text, &yaml::Options::default()) {
        Ok(documents) => {
            for document in &documents {
                if let Some(list) = document.get("images") {
                    entries(file, Some(list.at.line), "images", list, &mut found);
                }
            }
        }
        Err(error) => {
            let at = Location::new(file, error.at.line, error.at.column);
            found.diagnostics.push(Diagnostic::error("images-unreadable", error.problem.to_string()).at(at));
        }
    }
    found
}

/// Reads a list of images: texts, or mappings with an `image`.
fn entries(file: &str, line: Option<u32>, field: &str, list: &Node, found: &mut Findings) {
    for (i, item) in list.as_seq().unwrap_or_default().iter().enumerate() {
        let (image, field) = match item.get("image") {
            Some(image) => (image, format!("{field}[{i}].image")),
            None => (item, format!("{field}[{i}]")),
        };
        let line = line.map(|_| image.at.line);
        match image.as_str().map(str::trim) {
            Some(written) if written.parse::<Reference>().is_ok() => found.findings.push(Finding {
                written: written.to_owned(),
                confidence: Confidence::Declared,
                provenance: vec![Step::File { file: file.to_owned(), line }, Step::Field { field }],
            }),
            _ => {
                let message = format!("{file}: `{field}` is no image reference");
                found.diagnostics.push(Diagnostic::warning("images-unreadable", message));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_authors_are_declared() {
        let found = chart_annotations(
            "Chart.yaml",
            [
                ("artifacthub.io/images", "- name: a\n  image: quay.io/a/b:1\n- image: ''\n"),
                ("images", "- image: docker.io/bitnami/redis:8\n  name: redis\n"),
                ("category", "- image: x/y:1"),
                ("helm.sh/images", "{"),
            ],
        );
        let lines: Vec<String> =
            found.findings.iter().map(|finding| format!("{} {finding}", finding.written)).collect();
        assert_eq!(
            lines,
            [
                "quay.io/a/b:1 Chart.yaml → annotations[\"artifacthub.io/images\"][0].image",
                "docker.io/bitnami/redis:8 Chart.yaml → annotations[\"images\"][0].image"
            ]
        );
        assert_eq!(found.diagnostics.len(), 2);
        assert!(found.findings.iter().all(|finding| finding.confidence == Confidence::Declared));
    }

    #[test]
    fn images_lock_is_read_with_its_lines() {
        let text = "apiVersion: v0\nkind: ImagesLock\nimages:\n- name: a\n  image: quay.io/a/b:1\n  chart: c\n  digests:\n  - digest: sha256:00\n    arch: linux/amd64\n";
        let found = images_lock("Images.lock", text);
        assert_eq!(found.findings.len(), 1);
        assert_eq!(found.findings[0].to_string(), "Images.lock:5 → images[0].image");
        assert_eq!(images_lock("Images.lock", "a: [").diagnostics.len(), 1);
    }
}
