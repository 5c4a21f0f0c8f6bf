//! Making an authority: on one machine, or with the root on a machine of its own.

use std::path::Path;

use jiff::Timestamp;

use super::{
    Error, Home,
    home::{Issuing, issuing_stem, root_stem},
};
use crate::trust::{
    Passphrase, Randomness,
    x509::{Authority, CaKey, CaNames, Certificate, Curve, Lifetime, Request, Scope, SubjectKey, read_chain},
};

/// Says what authority is made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who it is for.
    pub names: CaNames,
    /// What it may sign.
    pub scope: Scope,
    /// The names of issuers that it stands in for.
    pub replaces: Vec<String>,
    /// How long the root lives.
    pub root: Lifetime,
    /// How long the issuing authority lives.
    pub issuing: Lifetime,
    /// Whether only the root is made, because the issuing authority lives elsewhere.
    pub root_only: bool,
}

/// Holds what the root signed for a request: the chain to carry back.
#[derive(Debug)]
pub struct Signed {
    /// The new authority's certificate, then the root.
    pub chain: Vec<Certificate>,
}

/// Makes a root and, unless the plan says otherwise, an issuing authority below it.
///
/// # Errors
/// [`Error::Taken`], [`Error::Unfinished`], those of writing and of the certificates.
pub fn init(
    dir: &Path,
    plan: &Plan,
    password: &Passphrase,
    now: Timestamp,
    random: &mut dyn Randomness,
) -> Result<Home, Error> {
    let mut home = Home::prepare(dir, &plan.names, &plan.scope, &plan.replaces)?;
    // Everything is made before anything is written: what is refused leaves no trace.
    let root = Authority::root(&plan.names, 1, plan.root, now, random)?;
    let issuing = match plan.root_only {
        true => None,
        false => {
            let key = CaKey::generate(Curve::P256, random)?;
            let name = plan.names.issuing(1, 1);
            let certificate = root.sign_issuing(
                SubjectKey::Own(&key),
                plan.names.organization(),
                &name,
                &plan.scope,
                plan.issuing,
                now,
                random,
            )?;
            Some((key, certificate))
        }
    };
    home.write_key(&root_stem(1), root.key(), password, random)?;
    home.write_chain(&root_stem(1), std::slice::from_ref(root.certificate()))?;
    home.state.trusted = vec![1];
    if let Some((key, certificate)) = issuing {
        let stem = issuing_stem(1, 1);
        home.write_key(&stem, &key, password, random)?;
        home.write_chain(&stem, &[certificate])?;
        home.state.issuing = Some(Issuing { key: stem.clone(), certificate: stem, root: 1 });
        home.state.signed = 1;
    }
    home.save()?;
    Ok(home)
}

/// Makes a key inside and the request that the root signs elsewhere. The folder is a new one, or that of an authority whose
/// issuing part gets a successor. Returns the request in PEM, which is also in the folder.
///
/// # Errors
/// Those of writing; [`Error::Step`] when a request waits already.
pub fn request(
    dir: &Path,
    plan: Option<&Plan>,
    password: &Passphrase,
    random: &mut dyn Randomness,
) -> Result<(Home, String), Error> {
    let mut home = match plan {
        Some(plan) => Home::prepare(dir, &plan.names, &plan.scope, &plan.replaces)?,
        None => Home::open(dir)?,
    };
    if let Some(stem) = &home.state.pending {
        let text =
            format!("{stem}.csr waits for its certificate already: carry it to the root, or install what came back");
        return Err(Error::Step(text));
    }
    let root = home.state.trusted.last().copied().unwrap_or(1);
    let taken = |generation: &u32| !crate::files::exists(&home.path(&issuing_stem(root, *generation), "key"));
    let generation = (1..).find(taken).unwrap_or(1);
    let stem = issuing_stem(root, generation);
    let key = CaKey::generate(Curve::P256, random)?;
    let names = home.names()?;
    let pem = Request::of_authority(&key, names.organization(), &names.issuing(root, generation))?;
    home.write_key(&stem, &key, password, random)?;
    crate::files::atomic_write(&home.path(&stem, "csr"), pem.as_bytes())?;
    home.state.pending = Some(stem);
    home.save()?;
    Ok((home, pem))
}

