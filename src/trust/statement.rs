//! in-toto statements: lists of digests that one signature covers.
//!
//! # Invariants
//! - A statement written here has one spelling: `bundle.json` is its first subject, the others follow in ascending order
//!   of their digests, each once.
//! - Nothing is signed or accepted under another type: a signature that was made for another purpose never counts.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Error, encoding};
use crate::oci::Digest;

/// The type of a statement (in-toto attestation framework, `spec/v1/statement.md`).
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The predicate that makes a statement an image signature for cosign.
pub(super) const PREDICATE_TYPE: &str = "https://sigstore.dev/cosign/sign/v1";
/// The name of the first subject.
const FIRST: &str = "bundle.json";
/// How many subjects a statement may have: the limit of stock cosign's verifier.
const MAX_SUBJECTS: usize = 1024;
/// How many digests a subject may have: the same verifier's limit.
const MAX_DIGESTS: usize = 32;
/// How many images one statement covers beside `bundle.json`.
pub(super) const IMAGES_PER_SHARD: usize = MAX_SUBJECTS - 1;
/// The largest statement that is read; 1,024 subjects take about 110 KB.
pub(super) const MAX_STATEMENT: usize = 1 << 20;

/// Holds what a statement says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The purpose of the signature.
    pub predicate_type: String,
    /// What is signed: names, if any, and digests of the two known algorithms.
    pub subjects: Vec<(Option<String>, Vec<Digest>)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawStatement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<RawSubject>,
    predicate_type: String,
}

#[derive(Deserialize)]
struct RawSubject {
    name: Option<String>,
    digest: Map<String, Value>,
}

const WHAT: &str = "a statement";

impl Statement {
    /// Reads a statement of version 1 with any predicate.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::WrongType`], [`Error::TooLarge`].
    pub fn parse(bytes: &[u8]) -> Result<Statement, Error> {
        let malformed = |why| Error::Malformed { what: WHAT.to_owned(), why };
        if bytes.len() > MAX_STATEMENT {
            return Err(Error::TooLarge { what: WHAT.to_owned(), size: bytes.len(), limit: MAX_STATEMENT });
        }
        let value = encoding::read_json(bytes).map_err(malformed)?;
        let raw: RawStatement =
            serde_json::from_value(value).map_err(|_| malformed("its fields are not those of a statement"))?;
        if raw.kind != STATEMENT_TYPE {
            return Err(Error::WrongType { field: "_type", found: raw.kind, expected: STATEMENT_TYPE });
        }
        if raw.subject.len() > MAX_SUBJECTS {
            return Err(malformed("it has more than 1,024 subjects"));
        }
        let mut subjects = Vec::with_capacity(raw.subject.len());
        for subject in raw.subject {
            if subject.digest.len() > MAX_DIGESTS {
                return Err(malformed("a subject has more than 32 digests"));
            }
            let mut digests = Vec::new();
            for (algorithm, hex) in subject.digest {
                let hex = hex.as_str().ok_or_else(|| malformed("a digest is no text"))?;
                // Others (gitCommit, sha1) may stand beside the two that are understood here.
                if matches!(algorithm.as_str(), "sha256" | "sha512") {
                    let digest = format!("{algorithm}:{hex}");
                    digests.push(digest.parse().map_err(|_| malformed("a digest is not hex of the right length"))?);
                }
            }
            subjects.push((subject.name, digests));
        }
        Ok(Statement { predicate_type: raw.predicate_type, subjects })
    }

    /// Tells whether a digest is among the subjects.
    pub fn covers(&self, digest: &Digest) -> bool {
        self.subjects.iter().any(|(_, digests)| digests.contains(digest))
    }
}

/// Returns the statements that cover `bundle.json` and these images; at least one. The digests must be in ascending
/// order.
pub(super) fn statements(bundle_json: &Digest, images: &[Digest]) -> Vec<Vec<u8>> {
    let mut shards: Vec<&[Digest]> = images.chunks(IMAGES_PER_SHARD).collect();
    if shards.is_empty() {
        shards.push(&[]);
    }
    shards.into_iter().map(|shard| statement(bundle_json, shard)).collect()
}

