//! The signed part of an archive: which files one key writes for it, and how they are read back.
//!
//! ```text
//! bundle.json                              what is signed
//! bundle.json.sigstore.json                the signature over its bytes, for `cosign verify-blob`
//! bundle.sig/<keyid>-<n>.sigstore.json     statements: bundle.json and up to 1,023 images each, n from 1
//! bundle.sig/<keyid>.images.json           a signature per image and name, from which `.sig` tags are made
//! ```
//! With several keys, the first file is named `bundle.json.<keyid>.sigstore.json`, one per key.
//!
//! # Invariants
//! - Everything is deterministic: the same keys and content give the same files.
//! - There is one spelling: files are accepted when writing what was read gives the same bytes under the same names. So
//!   each changed bit either breaks a file's form or changes something that a signature covers.
//!
//! # Failure
//! Every error of reading is [`Kind::Untrusted`](crate::error::Kind): damage in this part cannot be told from forgery.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    Error, KeyId, SignedIdentity, SigningKey, SimpleSignature, encoding,
    envelope::{self, Bundle, Content},
    simple::simple_payload,
    statement::{self, IMAGES_PER_SHARD, statements},
};
use crate::{oci::Digest, tree::RelPath};

/// The folder of the signature files.
const FOLDER: &str = "bundle.sig/";
/// What a signature over `bundle.json` is called by convention.
const MESSAGE_PREFIX: &str = "bundle.json.";
const BUNDLE_SUFFIX: &str = ".sigstore.json";
const IMAGES_SUFFIX: &str = ".images.json";
/// How many keys may sign one archive: more than any organisation has signers, and few enough to check.
const MAX_SIGNERS: usize = 64;
/// How many statements one key may write: with 1,023 images each, over a million images.
const MAX_SHARDS: usize = 1024;
/// How many image signatures one key may write.
const MAX_IMAGE_SIGNATURES: usize = 1 << 20;
/// The largest list of image signatures that is read; 300 bytes each.
const MAX_IMAGES_FILE: usize = 256 << 20;

/// Names an image of the archive for signing: everything that is to be pushed under these names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedImage {
    /// The names under which runtimes look for the image; none for content that has no name.
    pub identities: Vec<SignedIdentity>,
    /// The root, its children that are carried, and indexes derived from it.
    pub digests: Vec<Digest>,
}

/// What the signatures of an archive must cover: digests in ascending order, and pairs of digest and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Coverage {
    pub(super) digests: BTreeSet<Digest>,
    pub(super) named: BTreeSet<(Digest, SignedIdentity)>,
}

impl Coverage {
    pub(super) fn of(images: &[SignedImage]) -> Coverage {
        let mut coverage = Coverage::default();
        for image in images {
            for digest in &image.digests {
                coverage.digests.insert(*digest);
                coverage.named.extend(image.identities.iter().map(|identity| (*digest, identity.clone())));
            }
        }
        coverage
    }
}

/// Holds a signed statement: `bundle.json` and up to 1,023 images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) statement: Vec<u8>,
    pub(super) signature: Vec<u8>,
    /// The file, as it is written from the two and never as it was read.
    bundle: Bytes,
}

