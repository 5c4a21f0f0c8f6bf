//! Signatures of upstream: every image that the spec's `verify` names must be signed by the key that it gives.
//!
//! ```text
//!  verify: {images, key} ─ image fits ─→ digest that is pinned ─┬─ tag sha256-….sig ─ payload, signature ─┐
//!                                                               └─ referrers ─ sigstore bundle ───────────┴→ key
//! ```
//!
//! # Invariants
//! - What is checked is the digest that the lock pins and that travels; a tag is not asked again.
//! - The key decides alone: no key is learnt from a signature, and the name that a signature says does not count.
//! - Every entry that fits an image must be met. A key file may hold several keys, any of which suffices: that is how a
//!   key is replaced.
//! - "Could not look" is a failure, never "not signed", and never "signed".
//!
//! # Failure
//! All images that are not signed as they must be are told in one run. Signatures by certificates (keyless) do not count,
//! and the message says so.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use serde_json::Value;

use super::{Error, Job};
use crate::{
    error::{Classify, Diagnostic, Kind, Side},
    files,
    lock::{LockedImage, SignatureForm, Verified},
    oci::{Descriptor, Digest, Manifest, Tag, media_type},
    registry::{self, By, Remote},
    spec::Verify,
    store,
    trust::{self, PublicKey},
};

/// The largest file with public keys.
const MAX_KEYS: u64 = 1 << 20;
/// How many keys one file may hold; more is no list of one signer's keys.
const MAX_KEYS_PER_FILE: usize = 100;
/// How many things that refer to one image are looked at; as many as are carried with an image.
const MAX_REFERRERS: usize = 1000;
/// How many bytes of signatures are held for one image; a genuine one has a few kilobytes.
const MAX_BYTES: u64 = 64 << 20;
/// The annotation that says that a signature belongs to a certificate instead of a key.
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
/// What every PEM block ends with.
const END: &str = "-----END PUBLIC KEY-----";

/// One entry of `verify`, with its keys.
pub(super) struct Rule<'a> {
    entry: &'a Verify,
    keys: Vec<PublicKey>,
}

impl Rule<'_> {
    /// Tells whether an image must meet this: by the name that manifests use, or by the one that it is pulled under.
    fn fits(&self, image: &LockedImage) -> bool {
        self.entry.images.matches(&image.image)
            || image.from.as_ref().is_some_and(|from| self.entry.images.matches(from))
    }
}

/// What came of the check of one image: whose signatures it has, or every rule that it does not meet.
type Checked = Result<Vec<Verified>, Vec<(Kind, Diagnostic)>>;

/// Reads the keys that the spec names.
///
/// # Errors
/// Every key that cannot be read.
pub(super) fn rules<'a>(job: &Job<'a>) -> Result<Vec<Rule<'a>>, Vec<(Kind, Diagnostic)>> {
    let mut rules = Vec::new();
    let mut failures = Vec::new();
    for entry in &job.spec.verify {
        let failed = |kind, why: String| {
            let text = format!("{}: the key {}: {why}", entry.entry.label, entry.key);
            (kind, Diagnostic::error("verify-key", text).at(entry.entry.at.clone()))
        };
        let bytes = match files::read_limited(&job.folder.join(&entry.key), MAX_KEYS) {
            Ok(bytes) => bytes,
            Err(error) => {
                failures.push(failed(error.kind(), error.to_string()));
                continue;
            }
        };
        match keys(&String::from_utf8_lossy(&bytes)) {
            Ok(keys) => rules.push(Rule { entry, keys }),
            Err(error) => {
                let (kind, mut diagnostic) = failed(Kind::Usage, error.to_string());
                diagnostic.hint =
                    Some("public keys in PEM are supported: ECDSA P-256 and P-384, Ed25519, RSA".to_owned());
                failures.push((kind, diagnostic));
            }
        }
    }
    if failures.is_empty() { Ok(rules) } else { Err(failures) }
}

