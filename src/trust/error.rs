//! Everything that can go wrong with keys, signatures and the age of an archive.
//!
//! # Failure
//! Whatever is wrong in the signed part of an archive is [`Kind::Untrusted`]: a damaged signature and a forged one look
//! alike, so both end the same way. Mistakes in key files that the user hands over are [`Kind::Usage`].

use jiff::Timestamp;

use super::KeyId;
use crate::{
    error::{Classify, Kind},
    oci::Digest,
    tree::RelPath,
};

/// Says why something is not trusted, not signed, or no usable key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A key file cannot be read as what it should be.
    #[error("no usable {what}: {why}")]
    KeyFile {
        /// What was expected, such as `public key`.
        what: &'static str,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// The key is of a type or size that is not supported for this use.
    #[error("{what} is not supported; {hint}")]
    UnsupportedKey {
        /// What the key is.
        what: &'static str,
        /// What to use instead.
        hint: &'static str,
    },
    /// The private key is not encrypted, and nobody said that this is meant.
    #[error("the private key is not encrypted: encrypt it, or state that an unencrypted key is meant")]
    UnencryptedKey,
    /// The key file asks for a key derivation outside the allowed list.
    #[error("scrypt with N={n}, r={r}, p={p} is not accepted: N must be 32768, 65536 or 131072, r=8, p=1")]
    KeyDerivation {
        /// Cost.
        n: u64,
        /// Block size.
        r: u64,
        /// Parallelism.
        p: u64,
    },
    /// The passphrase does not open the private key, or the file was changed.
    #[error("the passphrase does not open the private key")]
    WrongPassphrase,
    /// The source of random bytes failed.
    #[error("no random bytes: the system's generator failed")]
    NoRandomness,

    /// Nothing to sign with.
    #[error("no signing key")]
    NoSigner,
    /// One key signs twice.
    #[error("key {0} signs more than once")]
    SignerTwice(KeyId),
    /// More of something than a format or a limit allows.
    #[error("{count} {what} are over the limit of {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many may be.
        limit: usize,
    },
    /// A text cannot be the identity in an image signature.
    #[error("{0:?} is no signed identity: a full image name with at most a tag is expected")]
    Identity(String),
    /// The signature manifest of an image that is already there cannot be extended.
    #[error("the signature manifest that is already there cannot be extended: {0}")]
    ExistingManifest(&'static str),

    /// No trusted key was given.
    #[error("no trusted key: name the public key of whoever signs your archives")]
    NoKey,
    /// The threshold cannot be met by the given keys, or is zero.
    #[error("a threshold of {threshold} makes no sense with {keys} trusted keys")]
    Threshold {
        /// How many keys must have signed.
        threshold: usize,
        /// How many keys are trusted.
        keys: usize,
    },
    /// There is no signature at all.
    #[error("the archive is not signed")]
    Unsigned,
    /// Signed, but by no trusted key, or also by keys that are not trusted.
    #[error("signed by {}, trusted: {}", list(.have), list(.want))]
    UnknownKey {
        /// The keys that signed and are not trusted.
        have: Vec<KeyId>,
        /// The trusted keys.
        want: Vec<KeyId>,
    },
    /// Fewer trusted keys signed than the policy wants.
    #[error("signed by {have} trusted keys, {need} are needed")]
    TooFewSigners {
        /// How many did.
        have: usize,
        /// How many must.
        need: usize,
    },
    /// A signature does not match what it is said to sign.
    #[error("the signature of {what} by key {key} does not match")]
    BadSignature {
        /// What is signed.
        what: String,
        /// The key that should have signed.
        key: KeyId,
    },
    /// A file that belongs to a signature is not there.
    #[error("{0} is missing from the signatures")]
    MissingFile(RelPath),
    /// A file among the signatures is none of those that belong there.
    #[error("{0} does not belong to the signatures")]
    UnknownFile(RelPath),
    /// A file means something, but is not written as it would be written here: it was changed.
    #[error("{0} is not in its canonical form")]
    NotCanonical(RelPath),
    /// A signed document is not what its format says.
    #[error("{what} is malformed: {why}")]
    Malformed {
        /// Which document.
        what: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// A document is larger than anything genuine.
    #[error("{what} has {size} bytes, over the limit of {limit}")]
    TooLarge {
        /// Which document.
        what: String,
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A document is signed for another purpose.
    #[error("{field} is {found:?}, not {expected:?}: signed for another purpose")]
    WrongType {
        /// Which field tells.
        field: &'static str,
        /// What it says.
        found: String,
        /// What it must say.
        expected: &'static str,
    },
    /// A signature is about other content.
    #[error("the signature is about other content than {expected}")]
    WrongSubject {
        /// What it should be about.
        expected: Digest,
    },
    /// The signatures leave out an image, or name one that the archive does not list.
    #[error("the signatures by key {key} and the archive's list of images differ at {at}")]
    Coverage {
        /// Whose signatures.
        key: KeyId,
        /// The first difference, as digest or digest and name.
        at: String,
    },

    /// The archive is for somebody else.
    #[error("the archive is for {audience}, this side is {enclave}")]
    Audience {
        /// Whom it is for.
        audience: String,
        /// Who is here.
        enclave: String,
    },
    /// The archive's time is over.
    #[error("the archive expired on {expires} and is refused since {refused}")]
    Expired {
        /// When it expired.
        expires: Timestamp,
        /// Since when it is refused.
        refused: Timestamp,
    },
    /// The archive claims to end before it begins.
    #[error("the archive expires on {expires}, before it was created on {created}")]
    Lifetime {
        /// When it was created.
        created: Timestamp,
        /// When it expires.
        expires: Timestamp,
    },
    /// The archive claims to come from the future.
    #[error("the archive was created on {created}, but it is {now} here: set the clock, or distrust the archive")]
    FromTheFuture {
        /// When it claims to be created.
        created: Timestamp,
        /// The time here.
        now: Timestamp,
    },
    /// A newer archive was loaded before.
    #[error("sequence {offered} is older than {loaded}, which was loaded before")]
    Rollback {
        /// Of this archive.
        offered: u64,
        /// Of the last one.
        loaded: u64,
    },
    /// Two archives of one name and sequence: somebody signed two truths.
    #[error("sequence {sequence} was loaded before as {loaded}, and now is {offered}: two archives under one number")]
    Equivocation {
        /// The number of both.
        sequence: u64,
        /// The one from before.
        loaded: Box<Digest>,
        /// The one offered.
        offered: Box<Digest>,
    },
    /// The sequence leaps so far that no later archive could follow.
    #[error("sequence {offered} leaps from {loaded} by more than {limit}")]
    Leap {
        /// Of this archive.
        offered: u64,
        /// Of the last one.
        loaded: u64,
        /// How far it may leap.
        limit: u64,
    },
    /// The archive builds on another one than was loaded last.
    #[error("the archive builds on {needed}, which is not what was loaded last")]
    Base {
        /// The one it builds on.
        needed: Digest,
    },
}

fn list(keys: &[KeyId]) -> String {
    let keys: Vec<String> = keys.iter().map(KeyId::to_string).collect();
    keys.join(", ")
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::KeyFile { .. }
            | Error::UnsupportedKey { .. }
            | Error::UnencryptedKey
            | Error::KeyDerivation { .. }
            | Error::NoSigner
            | Error::SignerTwice(_)
            | Error::TooMany { .. }
            | Error::Identity(_)
            | Error::Threshold { .. } => Kind::Usage,
            // Exit code 3 covers denied credentials, which is what a wrong passphrase is.
            Error::WrongPassphrase => Kind::NotFound,
            Error::NoRandomness => Kind::Unavailable,
            Error::ExistingManifest(_) => Kind::Corrupt,
            Error::Base { .. } => Kind::Incomplete,
            _ => Kind::Untrusted,
        }
    }
}
