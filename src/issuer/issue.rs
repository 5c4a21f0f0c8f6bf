//! Certificates of servers: made, kept, recorded, revoked.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Error, Home};
use crate::{
    files,
    trust::{
        Passphrase, Randomness,
        x509::{
            Authority, CaKey, Certificate, Curve, Lifetime, Reason, Request, Revoked, ServerName, SubjectKey, Usage,
            verify_server, write_chain,
        },
    },
};

/// The file with a line for each certificate.
const RECORDS: &str = "issued.jsonl";
/// A hundred thousand certificates and more.
const MAX_RECORDS: u64 = 64 << 20;

/// Says what certificate is asked for.
#[derive(Debug)]
pub struct Ask<'a> {
    /// The names; those of the request count as well.
    pub names: Vec<ServerName>,
    /// A request whose key is signed; without one, a key is made.
    pub request: Option<&'a Request>,
    /// How many days it lives.
    pub days: u32,
    /// What it is for.
    pub usage: Usage,
}

/// Holds a certificate of a server.
#[derive(Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: Certificate,
    /// The certificate and everything up to the root, without it: what the server sends.
    pub chain: String,
    /// The private key in PEM, when it was made here.
    pub key: Option<Zeroizing<String>>,
}

/// Tells of a certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The serial number.
    pub serial: String,
    /// The names in it.
    pub names: Vec<String>,
    /// When it ends.
    pub not_after: Timestamp,
    /// Who signed it.
    pub issuer: String,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Timestamp>,
    /// Why it was revoked, as X.509 says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Signs a certificate for a server and records it. Nothing else is written.
///
/// # Errors
/// Names outside the authority's scope, all of them at once; a life beyond the authority's; an expired authority.
pub fn issue(
    home: &Home,
    issuing: &Authority,
    ask: &Ask<'_>,
    now: Timestamp,
    random: &mut dyn Randomness,
) -> Result<Issued, Error> {
    let mut names = ask.names.clone();
    if let Some(request) = ask.request {
        if request.authority {
            let text = "a certificate of an authority; the root signs those (`bundle issuer sign`)";
            return Err(crate::trust::x509::Error::RequestAsks(text.to_owned()).into());
        }
        names.extend(request.names.iter().filter(|name| !ask.names.contains(name)).cloned());
    }
    let made = match ask.request {
        Some(_) => None,
        None => Some(CaKey::generate(Curve::P256, random)?),
    };
    let key = match (&made, ask.request) {
        (Some(key), _) => SubjectKey::Own(key),
        (None, Some(request)) => SubjectKey::Requested(request),
        (None, None) => return Err(crate::trust::x509::Error::NoName.into()),
    };
    let life = Lifetime::Days(ask.days);
    let certificate = issuing.sign_server(key, &names, life, ask.usage, now, random)?;
    let mut chain = vec![certificate.clone()];
    chain.extend(home.issuing_chain()?);
    let root = chain.pop();
    verify_server(&chain, root.as_slice(), now)?;
    let record = Record {
        serial: certificate.serial().to_owned(),
        names: certificate.names().iter().map(ServerName::to_string).collect(),
        not_after: certificate.not_after(),
        issuer: issuing.certificate().name().to_owned(),
        revoked: None,
        reason: None,
    };
    append(home, &record)?;
    Ok(Issued { certificate, chain: write_chain(&chain), key: made.map(|key| key.to_open_pem()) })
}

/// Writes certificate and key under `stem` (`.crt`, `.key`), in the place of those before. Without a stem, into the folder
/// of the authority, named after the server. Returns where they are.
///
/// # Errors
/// Those of writing.
pub fn save(home: &Home, issued: &Issued, stem: Option<&Path>) -> Result<(PathBuf, Option<PathBuf>), Error> {
    let stem = match stem {
        Some(stem) => stem.to_owned(),
        None => {
            let folder = home.dir().join("certificates");
            files::create_folder(&folder)?;
            folder.join(file_stem(issued.certificate.names()))
        }
    };
    let with = |extension: &str| {
        let mut path = stem.clone().into_os_string();
        path.push(extension);
        PathBuf::from(path)
    };
    let (certificate, key) = (with(".crt"), with(".key"));
    let beside = |path: &Path| {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        path.with_file_name(name)
    };
    // Both are complete beside their names before either gets it.
    if let Some(pem) = &issued.key {
        files::remove(&beside(&key))?;
        files::create_new_private(&beside(&key), pem.as_bytes())?;
    }
    files::atomic_write(&beside(&certificate), issued.chain.as_bytes())?;
    if issued.key.is_some() {
        files::rename_durably(&beside(&key), &key)?;
    }
    files::rename_durably(&beside(&certificate), &certificate)?;
    Ok((certificate, issued.key.as_ref().map(|_| key)))
}