/// Signs a request for an issuing authority with the root. What it may sign is said by `scope`, never by the request;
/// without one, by the folder of the root.
///
/// # Errors
/// [`Error::NoRootKey`], a wrong password, those of the certificates.
#[allow(clippy::too_many_arguments, reason = "each is one decision of whoever holds the root")]
pub fn sign(
    home: &mut Home,
    request: &str,
    scope: Option<&Scope>,
    life: Lifetime,
    password: &Passphrase,
    now: Timestamp,
    random: &mut dyn Randomness,
) -> Result<Signed, Error> {
    let request = Request::from_pem(request)?;
    let generation = home.state.trusted.last().copied().unwrap_or(1);
    let root = home.root_authority(generation, password)?;
    let names = home.names()?;
    let number = home.state.signed + 1;
    let own = home.scope()?;
    let scope = scope.unwrap_or(&own);
    let name = names.issuing(generation, number);
    let made =
        root.sign_issuing(SubjectKey::Requested(&request), names.organization(), &name, scope, life, now, random)?;
    home.state.signed = number;
    home.save()?;
    Ok(Signed { chain: vec![made, root.certificate().clone()] })
}

/// Takes over what the root signed for the request of this folder. The file ends with the root; `fingerprint` is what
/// somebody read out from the root's sheet, when it is given.
///
/// # Errors
/// [`Error::NoRequest`], [`Error::Install`], [`Error::Fingerprint`], a wrong password, those of writing.
pub fn install(
    home: &mut Home,
    file: &str,
    fingerprint: Option<&str>,
    password: &Passphrase,
    now: Timestamp,
) -> Result<(), Error> {
    let stem = home.state.pending.clone().ok_or_else(|| Error::NoRequest(home.dir().to_owned()))?;
    let mut chain = read_chain(file)?;
    let wrong = |text: String| Error::Install(text);
    let root = match chain.pop() {
        Some(root) if root.is_self_issued() && !chain.is_empty() => root,
        _ => return Err(wrong("the file must hold the new authority first and the root last".to_owned())),
    };
    let plain = |text: &str| -> String {
        let text = text.trim().trim_start_matches("SHA256:").trim_start_matches("sha256:");
        text.chars().filter(char::is_ascii_hexdigit).map(|c| c.to_ascii_uppercase()).collect()
    };
    if let Some(expected) = fingerprint
        && plain(expected) != plain(&root.fingerprint())
    {
        return Err(Error::Fingerprint { found: root.fingerprint(), expected: expected.to_owned() });
    }
    for (one, next) in chain.iter().zip(chain.iter().skip(1).chain([&root])) {
        if !one.is_issued_by(next) {
            return Err(wrong(format!("{} is not signed by {}", one.name(), next.name())));
        }
    }
    let issuing = Authority::new(chain[0].clone(), home.key(&stem, password)?)?;
    if issuing.certificate().not_after() <= now {
        return Err(wrong(format!(
            "{} expired on {}",
            issuing.certificate().name(),
            issuing.certificate().not_after()
        )));
    }
    // A certificate made with it shows whether verifiers follow the chain; it is thrown away.
    try_out(&issuing, &chain, &root, now)?;
    let known = home.roots()?;
    let generation = match home.state.trusted.iter().zip(&known).find(|(_, known)| **known == root) {
        Some((generation, _)) => *generation,
        None => {
            let next = home.state.trusted.last().copied().unwrap_or(0) + 1;
            home.write_chain(&root_stem(next), &[root])?;
            home.state.trusted.push(next);
            next
        }
    };
    home.write_chain(&stem, &chain)?;
    home.state.previous.extend(home.state.issuing.take().map(|before| before.certificate));
    home.state.issuing = Some(Issuing { key: stem.clone(), certificate: stem, root: generation });
    home.state.pending = None;
    home.save()
}

/// Signs something within the authority's scope and has the whole chain verified.
fn try_out(issuing: &Authority, between: &[Certificate], root: &Certificate, now: Timestamp) -> Result<(), Error> {
    use crate::trust::x509::{ServerName, Usage, verify_server};
    let scope = issuing.certificate().scope();
    let name = match scope.and_then(|scope| scope.domains().first()) {
        Some(domain) => ServerName::Dns(format!("trial.{domain}")),
        None => match scope.and_then(|scope| scope.ranges().first()) {
            Some(range) => ServerName::Ip(range.base()),
            None => ServerName::Dns("trial.invalid".to_owned()),
        },
    };
    let mut random = crate::trust::SystemRandomness;
    let key = CaKey::generate(Curve::P256, &mut random)?;
    let leaf =
        issuing.sign_server(SubjectKey::Own(&key), &[name], Lifetime::Days(1), Usage::Server, now, &mut random)?;
    let mut chain = vec![leaf];
    chain.extend_from_slice(between);
    Ok(verify_server(&chain, std::slice::from_ref(root), now)?)
}