/// Reads one or several public keys in PEM.
fn keys(text: &str) -> Result<Vec<PublicKey>, trust::Error> {
    let mut keys = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.find(END).map_or(rest.len(), |at| at + END.len());
        let (block, after) = rest.split_at(end);
        keys.push(PublicKey::from_pem(block.trim_start())?);
        if keys.len() > MAX_KEYS_PER_FILE {
            let (what, count) = ("public keys in one file", keys.len());
            return Err(trust::Error::TooMany { what, count, limit: MAX_KEYS_PER_FILE });
        }
        if after.trim().is_empty() {
            return Ok(keys);
        }
        rest = after;
    }
}

/// Checks the signatures of all images that the spec names, and records whose they are.
///
/// # Errors
/// Every image that is not signed as it must be, or of which that could not be found out.
pub(super) async fn check(job: &Job<'_>, images: &mut [LockedImage]) -> Result<Vec<Diagnostic>, Error> {
    let rules = rules(job).map_err(|failures| Error::of("keys of `verify`", failures))?;
    let mut warnings = Vec::new();
    for rule in &rules {
        if !images.iter().any(|image| rule.fits(image)) {
            let text = format!("{}: no image fits {}", rule.entry.entry.label, rule.entry.images);
            warnings.push(Diagnostic::warning("verify-unused", text).at(rule.entry.entry.at.clone()));
        }
    }
    let results: Vec<Checked> = stream::iter(images.iter())
        .map(async |image| {
            let fitting: Vec<&Rule<'_>> = rules.iter().filter(|rule| rule.fits(image)).collect();
            if fitting.is_empty() { Ok(Vec::new()) } else { one(job, image, &fitting).await }
        })
        .buffered(job.jobs.max(1))
        .collect()
        .await;
    let mut failures = Vec::new();
    for (image, result) in images.iter_mut().zip(results) {
        match result {
            Ok(verified) => image.verified = verified,
            Err(failed) => failures.extend(failed),
        }
    }
    if failures.is_empty() { Ok(warnings) } else { Err(Error::of("images that must be signed", failures)) }
}

async fn one(job: &Job<'_>, image: &LockedImage, rules: &[&Rule<'_>]) -> Checked {
    let at = |rule: &Rule<'_>, kind, text: String| {
        let text = format!("{} ({}): {text}", image.image, image.digest);
        (kind, Diagnostic::error("unverified", text).at(rule.entry.entry.at.clone()))
    };
    if let Some(archive) = &image.archive {
        let text = format!("it comes from the file {archive}, where no signatures are looked for");
        let failed = |rule: &&Rule<'_>| {
            let (kind, diagnostic) = at(rule, Kind::Untrusted, text.clone());
            let hint = format!("let `{}` name only images that come from a registry", rule.entry.entry.label);
            (kind, diagnostic.hint(hint))
        };
        return Err(rules.iter().map(failed).collect());
    }
    let from = image.from.as_ref().unwrap_or(&image.image);
    let remote = job.registries.repository(&from.host, &from.repository, Side::Source);
    let mut found = Found::default();
    let mut looked = at_tag(&remote, &image.digest, &mut found).await;
    // What refers to an image is looked at only where the tag did not do: it takes several requests.
    if looked.is_ok() && !rules.iter().all(|rule| found.meets(rule, &image.digest).is_some()) {
        looked = referrers(&remote, &image.digest, &mut found).await;
    }
    if let Err(error) = looked {
        let text = format!("cannot tell who signed it: {error}");
        return Err(rules.iter().map(|rule| at(rule, error.kind(), text.clone())).collect());
    }
    let mut verified = BTreeSet::new();
    let mut failures = Vec::new();
    for rule in rules {
        match found.meets(rule, &image.digest) {
            Some((key, form)) => {
                verified.insert(Verified { key: key.id().to_string(), file: rule.entry.key.clone(), form });
            }
            None => {
                let (kind, diagnostic) = at(rule, Kind::Untrusted, found.complaint(rule, &image.digest));
                failures.push((kind, if found.keyless > 0 { diagnostic.hint(KEYLESS) } else { diagnostic }));
            }
        }
    }
    if failures.is_empty() { Ok(verified.into_iter().collect()) } else { Err(failures) }
}