impl Shard {
    fn new(key: KeyId, statement: Vec<u8>, signature: Vec<u8>) -> Shard {
        let bundle = envelope::write_statement_bundle(key, &statement, &signature);
        Shard { statement, signature, bundle }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImageSignature {
    pub(super) identity: SignedIdentity,
    pub(super) digest: Digest,
    pub(super) signature: Vec<u8>,
}

/// Holds everything that one key signs for an archive. Reading proves its form, not its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureSet {
    pub(super) key: KeyId,
    pub(super) bundle_json: [u8; 32],
    pub(super) message: Vec<u8>,
    /// The digests of the images in ascending order.
    pub(super) digests: Vec<Digest>,
    pub(super) shards: Vec<Shard>,
    /// In ascending order of digest and name.
    pub(super) images: Vec<ImageSignature>,
}

/// Holds what one key signed about one image: what to push beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSignatures {
    /// For the tag `.sig`.
    pub simple: Vec<SimpleSignature>,
    /// For the referrer: the bundle of the statement that covers the image.
    pub bundle: Bytes,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawImageSignature {
    reference: String,
    digest: Digest,
    signature: String,
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    out
}

impl SignatureSet {
    /// Signs an archive: the bytes of its `bundle.json`, and its images.
    ///
    /// # Errors
    /// [`Error::TooMany`] over the limits of the format.
    pub fn sign(key: &SigningKey, bundle_json: &[u8], images: &[SignedImage]) -> Result<SignatureSet, Error> {
        let Coverage { digests, named } = Coverage::of(images);
        let limit = MAX_SHARDS * IMAGES_PER_SHARD;
        if digests.len() > limit {
            return Err(Error::TooMany { what: "images", count: digests.len(), limit });
        }
        if named.len() > MAX_IMAGE_SIGNATURES {
            return Err(Error::TooMany { what: "image signatures", count: named.len(), limit: MAX_IMAGE_SIGNATURES });
        }
        let digests: Vec<Digest> = digests.into_iter().collect();
        let hash = sha256(bundle_json);
        let shards = statements(&Digest::Sha256(hash), &digests).into_iter().map(|statement| {
            let signature = key.sign(&envelope::statement_message(&statement));
            Shard::new(key.public().id(), statement, signature)
        });
        Ok(SignatureSet {
            key: key.public().id(),
            bundle_json: hash,
            message: key.sign(bundle_json),
            shards: shards.collect(),
            digests,
            images: named
                .into_iter()
                .map(|(digest, identity)| {
                    let signature = key.sign(&simple_payload(&identity, &digest));
                    ImageSignature { identity, digest, signature }
                })
                .collect(),
        })
    }

    /// Returns the name of the key.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// Returns what the key signed about an image; `None` when it signed nothing about it.
    pub fn of_image(&self, digest: &Digest) -> Option<ImageSignatures> {
        let shard = self.shards.get(self.digests.binary_search(digest).ok()? / IMAGES_PER_SHARD)?;
        let from = self.images.partition_point(|image| image.digest < *digest);
        let simple = self.images[from..].iter().take_while(|image| image.digest == *digest);
        Some(ImageSignatures {
            simple: simple
                .map(|image| SimpleSignature {
                    payload: simple_payload(&image.identity, digest),
                    signature: encoding::base64(&image.signature),
                })
                .collect(),
            bundle: shard.bundle.clone(),
        })
    }

    /// Returns the files that hold these sets, in ascending order of their names.
    ///
    /// # Errors
    /// [`Error::NoSigner`], [`Error::SignerTwice`], [`Error::TooMany`].
    pub fn write(sets: &[SignatureSet]) -> Result<Vec<(RelPath, Bytes)>, Error> {
        if sets.is_empty() {
            return Err(Error::NoSigner);
        }
        if sets.len() > MAX_SIGNERS {
            return Err(Error::TooMany { what: "signers", count: sets.len(), limit: MAX_SIGNERS });
        }
        let mut files = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for set in sets {
            if !seen.insert(set.key) {
                return Err(Error::SignerTwice(set.key));
            }
            set.write_into(sets.len() == 1, &mut files)?;
        }
        Ok(files.into_iter().collect())
    }