/// Returns the name of a server's files: its first name, `_` for `*` and for the colons of an address.
pub(super) fn file_stem(names: &[ServerName]) -> String {
    let first = names.first().map(ServerName::to_string).unwrap_or_default();
    first.replace(['*', ':'], "_")
}

fn append(home: &Home, record: &Record) -> Result<(), Error> {
    let path = home.dir().join(RECORDS);
    if !files::exists(&path) {
        match files::create_new(&path, b"") {
            Err(files::Error::Exists { .. }) | Ok(()) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut line = serde_json::to_string(record).map_err(|cause| Error::state(path.clone(), cause))?;
    line.push('\n');
    Ok(files::Appender::open(&path)?.append(line.as_bytes())?)
}

/// Returns every certificate that was issued, oldest first; of two lines about one, the later counts.
///
/// # Errors
/// Those of reading.
pub fn records(home: &Home) -> Result<Vec<Record>, Error> {
    let path = home.dir().join(RECORDS);
    if !files::exists(&path) {
        return Ok(Vec::new());
    }
    let bytes = files::read_limited(&path, MAX_RECORDS)?;
    let mut found: indexmap::IndexMap<String, Record> = indexmap::IndexMap::new();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        let record: Record = serde_json::from_slice(line)
            .map_err(|cause| Error::state(path.clone(), format!("line {}: {cause}", number + 1)))?;
        found.insert(record.serial.clone(), record);
    }
    Ok(found.into_values().collect())
}

fn reason_word(reason: Reason) -> &'static str {
    match reason {
        Reason::Unspecified => "unspecified",
        Reason::KeyCompromise => "key-compromise",
        Reason::Superseded => "superseded",
        Reason::Cessation => "cessation",
    }
}

/// Revokes what was issued under a serial number, or everything that is valid under a name. Returns what was revoked.
///
/// # Errors
/// [`Error::NotIssued`].
pub fn revoke(home: &Home, which: &str, reason: Reason, now: Timestamp) -> Result<Vec<Record>, Error> {
    let plain: String = which.chars().filter(|c| *c != ':').map(|c| c.to_ascii_lowercase()).collect();
    let mut revoked = Vec::new();
    for record in records(home)? {
        let named = record.names.iter().any(|name| name == which) && record.not_after > now;
        if record.revoked.is_none() && (record.serial == plain || named) {
            let record = Record { revoked: Some(now), reason: Some(reason_word(reason).to_owned()), ..record };
            append(home, &record)?;
            revoked.push(record);
        }
    }
    match revoked.is_empty() {
        true => Err(Error::NotIssued(which.to_owned())),
        false => Ok(revoked),
    }
}

/// Signs the lists of what is revoked, in PEM: one by the authority in use, and one by each before it that has revoked
/// something and still counts. Clients hold a certificate against the list of whoever signed it.
///
/// # Errors
/// A wrong password, an expired authority, those of reading and writing.
pub fn crl(home: &mut Home, password: &Passphrase, now: Timestamp) -> Result<String, Error> {
    let records = records(home)?;
    let revoked_by = |issuer: &Certificate| -> Vec<Revoked> {
        let own = records.iter().filter(|record| record.issuer == issuer.name());
        own.filter_map(|record| {
            let reason = match record.reason.as_deref() {
                Some("key-compromise") => Reason::KeyCompromise,
                Some("superseded") => Reason::Superseded,
                Some("cessation") => Reason::Cessation,
                _ => Reason::Unspecified,
            };
            Some(Revoked { serial: record.serial.clone(), at: record.revoked?, reason })
        })
        .collect()
    };
    let number = home.state.revocation_lists + 1;
    let current = home.issuing(password)?;
    let mut lists = current.sign_revocations(&revoked_by(current.certificate()), number, now)?;
    let mut done = vec![current.certificate().name().to_owned()];
    for stem in home.state.previous.iter().rev() {
        let before = home.chain_of(stem)?.remove(0);
        let revoked = revoked_by(&before);
        if before.not_after() <= now || revoked.is_empty() || done.iter().any(|name| name == before.name()) {
            continue;
        }
        done.push(before.name().to_owned());
        // One key may have two certificates while a root changes; it is kept under the first one's name.
        let key = stem.split("-by-").next().unwrap_or(stem);
        let authority = Authority::new(before, home.key(key, password)?)?;
        lists.push_str(&authority.sign_revocations(&revoked, number, now)?);
    }
    home.state.revocation_lists = number;
    home.save()?;
    Ok(lists)
}
