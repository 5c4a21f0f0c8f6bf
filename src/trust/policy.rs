//! Whom to trust, and whether an archive's signatures satisfy that.
//!
//! # Invariants
//! - Only keys that the user named count; a key inside an archive never does.
//! - Keys are counted, not signatures. A threshold of zero cannot exist.
//! - A bad signature is fatal even when enough good ones remain: otherwise a damaged file would go unnoticed.
//! - Form is proven first, then every signature, then what they cover; until the end nothing of the archive is believed.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    Error, KeyId, PublicKey, SignatureSet, SignedImage, envelope::statement_message, signatures::Coverage,
    simple::simple_payload,
};
use crate::{oci::Digest, tree::RelPath};

/// Says whose signatures an archive needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    keys: BTreeMap<KeyId, PublicKey>,
    threshold: usize,
    unknown_signers: bool,
}

impl Policy {
    /// Trusts these keys, of which `threshold` must have signed. The same key twice counts once.
    ///
    /// # Errors
    /// [`Error::NoKey`] without keys, [`Error::Threshold`] when it is zero or more than there are keys.
    pub fn new(keys: impl IntoIterator<Item = PublicKey>, threshold: usize) -> Result<Policy, Error> {
        let keys: BTreeMap<KeyId, PublicKey> = keys.into_iter().map(|key| (key.id(), key)).collect();
        if keys.is_empty() {
            return Err(Error::NoKey);
        }
        if !(1..=keys.len()).contains(&threshold) {
            return Err(Error::Threshold { threshold, keys: keys.len() });
        }
        Ok(Policy { keys, threshold, unknown_signers: false })
    }

    /// Accepts archives that carry signatures by other keys too. These cannot be checked beyond their form, so a change
    /// in one of them stays unnoticed; without this, such archives are refused.
    pub fn allow_unknown_signers(self) -> Policy {
        Policy { unknown_signers: true, ..self }
    }

    /// Returns the trusted keys in ascending order of their names.
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys.values()
    }

    /// Returns how many of the keys must have signed.
    pub fn threshold(&self) -> usize {
        self.threshold
    }
}

/// Holds the signatures of an archive that satisfy a policy.
///
/// It says that `bundle.json` is genuine. What `bundle.json` lists must then be compared with what is signed:
/// [`Verdict::covers`].
#[derive(Clone, Debug)]
#[must_use = "the signatures must still be compared with the archive's list of images"]
pub struct Verdict {
    good: Vec<SignatureSet>,
    unknown: Vec<SignatureSet>,
    bundle_json: Digest,
}

/// Checks the signed part of an archive: the bytes of `bundle.json` and all signature files, by path.
///
/// # Errors
/// Every error is [`Kind::Untrusted`](crate::error::Kind): unsigned, signed by others, too few signers, a signature that
/// does not match, or files that are not exactly those that signing writes.
pub fn verify_control(policy: &Policy, bundle_json: &[u8], files: &[(RelPath, Bytes)]) -> Result<Verdict, Error> {
    let sets = SignatureSet::read(files)?;
    let (known, unknown): (Vec<_>, Vec<_>) = sets.into_iter().partition(|set| policy.keys.contains_key(&set.key()));
    if known.is_empty() || !(unknown.is_empty() || policy.unknown_signers) {
        let have = unknown.iter().map(SignatureSet::key).collect();
        return Err(Error::UnknownKey { have, want: policy.keys.keys().copied().collect() });
    }
    let digest = Digest::sha256(bundle_json);
    for set in known.iter().chain(&unknown) {
        if Digest::Sha256(set.bundle_json) != digest {
            return Err(Error::WrongSubject { expected: digest });
        }
        let covered = set.images.iter().find(|image| set.digests.binary_search(&image.digest).is_err());
        if let Some(image) = covered {
            return Err(Error::Coverage { key: set.key(), at: image.digest.to_string() });
        }
    }
    for set in &known {
        if let Some(key) = policy.keys.get(&set.key()) {
            verify_set(key, bundle_json, set)?;
        }
    }
    if known.len() < policy.threshold {
        return Err(Error::TooFewSigners { have: known.len(), need: policy.threshold });
    }
    Ok(Verdict { good: known, unknown, bundle_json: digest })
}

fn verify_set(key: &PublicKey, bundle_json: &[u8], set: &SignatureSet) -> Result<(), Error> {
    let check = |what: &dyn Fn() -> String, message: &[u8], signature: &[u8]| {
        if key.is_canonical(signature) && key.verifies(message, signature) {
            return Ok(());
        }
        Err(Error::BadSignature { what: what(), key: key.id() })
    };
    check(&|| "bundle.json".to_owned(), bundle_json, &set.message)?;
    for shard in &set.shards {
        check(&|| "the list of images".to_owned(), &statement_message(&shard.statement), &shard.signature)?;
    }
    for image in &set.images {
        let payload = simple_payload(&image.identity, &image.digest);
        check(&|| format!("{}@{}", image.identity, image.digest), &payload, &image.signature)?;
    }
    Ok(())
}

impl Verdict {
    /// Compares what is signed with the images that `bundle.json` lists: all of them, under all of their names, and
    /// nothing else.
    ///
    /// # Errors
    /// [`Error::Coverage`] with the first difference.
    pub fn covers(&self, images: &[SignedImage]) -> Result<(), Error> {
        let wanted = Coverage::of(images);
        for set in self.good.iter().chain(&self.unknown) {
            let signed = Coverage {
                digests: set.digests.iter().copied().collect(),
                named: set.images.iter().map(|image| (image.digest, image.identity.clone())).collect(),
            };
            let digest = wanted.digests.symmetric_difference(&signed.digests).next().map(Digest::to_string);
            let named = || {
                let difference = wanted.named.symmetric_difference(&signed.named).next();
                difference.map(|(digest, identity)| format!("{identity}@{digest}"))
            };
            if let Some(at) = digest.or_else(named) {
                return Err(Error::Coverage { key: set.key(), at });
            }
        }
        Ok(())
    }

    /// Returns the trusted keys that signed.
    pub fn signers(&self) -> impl Iterator<Item = KeyId> {
        self.good.iter().map(SignatureSet::key)
    }

    /// Returns the keys that signed and are not trusted; empty unless the policy allows them.
    pub fn unknown_signers(&self) -> impl Iterator<Item = KeyId> {
        self.unknown.iter().map(SignatureSet::key)
    }

    /// Returns the verified signatures, from which those of the images are made.
    pub fn sets(&self) -> &[SignatureSet] {
        &self.good
    }

    /// Returns the digest of the verified `bundle.json`.
    pub fn bundle_json(&self) -> Digest {
        self.bundle_json
    }
}