fn statement(bundle_json: &Digest, images: &[Digest]) -> Vec<u8> {
    let digest = |digest: &Digest| json!({digest.algorithm().name(): digest.hex()});
    let mut subjects = vec![json!({"name": FIRST, "digest": digest(bundle_json)})];
    subjects.extend(images.iter().map(|image| json!({"digest": digest(image)})));
    let statement =
        json!({"_type": STATEMENT_TYPE, "subject": subjects, "predicateType": PREDICATE_TYPE, "predicate": {}});
    statement.to_string().into_bytes()
}

/// Reads a statement that [`statements`] wrote: `bundle.json`'s digest and those of the images. Whether the bytes are
/// exactly those that would be written is for the caller to compare.
pub(super) fn read_own(bytes: &[u8]) -> Result<(Digest, Vec<Digest>), Error> {
    let malformed = |why| Error::Malformed { what: WHAT.to_owned(), why };
    let statement = Statement::parse(bytes)?;
    if statement.predicate_type != PREDICATE_TYPE {
        let found = statement.predicate_type;
        return Err(Error::WrongType { field: "predicateType", found, expected: PREDICATE_TYPE });
    }
    let mut digests = Vec::with_capacity(statement.subjects.len());
    for (_, subject) in statement.subjects {
        let [digest] = subject[..] else { return Err(malformed("a subject has not exactly one digest")) };
        digests.push(digest);
    }
    if digests.is_empty() {
        return Err(malformed("it has no subject"));
    }
    let bundle_json = digests.remove(0);
    Ok((bundle_json, digests))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digests(count: u32) -> Vec<Digest> {
        let mut digests: Vec<Digest> = (0..count).map(|n| Digest::sha256(&n.to_be_bytes())).collect();
        digests.sort();
        digests
    }

    #[test]
    fn shards_have_at_most_1024_subjects_and_all_name_the_archive() {
        let archive = Digest::sha256(b"bundle.json");
        for (images, shards) in [(0, 1), (1, 1), (1023, 1), (1024, 2), (2046, 2), (2047, 3)] {
            let images = digests(images);
            let made = statements(&archive, &images);
            assert_eq!(made.len(), shards);
            let mut seen = Vec::new();
            for bytes in made {
                assert!(Statement::parse(&bytes).unwrap().subjects.len() <= 1024);
                let (first, rest) = read_own(&bytes).unwrap();
                assert_eq!(first, archive);
                seen.extend(rest);
            }
            assert_eq!(seen, images);
        }
    }

    #[test]
    fn the_exact_bytes() {
        let [one]: [Vec<u8>; 1] = statements(&Digest::sha256(b"{}"), &[]).try_into().unwrap();
        assert_eq!(
            std::str::from_utf8(&one).unwrap(),
            "{\"_type\":\"https://in-toto.io/Statement/v1\",\"subject\":[{\"name\":\"bundle.json\",\"digest\":{\"sha256\":\
             \"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\"}}],\
             \"predicateType\":\"https://sigstore.dev/cosign/sign/v1\",\"predicate\":{}}"
        );
    }

    #[test]
    fn limits_and_types() {
        let good = statements(&Digest::sha256(b"{}"), &digests(2)).remove(0);
        let good = std::str::from_utf8(&good).unwrap();
        for (from, to) in [
            ("Statement/v1", "Statement/v0.1"),
            ("cosign/sign/v1", "cosign/attest/v1"),
            ("\"predicate\":{}", "\"predicate\":{},\"predicate\":{}"),
            ("\"sha256\"", "\"sha1\""),
            ("\"sha256\":\"", "\"sha256\":\"00"),
        ] {
            assert!(read_own(good.replace(from, to).as_bytes()).is_err(), "{from}");
        }
        let subject = json!({"digest": {"sha256": Digest::sha256(b"").hex()}});
        let many = |count: usize| {
            json!({"_type": STATEMENT_TYPE, "predicateType": "x", "subject": vec![subject.clone(); count]}).to_string()
        };
        assert!(Statement::parse(many(1024).as_bytes()).is_ok());
        assert!(Statement::parse(many(1025).as_bytes()).is_err());
        assert!(matches!(Statement::parse(many(100_000).as_bytes()), Err(Error::TooLarge { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn reading_is_total(noise in proptest::collection::vec(any::<u8>(), 0..60), at in 0usize..400) {
            let mut bytes = statements(&Digest::sha256(b"{}"), &digests(2)).remove(0);
            for (slot, byte) in bytes.iter_mut().skip(at).zip(&noise) { *slot ^= byte; }
            let _ = (Statement::parse(&bytes), read_own(&bytes), Statement::parse(&noise));
        }
    }
}