    fn write_into(&self, alone: bool, files: &mut BTreeMap<RelPath, Bytes>) -> Result<(), Error> {
        let key = self.key;
        let message = envelope::write_message_bundle(key, &self.bundle_json, &self.message);
        let mut put = |name: String, bytes: Bytes| {
            let path = name.parse().map_err(|_| malformed(&name, "its name is no path"))?;
            files.insert(path, bytes);
            Ok::<(), Error>(())
        };
        match alone {
            true => put(format!("{MESSAGE_PREFIX}sigstore.json"), message)?,
            false => put(format!("{MESSAGE_PREFIX}{key}{BUNDLE_SUFFIX}"), message)?,
        }
        for (n, shard) in (1..).zip(&self.shards) {
            put(format!("{FOLDER}{key}-{n}{BUNDLE_SUFFIX}"), shard.bundle.clone())?;
        }
        let images: Vec<RawImageSignature> = self
            .images
            .iter()
            .map(|image| RawImageSignature {
                reference: image.identity.to_string(),
                digest: image.digest,
                signature: encoding::base64(&image.signature),
            })
            .collect();
        let name = format!("{FOLDER}{key}{IMAGES_SUFFIX}");
        let images = serde_json::to_vec(&images).map_err(|_| malformed(&name, "it cannot be written"))?;
        put(name, images.into())
    }

    /// Reads the signature files of an archive: all of them, and nothing else. The form is proven, the signatures are not:
    /// that is [`verify_control`](super::verify_control)'s part.
    ///
    /// # Errors
    /// [`Error::Unsigned`] when there is none; [`Error::UnknownFile`], [`Error::MissingFile`], [`Error::NotCanonical`],
    /// [`Error::Malformed`] and others for everything that [`SignatureSet::write`] would not write.
    pub fn read(files: &[(RelPath, Bytes)]) -> Result<Vec<SignatureSet>, Error> {
        let mut given: BTreeMap<&str, (&RelPath, &Bytes)> = BTreeMap::new();
        for (path, bytes) in files {
            if given.insert(path.as_str(), (path, bytes)).is_some() {
                return Err(Error::UnknownFile(path.clone()));
            }
        }
        let mut keys = BTreeMap::new();
        for name in given.keys() {
            if let Some((key, shard)) = name.strip_prefix(FOLDER).and_then(file_of_key) {
                let last: &mut usize = keys.entry(key).or_default();
                *last = shard.unwrap_or_default().max(*last);
            }
        }
        if given.is_empty() {
            return Err(Error::Unsigned);
        }
        if keys.len() > MAX_SIGNERS {
            return Err(malformed(FOLDER, "it has the signatures of more than 64 keys"));
        }
        let alone = keys.len() == 1;
        let mut sets = Vec::with_capacity(keys.len());
        for (key, last) in keys {
            sets.push(read_set(&given, key, last, alone)?);
        }
        if sets.is_empty() {
            // Only files with strange names: the first of them says it.
            return Err(given
                .into_values()
                .next()
                .map_or(Error::Unsigned, |(path, _)| Error::UnknownFile(path.clone())));
        }
        let written: BTreeMap<RelPath, Bytes> = SignatureSet::write(&sets)?.into_iter().collect();
        for (path, bytes) in given.values() {
            match written.get(path.as_str()) {
                None => return Err(Error::UnknownFile((*path).clone())),
                Some(expected) if expected != *bytes => return Err(Error::NotCanonical((*path).clone())),
                Some(_) => {}
            }
        }
        match written.into_keys().find(|path| !given.contains_key(path.as_str())) {
            Some(missing) => Err(Error::MissingFile(missing)),
            None => Ok(sets),
        }
    }

