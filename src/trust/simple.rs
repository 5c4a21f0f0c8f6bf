//! Simple signing: the older form of image signatures, which runtimes and most admission controllers read.
//!
//! A signature is a layer of a manifest at the tag `sha256-<hex>.sig` beside the image: the layer is the signed payload,
//! an annotation of its descriptor the signature (cosign, `specs/SIGNATURE_SPEC.md`).
//!
//! # Invariants
//! - A payload that is written here has exactly the fields that containers/image accepts, in one spelling.
//! - Layers of others in a signature manifest stay as they are; ours are appended once.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Error, PublicKey, encoding};
use crate::oci::{Descriptor, Digest, Manifest, Reference, media_type};

/// The annotation that holds the signature of a layer.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// The only type of payload there is.
const PAYLOAD_TYPE: &str = "cosign container image signature";
/// How many signatures stock cosign reads of one image.
const MAX_LAYERS: usize = 1000;
/// The largest payload that is read; the genuine ones are a few hundred bytes.
const MAX_PAYLOAD: usize = 1 << 20;
/// The largest manifest that registries must accept (distribution specification, "Pushing Manifests").
const MAX_MANIFEST: usize = 4 << 20;

/// Names an image inside a signature: the full name, with the tag if there is one, never with a digest.
///
/// By tag, containers/image compares the whole text; by digest it compares the names only. So a name with its original
/// tag serves both.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SignedIdentity(String);

impl SignedIdentity {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&Reference> for SignedIdentity {
    fn from(reference: &Reference) -> Self {
        SignedIdentity(Reference { digest: None, ..reference.clone() }.to_string())
    }
}

impl FromStr for SignedIdentity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.parse::<Reference>() {
            Ok(reference) if reference.digest.is_none() && reference.to_string() == text => {
                Ok(SignedIdentity(text.to_owned()))
            }
            _ => Err(Error::Identity(text.to_owned())),
        }
    }
}

impl fmt::Display for SignedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the bytes that are signed for an image under a name.
pub fn simple_payload(identity: &SignedIdentity, digest: &Digest) -> Bytes {
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": identity.as_str()},
            "image": {"docker-manifest-digest": digest.to_string()},
            "type": PAYLOAD_TYPE,
        },
        "optional": null,
    });
    payload.to_string().into()
}

/// Holds what a payload says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimpleClaims {
    /// The image as its signer called it; any text, possibly empty.
    pub reference: String,
    /// The manifest that is signed.
    pub digest: Digest,
    /// What else the signer claims.
    pub optional: Map<String, Value>,
}

impl SimpleClaims {
    /// Reads a payload, accepting exactly the fields that containers/image accepts.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::TooLarge`] and [`Error::WrongType`].
    pub fn parse(payload: &[u8]) -> Result<SimpleClaims, Error> {
        const WHAT: &str = "a simple signing payload";
        let malformed = |why| Error::Malformed { what: WHAT.to_owned(), why };
        if payload.len() > MAX_PAYLOAD {
            return Err(Error::TooLarge { what: WHAT.to_owned(), size: payload.len(), limit: MAX_PAYLOAD });
        }
        let value = encoding::read_json(payload).map_err(malformed)?;
        let [critical, optional] = fields(&value, ["critical", "optional"]).map_err(malformed)?;
        let [identity, image, kind] = fields(critical, ["identity", "image", "type"]).map_err(malformed)?;
        let [reference] = fields(identity, ["docker-reference"]).map_err(malformed)?;
        let [digest] = fields(image, ["docker-manifest-digest"]).map_err(malformed)?;
        let kind = kind.as_str().ok_or_else(|| malformed("critical.type is no text"))?;
        if kind != PAYLOAD_TYPE {
            return Err(Error::WrongType { field: "critical.type", found: kind.to_owned(), expected: PAYLOAD_TYPE });
        }
        Ok(SimpleClaims {
            reference: reference.as_str().ok_or_else(|| malformed("docker-reference is no text"))?.to_owned(),
            digest: digest
                .as_str()
                .and_then(|digest| digest.parse().ok())
                .ok_or_else(|| malformed("docker-manifest-digest is no digest"))?,
            optional: match optional {
                Value::Null => Map::new(),
                Value::Object(claims) => claims.clone(),
                _ => return Err(malformed("optional is neither null nor an object")),
            },
        })
    }
}

