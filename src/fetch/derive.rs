//! An index of just the platforms that are carried.
//!
//! Some registries refuse an index that names manifests which they do not hold. For those, `load --derive-index` pushes
//! another index; it is made and signed here, when the archive is made, so that nothing inside has to be believed.
//!
//! # Invariants
//! - The bytes follow from upstream's index and the selection alone.
//! - Only `manifests` is changed: entries that are not carried are dropped, nested indexes are replaced by their own
//!   derived form; everything else stays as it was written.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::Value;

use crate::{
    oci::{Descriptor, Digest},
    store::{Error, Graph, Memory, Policy, walk},
};

/// A derived index with everything below it.
pub(super) struct Derived {
    pub root: Digest,
    pub graph: Graph,
}

/// Derives an index from `root` when entries of it, or of an index below it, were left out.
pub(super) async fn derive(graph: &Graph, root: &Descriptor) -> Result<Option<Derived>, Error> {
    let memory = Memory::new();
    let mut replaced: HashMap<Digest, (Digest, usize)> = HashMap::new();
    for node in graph.below(&root.digest) {
        let Some((raw, manifest)) = &node.manifest else { continue };
        memory.set(node.descriptor.digest, raw.clone());
        let touched = node.is_sparse() || node.children.iter().any(|child| replaced.contains_key(child));
        if !touched || manifest.manifests.is_empty() {
            continue;
        }
        let Ok(mut document) = serde_json::from_slice::<Value>(raw) else { continue };
        if let Some(Value::Array(entries)) = document.get_mut("manifests") {
            entries.retain_mut(|entry| {
                let Some(digest) = entry["digest"].as_str().and_then(|text| text.parse::<Digest>().ok()) else {
                    return false;
                };
                if let Some((other, size)) = replaced.get(&digest) {
                    entry["digest"] = Value::from(other.to_string());
                    entry["size"] = Value::from(*size);
                }
                node.children.contains(&digest)
            });
        }
        let bytes = Bytes::from(document.to_string());
        let derived = memory.add(node.descriptor.media_type.clone(), bytes.clone());
        replaced.insert(node.descriptor.digest, (derived.digest, bytes.len()));
    }
    let Some((digest, size)) = replaced.get(&root.digest) else { return Ok(None) };
    let root = Descriptor::new(root.media_type.clone(), *digest, *size as u64);
    let graph = walk(&memory, std::slice::from_ref(&root), &Policy::default()).await?;
    Ok(Some(Derived { root: *digest, graph }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::media_type;
    use serde_json::json;

    #[tokio::test]
    async fn a_sparse_index_loses_what_is_not_carried_and_nothing_else() {
        let memory = Memory::new();
        let image = |memory: &Memory, platform: &str| {
            let config = memory.add(media_type::CONFIG, json!({"p": platform}).to_string());
            let bytes = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": []})
                .to_string();
            let mut entry = json!(memory.add(media_type::MANIFEST, bytes));
            let (os, architecture) = platform.split_once('/').unwrap();
            entry["platform"] = json!({"os": os, "architecture": architecture});
            entry
        };
        let inner = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "x-own": true,
            "manifests": [image(&memory, "linux/amd64"), image(&memory, "linux/arm64")]});
        let inner = memory.add(media_type::INDEX, inner.to_string());
        let outer = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [inner], "annotations": {"a": "b"}});
        let outer = memory.add(media_type::INDEX, outer.to_string());
        let whole = walk(&memory, std::slice::from_ref(&outer), &Policy::default()).await.unwrap();
        assert!(derive(&whole, &outer).await.unwrap().is_none());
        let policy = Policy { platforms: vec!["linux/arm64".parse().unwrap()] };
        let sparse = walk(&memory, std::slice::from_ref(&outer), &policy).await.unwrap();
        let derived = derive(&sparse, &outer).await.unwrap().unwrap();
        let root = derived.graph.get(&derived.root).unwrap();
        let document: Value = serde_json::from_slice(&root.manifest.as_ref().unwrap().0).unwrap();
        assert_eq!(document["annotations"], json!({"a": "b"}));
        let nested = derived.graph.get(&root.children[0]).unwrap();
        let document: Value = serde_json::from_slice(&nested.manifest.as_ref().unwrap().0).unwrap();
        assert_eq!(document["manifests"].as_array().unwrap().len(), 1);
        assert_eq!(document["manifests"][0]["platform"]["architecture"], "arm64");
        assert_eq!(document["x-own"], true);
    }
}
