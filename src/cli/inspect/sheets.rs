//! The contents of an archive for spreadsheets and documents.

use super::{Contents, findings, role, ui, ways};
use crate::{cli::opened, oci::Platform};

/// Everything in one sheet: a line for each name of an image, each chart and each file.
pub(super) fn csv(contents: &Contents<'_>) -> String {
    let headers = ["kind", "name", "version", "digest", "bytes", "platforms", "source", "signed by", "why"];
    let mut rows = Vec::new();
    for image in contents.images.iter().filter(|image| image.derived_from.is_none()) {
        let signed: Vec<String> = image.verified.iter().map(opened::signature).collect();
        for name in image.references {
            let tag = name.tag.as_ref().map(ToString::to_string).unwrap_or_default();
            rows.push(vec![
                "image".to_owned(),
                name.to_string(),
                tag,
                image.digest.to_string(),
                image.size.to_string(),
                platforms(image.platforms),
                name.host.to_string(),
                signed.join("; "),
                findings(image.because).join("; "),
            ]);
        }
    }
    for chart in contents.charts {
        rows.push(vec![
            "chart".to_owned(),
            chart.name.clone(),
            chart.version.clone(),
            chart.digest.to_string(),
            chart.archive_size.to_string(),
            String::new(),
            chart.source.clone(),
            String::new(),
            ways(&chart.because).join("; "),
        ]);
    }
    for file in contents.files {
        let (name, digest, bytes) = (file.path.to_string(), file.digest.to_string(), file.size.to_string());
        let because = ways(&file.because).join("; ");
        let none = String::new;
        rows.push(vec![role(file), name, none(), digest, bytes, none(), none(), none(), because]);
    }
    ui::csv(&headers, &rows)
}

/// A page with a head, a table for each sort of content, and the sums.
pub(super) fn markdown(contents: &Contents<'_>) -> String {
    let mut text = format!("# {} {}\n\n", ui::markdown(contents.name), ui::markdown(contents.version));
    let signed = match contents.signers.verified {
        true => contents.signers.text(),
        false => "not verified: no key was given".to_owned(),
    };
    let mut head = vec![
        vec!["sequence".to_owned(), contents.sequence.to_string()],
        vec!["digest".to_owned(), contents.bundle.to_string()],
        vec!["signed by".to_owned(), signed],
        vec!["made by".to_owned(), contents.tool.to_owned()],
        vec!["size".to_owned(), ui::size(contents.archive_size)],
    ];
    if let Some(expires) = contents.expires {
        head.push(vec!["expires".to_owned(), expires.to_string()]);
    }
    text.push_str(&ui::markdown_table(&["what", "value"], &head));
    let images = contents.images.iter().filter(|image| image.derived_from.is_none());
    let images: Vec<Vec<String>> = images
        .flat_map(|image| {
            let signed: Vec<String> = image.verified.iter().map(|one| one.file.clone()).collect();
            let first = findings(image.because).into_iter().next().unwrap_or_default();
            image.references.iter().map(move |name| {
                let (platforms, size) = (platforms(image.platforms), ui::size(image.size));
                vec![name.to_string(), platforms, size, image.digest.to_string(), signed.join(", "), first.clone()]
            })
        })
        .collect();
    section(&mut text, "Images", &["image", "platforms", "size", "digest", "signed by", "first reason"], &images);
    let charts: Vec<Vec<String>> = contents
        .charts
        .iter()
        .map(|chart| {
            let (name, version, source) = (chart.name.clone(), chart.version.clone(), chart.source.clone());
            vec![name, version, ui::size(chart.archive_size), chart.digest.to_string(), source]
        })
        .collect();
    section(&mut text, "Charts", &["chart", "version", "size", "digest", "source"], &charts);
    let files = contents.files.iter();
    let files: Vec<Vec<String>> = files
        .map(|file| vec![file.path.to_string(), role(file), ui::size(file.size), file.digest.to_string()])
        .collect();
    section(&mut text, "Files", &["file", "what", "size", "digest"], &files);
    text
}

fn section(text: &mut String, title: &str, headers: &[&str], rows: &[Vec<String>]) {
    if !rows.is_empty() {
        text.push_str(&format!("\n## {title}\n\n{}", ui::markdown_table(headers, rows)));
    }
}

fn platforms(manifests: &[crate::archive::PlatformManifest]) -> String {
    let mut names: Vec<String> =
        manifests.iter().map(|one| one.platform.as_ref().map_or("any".to_owned(), Platform::to_string)).collect();
    names.dedup();
    names.join(" ")
}