    /// Tells whether a path of an archive belongs to the signatures, going by its name.
    pub fn owns(path: &RelPath) -> bool {
        let name = path.as_str();
        name.starts_with(FOLDER) || (name.starts_with(MESSAGE_PREFIX) && name.ends_with("sigstore.json"))
    }
}

fn malformed(what: &str, why: &'static str) -> Error {
    Error::Malformed { what: what.to_owned(), why }
}

/// Takes a file name below the folder apart: the key, and the number of the statement when it is one.
fn file_of_key(name: &str) -> Option<(KeyId, Option<usize>)> {
    let (key, rest) = name.split_at_checked(64)?;
    let key = KeyId::from_hex(key)?;
    if rest == IMAGES_SUFFIX {
        return Some((key, None));
    }
    let number = rest.strip_prefix('-')?.strip_suffix(BUNDLE_SUFFIX)?;
    let shard = number.parse().ok().filter(|n: &usize| (1..=MAX_SHARDS).contains(n) && n.to_string() == number)?;
    Some((key, Some(shard)))
}

fn read_set(
    given: &BTreeMap<&str, (&RelPath, &Bytes)>,
    key: KeyId,
    last: usize,
    alone: bool,
) -> Result<SignatureSet, Error> {
    let get = |name: String| match given.get(name.as_str()) {
        Some((path, bytes)) => Ok((*path, *bytes)),
        None => Err(name.parse().map_or_else(|_| malformed(&name, "its name is no path"), Error::MissingFile)),
    };
    let (path, bytes) = get(match alone {
        true => format!("{MESSAGE_PREFIX}sigstore.json"),
        false => format!("{MESSAGE_PREFIX}{key}{BUNDLE_SUFFIX}"),
    })?;
    let bundle = Bundle::parse(bytes)?;
    let Content::Message(bundle_json) = bundle.content else {
        return Err(malformed(path.as_str(), "it signs a statement, not a file"));
    };
    if bundle.hint != Some(key) {
        return Err(malformed(path.as_str(), "it names another key than the other files"));
    }
    let message = bundle.signature;
    let (mut digests, mut signatures) = (Vec::new(), Vec::new());
    // There is at least one statement; without any file, the first is the missing one.
    for n in 1..=last.max(1) {
        let (path, bytes) = get(format!("{FOLDER}{key}-{n}{BUNDLE_SUFFIX}"))?;
        let bundle = Bundle::parse(bytes)?;
        let Content::Statement(payload) = bundle.content else {
            return Err(malformed(path.as_str(), "it signs a file, not a statement"));
        };
        let (subject, images) = statement::read_own(&payload)?;
        if subject != Digest::Sha256(bundle_json) {
            return Err(Error::WrongSubject { expected: Digest::Sha256(bundle_json) });
        }
        digests.extend(images);
        signatures.push(bundle.signature);
    }
    if !digests.is_sorted_by(|one, next| one < next) {
        return Err(malformed(&format!("{FOLDER}{key}"), "its images are not in ascending order, each once"));
    }
    let statements = statements(&Digest::Sha256(bundle_json), &digests);
    if statements.len() != signatures.len() {
        return Err(malformed(&format!("{FOLDER}{key}"), "its statements are not filled one after the other"));
    }
    let shards =
        statements.into_iter().zip(signatures).map(|(statement, signature)| Shard::new(key, statement, signature));
    let shards = shards.collect();
    let (path, bytes) = get(format!("{FOLDER}{key}{IMAGES_SUFFIX}"))?;
    let images = read_images(path, bytes)?;
    Ok(SignatureSet { key, bundle_json, message, digests, shards, images })
}

fn read_images(path: &RelPath, bytes: &[u8]) -> Result<Vec<ImageSignature>, Error> {
    if bytes.len() > MAX_IMAGES_FILE {
        return Err(Error::TooLarge { what: path.to_string(), size: bytes.len(), limit: MAX_IMAGES_FILE });
    }
    let raw: Vec<RawImageSignature> =
        serde_json::from_slice(bytes).map_err(|_| malformed(path.as_str(), "it is no list of image signatures"))?;
    if raw.len() > MAX_IMAGE_SIGNATURES {
        return Err(malformed(path.as_str(), "it has more signatures than any archive"));
    }
    let mut images = Vec::with_capacity(raw.len());
    for one in raw {
        images.push(ImageSignature {
            identity: one.reference.parse().map_err(|_| malformed(path.as_str(), "a name is no full image name"))?,
            digest: one.digest,
            signature: encoding::unbase64(&one.signature)
                .ok_or_else(|| malformed(path.as_str(), "a signature is not canonical base64"))?,
        });
    }
    if !images.is_sorted_by(|one, next| (&one.digest, &one.identity) < (&next.digest, &next.identity)) {
        return Err(malformed(path.as_str(), "its entries are not in ascending order, each once"));
    }
    Ok(images)
}