/// Takes exactly these fields from an object.
fn fields<'a, const N: usize>(value: &'a Value, names: [&str; N]) -> Result<[&'a Value; N], &'static str> {
    const WRONG: &str = "it has not exactly the expected fields";
    let object = value.as_object().filter(|object| object.len() == N).ok_or(WRONG)?;
    let found: Vec<&Value> = names.iter().filter_map(|name| object.get(*name)).collect();
    found.try_into().map_err(|_| WRONG)
}

/// Checks a signature that stands beside an image, in base64 as its annotation holds it: by this key, over this payload,
/// about this digest. Returns what else it says.
///
/// # Errors
/// [`Error::BadSignature`], [`Error::WrongSubject`], and those of [`SimpleClaims::parse`].
pub fn verify_simple(payload: &[u8], signature: &str, key: &PublicKey, digest: &Digest) -> Result<SimpleClaims, Error> {
    if payload.len() > MAX_PAYLOAD {
        return Err(Error::TooLarge { what: "a payload".to_owned(), size: payload.len(), limit: MAX_PAYLOAD });
    }
    let genuine = encoding::unbase64(signature).is_some_and(|signature| key.verifies_image(payload, &signature));
    if !genuine {
        return Err(Error::BadSignature { what: digest.to_string(), key: key.id() });
    }
    let claims = SimpleClaims::parse(payload)?;
    if claims.digest != *digest {
        return Err(Error::WrongSubject { expected: *digest });
    }
    Ok(claims)
}

/// Holds one signature in the older form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimpleSignature {
    /// The signed bytes, which become a layer.
    pub payload: Bytes,
    /// The signature in base64, which becomes an annotation.
    pub signature: String,
}

/// Lists the signatures that a signature manifest names: descriptor of the payload and signature in base64. Layers of
/// other types, or without a signature, are passed over.
///
/// # Errors
/// [`Error::Malformed`] when the bytes are no manifest, [`Error::TooMany`] over the limit of stock cosign.
pub fn simple_layers(manifest: &[u8]) -> Result<Vec<(Descriptor, String)>, Error> {
    let manifest = Manifest::parse(None, manifest)
        .map_err(|_| Error::Malformed { what: "a signature manifest".to_owned(), why: "it is no image manifest" })?;
    within(manifest.layers.len())?;
    let signed = manifest.layers.into_iter().filter(|layer| layer.media_type.as_str() == media_type::SIMPLE_SIGNING);
    Ok(signed.filter_map(|layer| layer.annotations.get(SIGNATURE).cloned().map(|text| (layer, text))).collect())
}

fn within(layers: usize) -> Result<(), Error> {
    if layers > MAX_LAYERS {
        return Err(Error::TooMany { what: "signatures of one image", count: layers, limit: MAX_LAYERS });
    }
    Ok(())
}

/// Holds everything to push for the tag `<algorithm>-<hex>.sig`: blobs first, then the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureManifest {
    /// The manifest to put at the tag.
    pub manifest: (Descriptor, Bytes),
    /// The config and the payloads that are new; blobs of layers that were there already are not repeated.
    pub blobs: Vec<(Descriptor, Bytes)>,
    /// Whether the manifest differs from the one that was there; when not, nothing needs to be pushed.
    pub changed: bool,
}

/// Returns the tag at which the older signatures of an image are.
pub fn signature_tag(digest: &Digest) -> String {
    format!("{}-{}.sig", digest.algorithm().name(), digest.hex())
}

/// Makes the signature manifest of an image, or extends the one that is there with those signatures that it has not.
///
/// # Errors
/// [`Error::ExistingManifest`] when what is there is no signature manifest, [`Error::TooMany`] and [`Error::TooLarge`]
/// over the limits of cosign and of registries.
pub fn signature_manifest(existing: Option<&[u8]>, ours: &[SimpleSignature]) -> Result<SignatureManifest, Error> {
    let mut document = match existing {
        Some(bytes) => existing_manifest(bytes)?,
        None => match json!({"schemaVersion": 2, "mediaType": null, "config": null, "layers": []}) {
            Value::Object(document) => document,
            _ => Map::new(),
        },
    };
    let mut layers = match document.remove("layers") {
        Some(Value::Array(layers)) => layers,
        _ => Vec::new(),
    };
    let before = layers.len();
    let mut blobs = Vec::new();
    for one in ours {
        let mut descriptor = Descriptor::of(media_type::SIMPLE_SIGNING, &one.payload);
        let same = |layer: &Value| {
            layer["digest"].as_str() == Some(&descriptor.digest.to_string())
                && layer["annotations"][SIGNATURE].as_str() == Some(&one.signature)
        };
        if !layers.iter().any(same) {
            descriptor.annotations.insert(SIGNATURE.to_owned(), one.signature.clone());
            layers.push(json!(descriptor));
            descriptor.annotations.clear();
            if !blobs.iter().any(|(known, _): &(Descriptor, Bytes)| known.digest == descriptor.digest) {
                blobs.push((descriptor, one.payload.clone()));
            }
        }
    }
    within(layers.len())?;
    if let (Some(bytes), true) = (existing, layers.len() == before) {
        let bytes = Bytes::copy_from_slice(bytes);
        let manifest = (Descriptor::of(media_type::MANIFEST, &bytes), bytes);
        return Ok(SignatureManifest { manifest, blobs, changed: false });
    }
    // Layers are not compressed, so their digests are their diff ids. Tools that look at signatures as images want one
    // per layer.
    let diff_ids: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
    let config: Bytes = json!({
        "architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}
    })
    .to_string()
    .into();
    let config = (Descriptor::of(media_type::CONFIG, &config), config);
    document.insert("mediaType".to_owned(), media_type::MANIFEST.into());
    document.insert("config".to_owned(), json!(config.0));
    document.insert("layers".to_owned(), Value::Array(layers));
    blobs.insert(0, config);
    let bytes: Bytes = Value::Object(document).to_string().into();
    if bytes.len() > MAX_MANIFEST {
        return Err(Error::TooLarge {
            what: "the signature manifest".to_owned(),
            size: bytes.len(),
            limit: MAX_MANIFEST,
        });
    }
    Ok(SignatureManifest { manifest: (Descriptor::of(media_type::MANIFEST, &bytes), bytes), blobs, changed: true })
}

