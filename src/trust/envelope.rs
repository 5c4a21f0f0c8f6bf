//! Envelopes: DSSE, and the sigstore bundle around it or around a plain signature.
//!
//! # Invariants
//! - What is signed in DSSE binds the type of the payload (the encoding "PAE" of the DSSE specification, version 1).
//! - An envelope has exactly one signature; stock verifiers refuse any other number.
//! - What is written here has one spelling, so that what was read can be compared with what would be written.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Error, KeyId, PublicKey, encoding,
    statement::{PREDICATE_TYPE, Statement},
};
use crate::oci::{Digest, media_type};

/// The payload type of an in-toto statement.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// The other spelling of the bundle's media type, which earlier versions of the format used.
const OLD_MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle+json;version=0.3";
/// The largest bundle that is read; admission controllers stop at 10 MB.
pub(super) const MAX_BUNDLE: usize = 10 << 20;

/// Returns the bytes that a DSSE signature is over.
pub(super) fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// Returns the bytes that a signature over an in-toto statement is over.
pub(super) fn statement_message(statement: &[u8]) -> Vec<u8> {
    pre_authentication(PAYLOAD_TYPE, statement)
}

/// Writes the bundle of a signed statement.
pub(super) fn write_statement_bundle(key: KeyId, statement: &[u8], signature: &[u8]) -> Bytes {
    let bundle = json!({
        "mediaType": media_type::SIGSTORE_BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": key.hint()}},
        "dsseEnvelope": {
            "payload": encoding::base64(statement),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": encoding::base64(signature)}],
        },
    });
    bundle.to_string().into()
}

/// Writes the bundle of a signed file, as `cosign verify-blob` reads it.
pub(super) fn write_message_bundle(key: KeyId, digest: &[u8; 32], signature: &[u8]) -> Bytes {
    let bundle = json!({
        "mediaType": media_type::SIGSTORE_BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": key.hint()}},
        "messageSignature": {
            "messageDigest": {"algorithm": "SHA2_256", "digest": encoding::base64(digest)},
            "signature": encoding::base64(signature),
        },
    });
    bundle.to_string().into()
}

/// Holds what a bundle contains, as far as a check with a given key needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bundle {
    /// Which key the writer names; never a reason to trust.
    pub(super) hint: Option<KeyId>,
    /// What is signed, and how.
    pub(super) content: Content,
    /// The signature.
    pub(super) signature: Vec<u8>,
}

