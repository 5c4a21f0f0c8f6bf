//! What the signatures of an archive must cover: who signs and who checks ask here, so they cannot disagree.

use std::collections::BTreeSet;

use super::inventory::{Entry, Image, Inventory, Role};
use crate::{
    oci::Digest,
    trust::{SignedIdentity, SignedImage},
};

impl Inventory {
    /// Returns every image and every chart with the names and digests that are signed for it, in the order of
    /// [`Inventory::images`] and then [`Inventory::charts`].
    ///
    /// The digests are the root and everything below it that a client can ask for by digest: indexes and manifests. An
    /// index that was made here is pushed in place of the one that it was made from, so it is signed under the names of
    /// that one. Charts have names of their own, which are no registry's.
    pub fn signed_images(&self) -> Vec<SignedImage> {
        let images = self.manifests(self.images.iter().map(|image| image.digest), |entry| &entry.images);
        let images = self.images.iter().zip(images).map(|(image, digests)| {
            let names: BTreeSet<_> = self.namesake(image).references.iter().map(SignedIdentity::from).collect();
            SignedImage { identities: names.into_iter().collect(), digests: digests.into_iter().collect() }
        });
        let charts = self.manifests(self.charts.iter().map(|chart| chart.digest), |entry| &entry.charts);
        let charts = self.charts.iter().zip(charts).map(|(chart, digests)| {
            let identities = chart.signed_name().iter().map(SignedIdentity::from).collect();
            SignedImage { identities, digests: digests.into_iter().collect() }
        });
        images.chain(charts).collect()
    }

    /// Returns each of the roots with the manifests below it; `users` tells which roots need an entry.
    fn manifests(
        &self,
        roots: impl Iterator<Item = Digest>,
        users: impl Fn(&Entry) -> &Vec<u32>,
    ) -> Vec<BTreeSet<Digest>> {
        let mut digests: Vec<BTreeSet<_>> = roots.map(|root| BTreeSet::from([root])).collect();
        let manifests = [Role::ImageIndex, Role::DerivedIndex, Role::Manifest];
        for entry in self.entries.iter().filter(|entry| manifests.contains(&entry.role)) {
            for position in users(entry) {
                if let Some(digests) = digests.get_mut(*position as usize) {
                    digests.insert(entry.digest);
                }
            }
        }
        digests
    }

    /// Returns the image whose names count for this one: itself, or the one that its index was made from.
    pub fn namesake<'a>(&'a self, image: &'a Image) -> &'a Image {
        let original = image.derived_from.and_then(|from| self.images.iter().find(|other| other.digest == from));
        original.unwrap_or(image)
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        archive::{Draft, Plan, PlannedAttachment, PlannedImage},
        oci::{Descriptor, Digest, media_type},
        store::{Memory, Policy, walk},
    };
    use serde_json::json;

    #[tokio::test]
    async fn roots_children_and_derived_indexes_are_signed_under_the_right_names() {
        let memory = Memory::new();
        let image = |note: &str| {
            let config = memory.add(media_type::CONFIG, format!(r#"{{"note":"{note}"}}"#));
            let layer = memory.add(media_type::LAYER_GZIP, note.to_owned());
            let manifest =
                json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": [layer]});
            memory.add(media_type::MANIFEST, manifest.to_string())
        };
        let index = |entries: &[(&Descriptor, &str)]| {
            let entries: Vec<_> = entries
                .iter()
                .map(|(entry, platform)| Descriptor { platform: platform.parse().ok(), ..(*entry).clone() })
                .collect();
            let index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": entries});
            memory.add(media_type::INDEX, index.to_string())
        };
        let (amd, arm, tool, attached) = (image("amd"), image("arm"), image("tool"), image("attached"));
        let full = index(&[(&amd, "linux/amd64"), (&arm, "linux/arm64")]);
        let derived = index(&[(&amd, "linux/amd64")]);
        let policy = Policy { platforms: vec!["linux/amd64".parse().unwrap()] };
        let graph =
            walk(&memory, &[full.clone(), derived.clone(), tool.clone(), attached.clone()], &policy).await.unwrap();
        let planned = |references: &[&str], root: &Descriptor, derived_from: Option<Digest>| PlannedImage {
            references: references.iter().map(|text| text.parse().unwrap()).collect(),
            root: root.digest,
            graph: &graph,
            platform: None,
            derived_from,
            verified: Vec::new(),
            attachments: Vec::new(),
            because: json!([]),
        };
        let mut tool_image = planned(&["quay.io/tool:1"], &tool, None);
        tool_image.attachments.push(PlannedAttachment {
            subject: tool.digest,
            root: attached.digest,
            graph: &graph,
            tag: None,
        });
        let pinned = format!("nginx:1@{}", full.digest);
        let draft = Draft::new(Plan {
            name: "n".into(),
            version: "1".into(),
            images: vec![
                // Two spellings of one name: a signature names it once.
                planned(&["nginx:1", &pinned, "quay.io/web:2"], &full, None),
                planned(&[&format!("nginx@{}", derived.digest)], &derived, Some(full.digest)),
                tool_image,
            ],
            ..Plan::default()
        })
        .unwrap();

        let signed = draft.inventory().signed_images();
        let of = |root: &Descriptor| {
            let at = draft.inventory().images.iter().position(|image| image.digest == root.digest).unwrap();
            let names: Vec<_> = signed[at].identities.iter().map(ToString::to_string).collect();
            (names, signed[at].digests.clone())
        };
        let sorted = |digests: &[&Descriptor]| {
            let mut digests: Vec<_> = digests.iter().map(|one| one.digest).collect();
            digests.sort();
            digests
        };
        let web = vec!["docker.io/library/nginx:1".to_owned(), "quay.io/web:2".to_owned()];
        assert_eq!(signed.len(), 3);
        assert_eq!(of(&full), (web.clone(), sorted(&[&full, &amd])), "the platform left out is not signed");
        assert_eq!(of(&derived), (web, sorted(&[&derived, &amd])), "a derived index has the names of its original");
        assert_eq!(of(&tool), (vec!["quay.io/tool:1".to_owned()], vec![tool.digest]), "an attachment is no image");
    }
}