/// Reads a signature manifest as a document, so that everything in it that is not understood stays.
fn existing_manifest(bytes: &[u8]) -> Result<Map<String, Value>, Error> {
    let parsed = Manifest::parse(None, bytes).map_err(|_| Error::ExistingManifest("it is no manifest"))?;
    if !parsed.manifests.is_empty() || parsed.config.is_none() {
        return Err(Error::ExistingManifest("it is no image manifest"));
    }
    match encoding::read_json(bytes).map_err(Error::ExistingManifest)? {
        Value::Object(document) if document.get("layers").is_some_and(Value::is_array) => Ok(document),
        _ => Err(Error::ExistingManifest("it has no layers")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::{SigningKey, SystemRandomness};
    use proptest::prelude::*;

    fn signed(key: &SigningKey, name: &str, digest: &Digest) -> SimpleSignature {
        let payload = simple_payload(&name.parse().unwrap(), digest);
        let signature = encoding::base64(&key.sign(&payload));
        SimpleSignature { payload, signature }
    }

    #[test]
    fn the_payload_has_its_exact_bytes() {
        let digest = Digest::sha256(b"{}");
        let reference: Reference = format!("nginx:1.25@{digest}").parse().unwrap();
        let payload = simple_payload(&SignedIdentity::from(&reference), &digest);
        assert_eq!(
            std::str::from_utf8(&payload).unwrap(),
            "{\"critical\":{\"identity\":{\"docker-reference\":\"docker.io/library/nginx:1.25\"},\"image\":{\
             \"docker-manifest-digest\":\"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\"},\
             \"type\":\"cosign container image signature\"},\"optional\":null}"
        );
        assert_eq!(SimpleClaims::parse(&payload).unwrap().digest, digest);
        for bad in ["nginx", "docker.io/library/nginx@sha256:00", "", "UPPER/App", &format!("quay.io/a/b@{digest}")] {
            assert!(bad.parse::<SignedIdentity>().is_err(), "{bad}");
        }
    }

    #[test]
    fn claims_have_exactly_the_known_fields() {
        let good = simple_payload(&"quay.io/a/b:1".parse().unwrap(), &Digest::sha256(b"{}"));
        let good = std::str::from_utf8(&good).unwrap();
        let optional = good.replace("null", r#"{"creator":"x","timestamp":1}"#);
        assert_eq!(SimpleClaims::parse(optional.as_bytes()).unwrap().optional["timestamp"], 1);
        for (from, to) in [
            ("docker-manifest-digest", "Docker-manifest-digest"),
            ("null", "[]"),
            ("null", "null,\"more\":1"),
            ("\"optional\":null", "\"optional\":null,\"optional\":null"),
            ("\"type\":", "\"extra\":1,\"type\":"),
            ("cosign container", "atomic container"),
            ("sha256:", "sha1:"),
            (",\"optional\":null", ""),
            ("\"quay.io/a/b:1\"", "7"),
        ] {
            assert_ne!(good.replace(from, to), good);
            assert!(SimpleClaims::parse(good.replace(from, to).as_bytes()).is_err(), "{from} {to}");
        }
    }

    #[test]
    fn a_signature_is_about_one_digest_and_by_one_key() {
        let (key, other) = (generate(), generate());
        let digest = Digest::sha256(b"image");
        let one = signed(&key, "quay.io/a/b:1", &digest);
        assert_eq!(
            verify_simple(&one.payload, &one.signature, key.public(), &digest).unwrap().reference,
            "quay.io/a/b:1"
        );
        let elsewhere = Digest::sha256(b"other");
        let result = verify_simple(&one.payload, &one.signature, key.public(), &elsewhere);
        assert_eq!(result, Err(Error::WrongSubject { expected: elsewhere }));
        assert!(verify_simple(&one.payload, &one.signature, other.public(), &digest).is_err());
        assert!(verify_simple(&one.payload, "", key.public(), &digest).is_err());
        assert!(verify_simple(&one.payload[1..], &one.signature, key.public(), &digest).is_err());
    }

    fn generate() -> SigningKey {
        SigningKey::generate(&mut SystemRandomness).unwrap()
    }

    #[test]
    fn ours_is_appended_once_and_theirs_stays() {
        let (upstream, key) = (generate(), generate());
        let digest = Digest::sha256(b"image");
        let theirs = signature_manifest(None, &[signed(&upstream, "quay.io/a/b:1", &digest)]).unwrap();
        let mut document: Value = serde_json::from_slice(&theirs.manifest.1).unwrap();
        document["layers"][0]["annotations"]["dev.sigstore.cosign/bundle"] = "{}".into();
        document["annotations"] = json!({"kept": "yes"});
        let before = document.to_string();
        let ours = [signed(&key, "quay.io/a/b:1", &digest), signed(&key, "quay.io/a/b:2", &digest)];
        let merged = signature_manifest(Some(before.as_bytes()), &ours).unwrap();
        assert!(merged.changed && merged.blobs.len() == 3);
        let after: Value = serde_json::from_slice(&merged.manifest.1).unwrap();
        assert_eq!(after["layers"][0], document["layers"][0]);
        assert_eq!(after["annotations"], document["annotations"]);
        let listed = simple_layers(&merged.manifest.1).unwrap();
        assert_eq!(listed.len(), 3);
        assert_eq!((&listed[2].0.digest, &listed[2].1), (&Digest::sha256(&ours[1].payload), &ours[1].signature));
        assert_eq!(merged.manifest.0, Descriptor::of(media_type::MANIFEST, &merged.manifest.1));
        let config: Value = serde_json::from_slice(&merged.blobs[0].1).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"].as_array().map(Vec::len), Some(3));
        let again = signature_manifest(Some(&merged.manifest.1), &ours).unwrap();
        assert!(!again.changed && again.blobs.is_empty() && again.manifest == merged.manifest);
    }

    #[test]
    fn two_keys_share_a_payload() {
        let digest = Digest::sha256(b"image");
        let ours = [signed(&generate(), "quay.io/a/b:1", &digest), signed(&generate(), "quay.io/a/b:1", &digest)];
        let made = signature_manifest(None, &ours).unwrap();
        assert_eq!((made.blobs.len(), simple_layers(&made.manifest.1).unwrap().len()), (2, 2));
    }

    #[test]
    fn what_is_no_signature_manifest_is_not_extended() {
        let one = [signed(&generate(), "quay.io/a/b:1", &Digest::sha256(b"image"))];
        for bad in ["", "{}", "[]", r#"{"manifests":[]}"#, r#"{"layers":[]}"#, r#"{"layers":[],"layers":[]}"#] {
            assert!(matches!(signature_manifest(Some(bad.as_bytes()), &one), Err(Error::ExistingManifest(_))), "{bad}");
        }
        let mut full: Value = serde_json::from_slice(&signature_manifest(None, &one).unwrap().manifest.1).unwrap();
        full["layers"] = Value::Array(vec![full["layers"][0].clone(); 1000]);
        full["layers"][0]["annotations"] = json!({});
        assert!(signature_manifest(Some(full.to_string().as_bytes()), &one).is_ok_and(|made| !made.changed));
        let more = [signed(&generate(), "quay.io/a/b:1", &Digest::sha256(b"image"))];
        assert!(matches!(signature_manifest(Some(full.to_string().as_bytes()), &more), Err(Error::TooMany { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn reading_is_total(noise in proptest::collection::vec(any::<u8>(), 0..60), at in 0usize..300) {
            let digest = Digest::sha256(b"image");
            let payload = simple_payload(&"quay.io/a/b:1".parse().unwrap(), &digest);
            let one = SimpleSignature { payload, signature: "AAAA".to_owned() };
            let manifest = signature_manifest(None, std::slice::from_ref(&one)).unwrap().manifest.1;
            for document in [&one.payload, &manifest] {
                let mut bytes = document.to_vec();
                for (slot, byte) in bytes.iter_mut().skip(at).zip(&noise) { *slot ^= byte; }
                for bytes in [&bytes, &noise] {
                    let _ = (SimpleClaims::parse(bytes), simple_layers(bytes), signature_manifest(Some(bytes), std::slice::from_ref(&one)));
                }
            }
        }
    }
}
