//! Keys, envelopes and policies: who signed what, and whether that is enough. Pure: bytes, time, passphrases and
//! randomness come in as arguments, files and manifests go out as bytes.
//!
//! ```text
//!                        SigningKey
//!                            │ SignatureSet::sign(bundle.json, images)
//!                            ▼
//!   files of the archive  SignatureSet::write ──▶ bundle.json.sigstore.json, bundle.sig/…
//!                            │
//!   on the other side     verify_control(Policy, bundle.json, files) ──▶ Verdict ──▶ covers(images)
//!                            │ SignatureSet::of_image(digest)
//!                            ▼
//!   beside each image     signature_manifest ──▶ tag sha256-….sig     bundle_referrer ──▶ referrers
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `secret.rs` | [`SigningKey`]: cosign's encrypted key files, deterministic signatures |
//! | `public.rs` | [`PublicKey`], [`KeyId`]: names of keys, verification |
//! | `simple.rs` | the older form of image signatures: payload and `.sig` manifest |
//! | `statement.rs` | the newer form: in-toto statements over many digests |
//! | `envelope.rs` | DSSE and sigstore bundles |
//! | `root.rs` | [`RootCertificate`]: roots that are handed out |
//! | `referrer.rs` | the manifest that attaches a bundle to an image |
//! | `signatures.rs` | [`SignatureSet`]: the signed part of an archive |
//! | `policy.rs` | [`Policy`], [`verify_control`]: whom to trust, and the check |
//! | `freshness.rs` | [`freshness()`]: sequence, expiry, rollback |
//! | `encoding.rs` | strict base64, PEM, DER and JSON |
//!
//! # Invariants
//! - Every byte of the signed part of an archive is checked: what was read must be written again identically, and every
//!   signature must match. So no changed bit is accepted.
//! - Signing is deterministic: the same key and content give the same bytes.
//! - A key that comes with an archive is never trusted; the algorithm comes from the key, never from the signature.
//! - Secrets are wiped when dropped, and never shown.
//!
//! # Failure
//! [`Error`]; whatever is wrong with a signature is `Untrusted` and never retried. An archive's list of images is believed
//! only after [`Verdict::covers`] agreed.

mod encoding;
mod envelope;
mod error;
mod freshness;
mod policy;
mod public;
mod referrer;
mod root;
mod secret;
mod signatures;
mod simple;
mod statement;
pub mod x509;

pub use envelope::{verify_blob, verify_bundle};
pub use error::Error;
pub use freshness::{ArchiveFacts, ExpiryPolicy, FreshnessPolicy, LastLoaded, freshness};
pub use policy::{Policy, Verdict, verify_control};
pub use public::{KeyAlgorithm, KeyId, PublicKey};
pub use referrer::{BundleReferrer, bundle_referrer};
pub use root::RootCertificate;
pub use secret::{Passphrase, Randomness, SigningKey, SystemRandomness};
pub use signatures::{ImageSignatures, SignatureSet, SignedImage};
pub use simple::{
    SignatureManifest, SignedIdentity, SimpleClaims, SimpleSignature, signature_manifest, signature_tag, simple_layers,
    simple_payload, verify_simple,
};
pub use statement::Statement;
