//! Images transformers: what kustomize needs to give images other names.
//!
//! kustomize compares names as they are written, without tag and digest (its `images` transformer, `ImageTagUpdater`), so an image
//! of Docker Hub is listed under every name by which people write it.

use std::collections::BTreeMap;

use crate::{
    oci::{Digest, Reference},
    yaml,
};

use super::{Error, Names, Place};

/// Returns the ways to write the name of an image.
fn spellings(image: &Reference) -> Vec<String> {
    let repository = image.repository.as_str();
    let mut names = vec![image.name()];
    if image.host.is_docker_hub() {
        names.push(repository.to_owned());
        if let Some(name) = repository.strip_prefix("library/") {
            names.push(format!("{}/{name}", image.host));
            names.push(name.to_owned());
        }
        // The old name of Docker Hub is still written.
        names.push(format!("index.docker.io/{repository}"));
    }
    names
}

/// Writes a kustomize component that renames images; with `digests`, names that were carried in one version get its digest.
///
/// # Errors
/// [`Error::Name`] when names collide.
pub fn component(images: &[(Reference, Digest)], names: &mut Names, digests: bool) -> Result<String, Error> {
    let mut entries: BTreeMap<String, (String, Option<Digest>)> = BTreeMap::new();
    let mut versions: BTreeMap<String, Vec<Digest>> = BTreeMap::new();
    for (image, digest) in images {
        let of_name = versions.entry(image.name()).or_default();
        if !of_name.contains(digest) {
            of_name.push(*digest);
        }
    }
    let mut several = Vec::new();
    for (image, digest) in images {
        let Place::Moved { name, .. } = names.place(image)? else { continue };
        let single = versions.get(&image.name()).is_some_and(|found| found.len() == 1);
        if digests && !single && !several.contains(&image.name()) {
            several.push(image.name());
        }
        let pin = (digests && single).then_some(*digest);
        entries.extend(spellings(image).into_iter().map(|spelling| (spelling, (name.clone(), pin))));
    }
    let mut text = String::from("apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n");
    for name in &several {
        text.push_str(&format!("# {name} was carried in several versions: its tags stay as they are written.\n"));
    }
    text.push_str(if entries.is_empty() { "images: []\n" } else { "images:\n" });
    let scalar = |value: &str| yaml::to_text(&value).unwrap_or_default().trim_end().to_owned();
    for (spelling, (name, pin)) in entries {
        text.push_str(&format!("- name: {}\n  newName: {}\n", scalar(&spelling), scalar(&name)));
        if let Some(digest) = pin {
            text.push_str(&format!("  digest: {}\n", scalar(&digest.to_string())));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Layout;

    #[test]
    fn every_spelling_is_listed() {
        let one = Digest::sha256(b"1");
        let images: Vec<(Reference, Digest)> =
            [("nginx:1", one), ("quay.io/a/b:1", one), ("quay.io/a/b:2", Digest::sha256(b"2"))]
                .map(|(image, digest)| (image.parse().unwrap(), digest))
                .to_vec();
        let mut names = Names::new("reg.lan".parse().unwrap(), Layout::Source).carrying(images.clone()).unwrap();
        let text = component(&images, &mut names, true).unwrap();
        for name in ["docker.io/library/nginx", "nginx", "library/nginx", "docker.io/nginx"] {
            let entry = format!("- name: {name}\n  newName: reg.lan/docker.io/library/nginx\n  digest: {one}\n");
            assert!(text.contains(&entry), "{text}");
        }
        assert!(
            text.contains("- name: quay.io/a/b\n  newName: reg.lan/quay.io/a/b\n-")
                || text.ends_with("newName: reg.lan/quay.io/a/b\n")
        );
        assert!(text.contains("# quay.io/a/b was carried in several versions"));
    }
}