/// Tells the two kinds of bundles apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A statement in a DSSE envelope.
    Statement(Vec<u8>),
    /// A file, by its SHA-256.
    Message([u8; 32]),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawBundle {
    media_type: String,
    #[serde(default)]
    verification_material: Value,
    dsse_envelope: Option<RawEnvelope>,
    message_signature: Option<RawMessage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEnvelope {
    payload: String,
    payload_type: String,
    signatures: Vec<RawSignature>,
}

#[derive(Deserialize)]
struct RawSignature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMessage {
    message_digest: RawDigest,
    signature: String,
}

#[derive(Deserialize)]
struct RawDigest {
    algorithm: String,
    digest: String,
}

const WHAT: &str = "a sigstore bundle";

impl Bundle {
    /// Reads a bundle of version 0.3. Material for other ways to verify (certificates, log entries) is passed over.
    pub(super) fn parse(bytes: &[u8]) -> Result<Bundle, Error> {
        let malformed = |why| Error::Malformed { what: WHAT.to_owned(), why };
        if bytes.len() > MAX_BUNDLE {
            return Err(Error::TooLarge { what: WHAT.to_owned(), size: bytes.len(), limit: MAX_BUNDLE });
        }
        let value = encoding::read_json(bytes).map_err(malformed)?;
        let raw: RawBundle =
            serde_json::from_value(value).map_err(|_| malformed("its fields are not those of a bundle"))?;
        if !matches!(raw.media_type.as_str(), media_type::SIGSTORE_BUNDLE | OLD_MEDIA_TYPE) {
            return Err(Error::WrongType {
                field: "mediaType",
                found: raw.media_type,
                expected: media_type::SIGSTORE_BUNDLE,
            });
        }
        let unbase64 =
            |text: &str| encoding::unbase64(text).ok_or_else(|| malformed("a field is not canonical base64"));
        let hint = raw.verification_material["publicKey"]["hint"].as_str().and_then(KeyId::from_hint);
        match (raw.dsse_envelope, raw.message_signature) {
            (Some(envelope), None) => {
                if envelope.payload_type != PAYLOAD_TYPE {
                    let found = envelope.payload_type;
                    return Err(Error::WrongType { field: "payloadType", found, expected: PAYLOAD_TYPE });
                }
                let [signature] = &envelope.signatures[..] else {
                    return Err(malformed("the envelope has not exactly one signature"));
                };
                let content = Content::Statement(unbase64(&envelope.payload)?);
                Ok(Bundle { hint, content, signature: unbase64(&signature.sig)? })
            }
            (None, Some(message)) => {
                if message.message_digest.algorithm != "SHA2_256" {
                    let found = message.message_digest.algorithm;
                    return Err(Error::WrongType { field: "messageDigest.algorithm", found, expected: "SHA2_256" });
                }
                let digest = unbase64(&message.message_digest.digest)?;
                let digest = digest.try_into().map_err(|_| malformed("the message digest has not 32 bytes"))?;
                Ok(Bundle { hint, content: Content::Message(digest), signature: unbase64(&message.signature)? })
            }
            _ => Err(malformed("it has not exactly one of dsseEnvelope and messageSignature")),
        }
    }
}

/// Checks a bundle that refers to an image: an image signature by this key that covers this digest. Returns the statement.
///
/// # Errors
/// [`Error::BadSignature`], [`Error::WrongSubject`], [`Error::WrongType`] for attestations that are no image signature,
/// and [`Error::Malformed`] for everything that is no such bundle.
pub fn verify_bundle(bundle: &[u8], key: &PublicKey, digest: &Digest) -> Result<Statement, Error> {
    let bundle = Bundle::parse(bundle)?;
    let Content::Statement(payload) = bundle.content else {
        return Err(Error::Malformed { what: WHAT.to_owned(), why: "it signs a file, not an image" });
    };
    if !key.verifies_image(&statement_message(&payload), &bundle.signature) {
        return Err(Error::BadSignature { what: digest.to_string(), key: key.id() });
    }
    let statement = Statement::parse(&payload)?;
    if statement.predicate_type != PREDICATE_TYPE {
        let found = statement.predicate_type;
        return Err(Error::WrongType { field: "predicateType", found, expected: PREDICATE_TYPE });
    }
    if !statement.covers(digest) {
        return Err(Error::WrongSubject { expected: *digest });
    }
    Ok(statement)
}

/// Checks a bundle that `cosign sign-blob --bundle` or this project made for a file.
///
/// # Errors
/// [`Error::BadSignature`], and [`Error::Malformed`] or [`Error::WrongType`] for everything that is no such bundle.
pub fn verify_blob(bundle: &[u8], key: &PublicKey, content: &[u8]) -> Result<(), Error> {
    let bundle = Bundle::parse(bundle)?;
    let Content::Message(digest) = bundle.content else {
        return Err(Error::Malformed { what: WHAT.to_owned(), why: "it signs a statement, not a file" });
    };
    if Digest::sha256(content) != Digest::Sha256(digest) || !key.verifies(content, &bundle.signature) {
        return Err(Error::BadSignature { what: "the file".to_owned(), key: key.id() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::{SigningKey, SystemRandomness, statement::statements};
    use proptest::prelude::*;

    #[test]
    fn the_specification_s_example() {
        // DSSE protocol, "Test Vectors": the encoded payload, the private key, and its signature by RFC 6979 as r and s.
        let message = pre_authentication("http://example.com/HelloWorld", b"hello world");
        assert_eq!(message, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
        let secret = encoding::unhex("d73ec437fd6346e3619c5ebfdfff0f6916804955ad32ac9ac492b0ede1f6ffb7").unwrap();
        let sec1 = [&b"\x30\x31\x02\x01\x01\x04\x20"[..], &secret, b"\xa0\x0a\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"]
            .concat();
        let key = SigningKey::import_unencrypted(&encoding::write_pem("EC PRIVATE KEY", &sec1)).unwrap();
        let published = encoding::unbase64(
            "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA==",
        )
        .unwrap();
        let signature = key.sign(&message);
        assert_eq!(encoding::ecdsa_parts(&signature), Some(published.split_at(32)));
    }

    #[test]
    fn reads_what_cosign_writes_for_a_file() {
        let key = PublicKey::from_pem(include_str!("../../tests/data/keys/cosign.pub")).unwrap();
        let bundle = include_bytes!("../../tests/data/keys/cosign-blob.sigstore.json");
        let message = include_bytes!("../../tests/data/keys/message.txt");
        assert_eq!(Bundle::parse(bundle).unwrap().hint, Some(key.id()));
        assert_eq!(verify_blob(bundle, &key, message), Ok(()));
        assert!(verify_blob(bundle, &key, &message[1..]).is_err());
        assert!(verify_bundle(bundle, &key, &Digest::sha256(message)).is_err());
    }

    fn example() -> (SigningKey, Digest, Bytes) {
        let key = SigningKey::generate(&mut SystemRandomness).unwrap();
        let image = Digest::sha256(b"image");
        let statement = statements(&Digest::sha256(b"{}"), &[image]).remove(0);
        let signature = key.sign(&statement_message(&statement));
        let bundle = write_statement_bundle(key.public().id(), &statement, &signature);
        (key, image, bundle)
    }

    #[test]
    fn covers_what_it_names_and_nothing_else() {
        let (key, image, bundle) = example();
        assert!(verify_bundle(&bundle, key.public(), &image).unwrap().covers(&image));
        let other = Digest::sha256(b"other");
        assert_eq!(verify_bundle(&bundle, key.public(), &other), Err(Error::WrongSubject { expected: other }));
        let stranger = SigningKey::generate(&mut SystemRandomness).unwrap();
        assert!(matches!(verify_bundle(&bundle, stranger.public(), &image), Err(Error::BadSignature { .. })));
    }

    #[test]
    fn a_signature_for_another_purpose_does_not_count() {
        let (key, image, bundle) = example();
        let statement = statements(&Digest::sha256(b"{}"), &[image]).remove(0);
        // The same payload under another type, and signed without one.
        for message in [pre_authentication("application/json", &statement), statement.clone()] {
            let bundle = write_statement_bundle(key.public().id(), &statement, &key.sign(&message));
            assert!(matches!(verify_bundle(&bundle, key.public(), &image), Err(Error::BadSignature { .. })));
        }
        let attested = String::from_utf8(statement).unwrap().replace(PREDICATE_TYPE, "https://example.com/scan");
        let signature = key.sign(&statement_message(attested.as_bytes()));
        let attested = write_statement_bundle(key.public().id(), attested.as_bytes(), &signature);
        let result = verify_bundle(&attested, key.public(), &image);
        assert!(matches!(result, Err(Error::WrongType { field: "predicateType", .. })), "{result:?}");
        let text = std::str::from_utf8(&bundle).unwrap();
        for (from, to) in [
            ("vnd.in-toto+json", "json"),
            ("bundle.v0.3", "bundle.v0.4"),
            ("}]}}", "}]},\"messageSignature\":{}}"),
            ("\"signatures\":[", "\"signatures\":[{\"sig\":\"AAAA\"},"),
            ("\"payload\":", "\"payload\":\"\",\"payload\":"),
        ] {
            assert_ne!(text, text.replace(from, to));
            assert!(verify_bundle(text.replace(from, to).as_bytes(), key.public(), &image).is_err(), "{from}");
        }
    }

    #[test]
    fn a_flood_of_signatures_ends_early() {
        let many = vec![json!({"sig": "AAAA"}); 100_000];
        let bundle = json!({
            "mediaType": media_type::SIGSTORE_BUNDLE,
            "dsseEnvelope": {"payload": "", "payloadType": PAYLOAD_TYPE, "signatures": many}
        });
        assert!(Bundle::parse(bundle.to_string().as_bytes()).is_err());
        assert!(matches!(Bundle::parse(&vec![b' '; MAX_BUNDLE + 1]), Err(Error::TooLarge { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn reading_is_total(noise in proptest::collection::vec(any::<u8>(), 0..60), at in 0usize..700) {
            let key = PublicKey::from_pem(include_str!("../../tests/data/keys/cosign.pub")).unwrap();
            let (content, digest) = (b"content", Digest::sha256(b"content"));
            let statement = statements(&digest, &[]).remove(0);
            for bundle in [write_statement_bundle(key.id(), &statement, b"sig"), write_message_bundle(key.id(), &[1; 32], b"sig")] {
                let mut bytes = bundle.to_vec();
                for (slot, byte) in bytes.iter_mut().skip(at).zip(&noise) { *slot ^= byte; }
                for bytes in [&bytes, &noise] {
                    let _ = Bundle::parse(bytes);
                    prop_assert!(verify_bundle(bytes, &key, &digest).is_err());
                    prop_assert!(verify_blob(bytes, &key, content).is_err());
                }
            }
        }
    }
}
