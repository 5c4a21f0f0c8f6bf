//! Admission: whether an archive is what its signatures say, decided before anything in it is interpreted.
//!
//! # Invariants
//! - With a policy, `bundle.json` is parsed only after trusted keys are known to have signed these very bytes, and the
//!   archive is given out only after the signatures were found to cover exactly its images.
//! - Without one, the archive is checked against itself alone: it is whole, but anybody may have made it.
//!
//! # Failure
//! [`AdmissionError`]: what is not trusted and what is damaged are told apart, except where they look alike.

use super::{Archive, Control, Error, Fault, Unverified};
use crate::{
    error::{Classify, Kind, Side},
    trust::{self, Policy, Verdict, verify_control},
};

/// Says why an archive was not admitted.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// It is damaged, or no archive.
    #[error(transparent)]
    Archive(#[from] Error),
    /// It is not trusted.
    #[error(transparent)]
    Trust(#[from] trust::Error),
}

impl Classify for AdmissionError {
    fn kind(&self) -> Kind {
        match self {
            AdmissionError::Archive(cause) => cause.kind(),
            AdmissionError::Trust(cause) => cause.kind(),
        }
    }

    fn side(&self) -> Option<Side> {
        match self {
            AdmissionError::Archive(cause) => cause.side(),
            AdmissionError::Trust(_) => None,
        }
    }
}

/// Admits an archive that satisfies the policy; without a policy, one that is consistent, whoever made it. The content
/// of blobs is not read: each is verified where it is used.
///
/// # Errors
/// [`AdmissionError::Trust`] when the policy is not satisfied, [`AdmissionError::Archive`] for damage.
pub fn admit(unverified: Unverified, policy: Option<&Policy>) -> Result<(Archive, Option<Verdict>), AdmissionError> {
    let path = unverified.path().to_owned();
    let check = |control: &Control| -> Result<Option<Verdict>, AdmissionError> {
        let Some(policy) = policy else { return Ok(None) };
        let mut files = Vec::with_capacity(control.signatures.len());
        for (name, bytes) in &control.signatures {
            let malformed = |_| Error::Malformed {
                path: path.clone(),
                entry: name.clone(),
                fault: Fault::Unexpected(name.clone()),
            };
            files.push((name.parse().map_err(malformed)?, bytes.clone()));
        }
        Ok(Some(verify_control(policy, &control.bundle, &files)?))
    };
    let (archive, verdict) = unverified.admit(check)?;
    if let Some(verdict) = &verdict {
        verdict.covers(&archive.inventory().signed_images())?;
    }
    Ok((archive, verdict))
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Instant};

    use super::*;
    use crate::{
        archive::{Draft, Layout, Plan, PlannedFile, PlannedImage, Role, header},
        files::Positional,
        oci::{Digest, media_type},
        store::{Memory, walk},
        trust::{SignatureSet, SigningKey, SystemRandomness},
    };
    use bytes::Bytes;
    use serde_json::json;

    /// How large the file of the test is: nobody reads this much by mistake and stays unnoticed.
    const HUGE: u64 = 1 << 40;

    async fn draft() -> Draft {
        let memory = Memory::new();
        let config = memory.add(media_type::CONFIG, "{}");
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": []});
        let root = memory.add(media_type::MANIFEST, manifest.to_string());
        let graph = walk(&memory, std::slice::from_ref(&root), &Default::default()).await.unwrap();
        Draft::new(Plan {
            name: "huge".into(),
            version: "1".into(),
            images: vec![PlannedImage {
                references: vec!["nginx:1".parse().unwrap()],
                root: root.digest,
                graph: &graph,
                platform: None,
                derived_from: None,
                verified: Vec::new(),
                attachments: Vec::new(),
                because: json!([]),
            }],
            files: vec![PlannedFile {
                path: "data/large.bin".parse().unwrap(),
                digest: Digest::sha256(b"never read"),
                size: HUGE,
                role: Role::File,
                content: None,
                because: json!([]),
            }],
            ..Plan::default()
        })
        .unwrap()
    }

    /// Writes what a reader of the control part sees, and holes for everything else.
    fn write(path: &Path, layout: &Layout) {
        let file = Positional::open_exclusive(path).unwrap();
        file.write_all_at(&layout.control_bytes(), 0).unwrap();
        let first = &layout.blobs()[0];
        let prelude = header::prelude(&first.path, first.size, layout.mtime());
        file.write_all_at(&prelude, first.header_at()).unwrap();
        file.set_len(layout.total()).unwrap();
    }

    fn sign(draft: &Draft, keys: &[&SigningKey], images: &[trust::SignedImage]) -> Vec<(String, Bytes)> {
        let sets: Vec<_> =
            keys.iter().map(|key| SignatureSet::sign(key, draft.bundle_json(), images).unwrap()).collect();
        let files = SignatureSet::write(&sets).unwrap();
        files.into_iter().map(|(path, bytes)| (path.to_string(), bytes)).collect()
    }

    fn key() -> (SigningKey, Policy) {
        let key = SigningKey::generate(&mut SystemRandomness).unwrap();
        let policy = Policy::new([key.public().clone()], 1).unwrap();
        (key, policy)
    }

    #[tokio::test]
    async fn kilobytes_of_a_huge_file_suffice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge.bundle.tar");
        let draft = draft().await;
        let (ours, policy) = key();
        let signatures = sign(&draft, &[&ours], &draft.inventory().signed_images());
        write(&path, &draft.seal(signatures).unwrap());
        let started = Instant::now();
        let (archive, verdict) = admit(Unverified::open(&path).unwrap(), Some(&policy)).unwrap();
        assert_eq!(verdict.unwrap().signers().collect::<Vec<_>>(), [ours.public().id()]);
        assert!(archive.layout().total() > HUGE);
        // Reading a terabyte of zeros takes minutes.
        assert!(started.elapsed().as_secs() < 20);
    }

    #[tokio::test]
    async fn what_is_not_trusted_is_told_from_what_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bundle.tar");
        let (ours, policy) = key();
        let (_, others) = key();
        let attempt = |policy: Option<&Policy>| {
            let opened = Unverified::open(&path).map_err(AdmissionError::from);
            opened.and_then(|unverified| admit(unverified, policy)).map(|(archive, verdict)| {
                assert_eq!(archive.inventory().name, "huge");
                verdict.is_some()
            })
        };
        let images = |draft: &Draft| draft.inventory().signed_images();

        let unsigned = draft().await;
        write(&path, &unsigned.seal(Vec::new()).unwrap());
        assert!(matches!(attempt(Some(&policy)), Err(AdmissionError::Trust(trust::Error::Unsigned))));
        assert!(!attempt(None).unwrap());

        let signed = draft().await;
        let signatures = sign(&signed, &[&ours], &images(&signed));
        let layout = signed.seal(signatures).unwrap();
        write(&path, &layout);
        assert!(attempt(Some(&policy)).unwrap() && !attempt(None).unwrap());
        let refused = attempt(Some(&others)).unwrap_err();
        assert!(
            matches!(refused, AdmissionError::Trust(trust::Error::UnknownKey { .. }))
                && refused.kind() == Kind::Untrusted
        );

        // A changed inventory is not interpreted: it is not even known to be damaged.
        let at = layout.control_bytes().windows(6).position(|word| word == b"\"huge\"").unwrap() as u64;
        Positional::open_exclusive(&path).unwrap().write_all_at(b"\"hugE\"", at).unwrap();
        assert!(matches!(attempt(Some(&policy)), Err(AdmissionError::Trust(_))));

        // A file that was cut is damaged, whoever signed it.
        write(&path, &layout);
        Positional::open_exclusive(&path).unwrap().set_len(layout.total() - 512).unwrap();
        for policy in [None, Some(&policy)] {
            assert_eq!(attempt(policy).unwrap_err().kind(), Kind::Corrupt);
        }

        // Signatures that leave an image out do not make the archive trusted.
        let partly = draft().await;
        let signatures = sign(&partly, &[&ours], &[]);
        write(&path, &partly.seal(signatures).unwrap());
        assert!(matches!(attempt(Some(&policy)), Err(AdmissionError::Trust(trust::Error::Coverage { .. }))));
    }
}
