//! What commands that open an archive have in common: admission, and who signed it.

use std::path::Path;

use serde::Serialize;

use super::{Context, Failure};
use crate::{
    archive::{Archive, Time, Unverified, admit},
    error::Diagnostic,
    event::Event,
    lock::Verified,
    trust::{ArchiveFacts, FreshnessPolicy, KeyId, Policy, Verdict, freshness},
};

/// Opens an archive and admits it; reads its control part alone.
pub(super) fn open(file: &Path, policy: Option<&Policy>) -> Result<(Archive, Option<Verdict>), Failure> {
    Ok(admit(Unverified::open(file)?, policy)?)
}

/// Tells of an archive that is too old or not yet due, without refusing it: that is the business of loading.
pub(super) fn note_age(archive: &Archive, context: &Context, now: u64) {
    let inventory = archive.inventory();
    let timestamp = |time: Time| jiff::Timestamp::from_second(i64::try_from(time.seconds()).unwrap_or(i64::MAX));
    let now = jiff::Timestamp::from_second(i64::try_from(now).unwrap_or(i64::MAX));
    // Times of archives are within what a tar header holds, and a clock that is not says nothing.
    let (Ok(created), Ok(expires), Ok(now)) =
        (timestamp(inventory.created), inventory.expires.map(timestamp).transpose(), now)
    else {
        return;
    };
    let facts = ArchiveFacts {
        bundle_json: archive.control().digest(),
        sequence: inventory.sequence,
        created,
        expires,
        base: None,
        audience: None,
    };
    let notes = freshness(&facts, None, now, &FreshnessPolicy::default())
        .unwrap_or_else(|refusal| vec![Diagnostic::warning("not-fresh", format!("{refusal}; loading refuses it"))]);
    for note in notes {
        context.observer.on(&Event::Noted(note));
    }
}

/// Writes whose signature of an image was checked, as people compare keys.
pub(super) fn signature(one: &Verified) -> String {
    let key = KeyId::from_hex(&one.key).map_or_else(|| one.key.clone(), |key| key.fingerprint());
    format!("{} {key} ({})", one.file, one.form.as_str())
}

/// Who signed an archive.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Signers {
    /// Whether trusted keys were given and have signed.
    pub verified: bool,
    pub signers: Vec<Signer>,
    /// Keys that signed and were not given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown_signers: Vec<Signer>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Signer {
    pub key_id: String,
    pub fingerprint: String,
}

impl From<KeyId> for Signer {
    fn from(key: KeyId) -> Self {
        Signer { key_id: key.to_string(), fingerprint: key.fingerprint() }
    }
}

impl Signers {
    pub(super) fn of(verdict: Option<&Verdict>) -> Signers {
        Signers {
            verified: verdict.is_some(),
            signers: verdict.iter().flat_map(|verdict| verdict.signers()).map(Signer::from).collect(),
            unknown_signers: verdict.iter().flat_map(|verdict| verdict.unknown_signers()).map(Signer::from).collect(),
        }
    }

    /// Returns the fingerprints, as people compare them.
    pub(super) fn text(&self) -> String {
        let known = self.signers.iter().map(|signer| signer.fingerprint.clone());
        let unknown = self.unknown_signers.iter().map(|signer| format!("{} (not checked)", signer.fingerprint));
        known.chain(unknown).collect::<Vec<_>>().join(", ")
    }
}