/// What to do about signatures by certificates.
const KEYLESS: &str = "keyless signatures (certificates of Fulcio, logs of Rekor) are not checked here, only those by public keys: ask \
                       upstream for a key, or verify with cosign where the internet is and sign the digest with a key of your own";

/// The signatures of one image, unchecked.
#[derive(Default)]
struct Found {
    /// Payloads with signatures in base64.
    simple: Vec<(bytes::Bytes, String)>,
    bundles: Vec<bytes::Bytes>,
    /// How many of them belong to certificates.
    keyless: usize,
    /// How many bytes they are together.
    bytes: u64,
}

impl Found {
    /// Returns the key of a rule that signed, and in which form.
    fn meets<'r>(&self, rule: &'r Rule<'_>, digest: &Digest) -> Option<(&'r PublicKey, SignatureForm)> {
        rule.keys.iter().find_map(|key| self.signed_by(key, digest).map(|form| (key, form)))
    }

    /// Reads one signature, within what is held in memory for one image.
    async fn read(&mut self, remote: &Remote, layer: &Descriptor) -> Result<bytes::Bytes, LookError> {
        self.bytes = self.bytes.saturating_add(layer.size);
        if self.bytes > MAX_BYTES {
            return Err(LookError::TooLarge);
        }
        Ok(store::read_manifest(remote, layer).await?)
    }

    fn signed_by(&self, key: &PublicKey, digest: &Digest) -> Option<SignatureForm> {
        let simple = |(payload, signature): &(bytes::Bytes, String)| {
            trust::verify_simple(payload, signature, key, digest).is_ok()
        };
        if self.simple.iter().any(simple) {
            return Some(SignatureForm::Tag);
        }
        self.bundles
            .iter()
            .any(|bundle| trust::verify_bundle(bundle, key, digest).is_ok())
            .then_some(SignatureForm::Bundle)
    }

    /// Says why a rule is not met.
    fn complaint(&self, rule: &Rule<'_>, digest: &Digest) -> String {
        let file = &rule.entry.key;
        let total = self.simple.len() + self.bundles.len();
        if total == 0 {
            return format!("it is not signed, and {} wants a signature by {file}", rule.entry.entry.label);
        }
        // A signature by the right key that does not count is worth more words than one by another key.
        let mut odd = BTreeSet::new();
        for key in &rule.keys {
            let simple = self
                .simple
                .iter()
                .map(|(payload, signature)| trust::verify_simple(payload, signature, key, digest).err());
            let bundles = self.bundles.iter().map(|bundle| trust::verify_bundle(bundle, key, digest).err());
            let telling = |error: &trust::Error| !matches!(error, trust::Error::BadSignature { .. });
            odd.extend(simple.chain(bundles).flatten().filter(telling).map(|error| error.to_string()));
        }
        let signatures =
            if total == 1 { "it has one signature".to_owned() } else { format!("it has {total} signatures") };
        let keyless = match self.keyless {
            0 => String::new(),
            some if some == total => " (keyless)".to_owned(),
            some => format!(" ({some} keyless)"),
        };
        let odd = match odd.len() {
            0 => String::new(),
            _ => format!(": {}", odd.into_iter().collect::<Vec<_>>().join("; ")),
        };
        format!("{signatures}{keyless}, none by {file} that counts{odd}")
    }
}

/// Says why the signatures of an image could not be read.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Registry(#[from] registry::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Trust(#[from] trust::Error),
    #[error("{0} things refer to it, and more than {MAX_REFERRERS} are not looked at")]
    TooMany(usize),
    #[error("its signatures are larger than {} MiB together, which no genuine ones are", MAX_BYTES >> 20)]
    TooLarge,
}

