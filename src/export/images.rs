//! The images by their names outside and inside.

use serde::Serialize;

use super::{Content, Error};
use crate::{
    names::{Layout, Renamer, Target},
    oci::{Digest, Reference},
};

/// One image: what manifests call it, and where it is in the enclave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageRow {
    /// The name outside.
    pub source: Reference,
    /// The name inside; none when no target was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Reference>,
    /// What it is.
    pub digest: Digest,
}

/// Returns the images of `content`, with their names in `target` when there is one.
///
/// # Errors
/// [`Error::Rename`] when two images would share a name.
pub fn images(content: &Content, target: Option<(&Target, Layout)>) -> Result<Vec<ImageRow>, Error> {
    let mut renamer = target.map(|(target, layout)| (target, Renamer::new(target.clone(), layout)));
    let mut rows = Vec::with_capacity(content.images.len());
    for image in &content.images {
        let source = image.reference.clone();
        let target = match &mut renamer {
            None => None,
            Some((target, renamer)) => {
                let repository = renamer.image(&source.host, &source.repository)?;
                Some(Reference { host: target.host.clone(), repository, ..source.clone() })
            }
        };
        rows.push(ImageRow { source, target, digest: image.digest });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::Shipped;

    #[test]
    fn names_move_and_tags_stay() {
        let shipped =
            |name: &str| Shipped { reference: name.parse().unwrap(), digest: Digest::sha256(name.as_bytes()) };
        let content = Content {
            images: vec![shipped("nginx:1.27"), shipped("quay.io/a/b-c:1"), shipped("quay.io/a-b/c:1")],
            ..Content::default()
        };
        let rows = images(&content, Some((&"reg.lan/m".parse().unwrap(), Layout::Source))).unwrap();
        assert_eq!(rows[0].target.as_ref().unwrap().to_string(), "reg.lan/m/docker.io/library/nginx:1.27");
        assert!(images(&content, None).unwrap().iter().all(|row| row.target.is_none()));
        let error = images(&content, Some((&"reg.lan".parse().unwrap(), Layout::Depth(1)))).unwrap_err();
        assert!(error.to_string().contains("would both become"), "{error}");
    }
}