impl Classify for LookError {
    fn kind(&self) -> Kind {
        match self {
            LookError::Registry(error) => error.kind(),
            LookError::Store(error) => error.kind(),
            LookError::Trust(_) | LookError::TooMany(_) | LookError::TooLarge => Kind::Untrusted,
        }
    }
}

/// Fetches the signatures at cosign's tag.
async fn at_tag(remote: &Remote, digest: &Digest, found: &mut Found) -> Result<(), LookError> {
    // A SHA-512 digest is longer than a tag may be: nobody can have used it.
    let Ok(tag) = trust::signature_tag(digest).parse::<Tag>() else { return Ok(()) };
    match remote.manifest(&By::Tag(tag)).await {
        Ok(raw) => simple(remote, &raw.bytes, found).await,
        Err(registry::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Fetches the signatures among what refers to an image.
async fn referrers(remote: &Remote, digest: &Digest, found: &mut Found) -> Result<(), LookError> {
    let referrers = remote.referrers(digest).await?;
    if referrers.len() > MAX_REFERRERS {
        return Err(LookError::TooMany(referrers.len()));
    }
    for referrer in referrers {
        // What a list says of its entries is a hint; the manifest itself tells what it holds.
        let raw = match remote.manifest(&By::Digest(referrer.digest)).await {
            Ok(raw) => raw,
            // A list under a tag may name what somebody has deleted.
            Err(registry::Error::NotFound { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let Ok(manifest) = Manifest::parse(Some(&raw.descriptor.media_type), &raw.bytes) else { continue };
        if manifest.subject.as_ref().is_none_or(|subject| subject.digest != *digest) {
            continue;
        }
        for layer in manifest.layers.iter().filter(|layer| is_bundle(layer)) {
            let bundle = found.read(remote, layer).await?;
            found.keyless += usize::from(is_keyless(&bundle));
            found.bundles.push(bundle);
        }
        simple(remote, &raw.bytes, found).await?;
    }
    Ok(())
}

/// Fetches the payloads of the signatures that a manifest names.
async fn simple(remote: &Remote, manifest: &[u8], found: &mut Found) -> Result<(), LookError> {
    for (layer, signature) in trust::simple_layers(manifest)? {
        found.keyless += usize::from(layer.annotations.contains_key(CERTIFICATE));
        let payload = found.read(remote, &layer).await?;
        found.simple.push((payload, signature));
    }
    Ok(())
}

fn is_bundle(layer: &Descriptor) -> bool {
    let known = layer.media_type.as_str();
    known == media_type::SIGSTORE_BUNDLE || known.starts_with("application/vnd.dev.sigstore.bundle+json")
}

/// Tells whether a bundle brings a certificate; a hint for messages alone.
fn is_keyless(bundle: &[u8]) -> bool {
    let value: Value = serde_json::from_slice(bundle).unwrap_or_default();
    let material = &value["verificationMaterial"];
    material["certificate"].is_object() || material["x509CertificateChain"].is_object()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = include_str!("../../tests/data/keys/cosign.pub");

    #[test]
    fn a_file_may_hold_several_keys() {
        assert_eq!(keys(ONE).unwrap().len(), 1);
        assert_eq!(keys(&format!("{ONE}\n{ONE}\n")).unwrap().len(), 2);
        assert!(keys("").is_err());
        assert!(keys(&format!("{ONE}junk")).is_err());
        assert!(keys(&format!("junk\n{ONE}")).is_err());
        assert!(keys(&ONE.repeat(MAX_KEYS_PER_FILE + 1)).is_err());
    }

    #[test]
    fn certificates_are_recognised() {
        assert!(is_keyless(br#"{"verificationMaterial":{"certificate":{"rawBytes":"AA=="}}}"#));
        assert!(!is_keyless(br#"{"verificationMaterial":{"publicKey":{"hint":"x"}}}"#));
        assert!(!is_keyless(b"junk"));
    }
}
