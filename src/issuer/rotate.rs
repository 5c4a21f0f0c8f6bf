//! Successors of authorities. A client that trusted what was published in the step before goes on trusting in every step.
//!
//! ```text
//!  step       clients trust   servers send                 keys needed
//!  (start)    G1              leaf, issuing G1.n
//!  publish    G1 + G2         the same                     none: G2 is made
//!  switch     G1 + G2         leaf, issuing G2.1 by G1     G1, G2: the new issuing CA is certified by both
//!  settle     G1 + G2         leaf, issuing G2.1 by G2     none
//!  retire     G2              the same                     none
//! ```
//! The roots do not certify each other: below G1 there is room for one authority (pathlen 1), and verifiers such as
//! OpenSSL count a certified G2 as that one. So the issuing authority itself is certified twice, under one key.

use jiff::Timestamp;

use super::{
    Error, Home, Step,
    home::{Issuing, issuing_stem, root_stem},
    records,
};
use crate::{
    files,
    trust::{
        Passphrase, Randomness,
        x509::{Authority, CaKey, Curve, Lifetime, SubjectKey},
    },
};

/// Makes the next issuing authority under the same root. What the one before signed stays valid.
///
/// # Errors
/// [`Error::NoRootKey`], [`Error::Step`] while the root changes, a wrong password.
pub fn rotate_issuing(
    home: &mut Home,
    life: Lifetime,
    password: &Passphrase,
    now: Timestamp,
    random: &mut dyn Randomness,
) -> Result<(), Error> {
    if home.state.step.is_some() {
        return Err(Error::Step("the root is being changed: finish that first (`bundle issuer status`)".to_owned()));
    }
    let active = home.active()?.clone();
    let root = home.root_authority(active.root, password)?;
    let (names, scope) = (home.names()?, home.scope()?);
    let number = home.state.signed + 1;
    let key = CaKey::generate(Curve::P256, random)?;
    let certificate = root.sign_issuing(
        SubjectKey::Own(&key),
        names.organization(),
        &names.issuing(active.root, number),
        &scope,
        life,
        now,
        random,
    )?;
    let stem = issuing_stem(active.root, number);
    home.write_key(&stem, &key, password, random)?;
    home.write_chain(&stem, &[certificate])?;
    home.state.previous.push(active.certificate);
    home.state.issuing = Some(Issuing { key: stem.clone(), certificate: stem, root: active.root });
    home.state.signed = number;
    home.save()
}

/// Does the next step of a change of the root. `step` is the one that is meant, `None` the last: dropping the old root.
///
/// # Errors
/// [`Error::Step`] when another step comes next; [`Error::StillUsed`] when something recorded here would lose its trust,
/// unless `force`; [`Error::NoRootKey`], a wrong password.
#[allow(clippy::too_many_arguments, reason = "each is one decision of whoever rotates")]
pub fn rotate_root(
    home: &mut Home,
    step: Option<Step>,
    lives: (Lifetime, Lifetime),
    force: bool,
    password: Option<&Passphrase>,
    now: Timestamp,
    random: &mut dyn Randomness,
) -> Result<(), Error> {
    let next = match home.state.step {
        None => Some(Step::Published),
        Some(Step::Published) => Some(Step::Switched),
        Some(Step::Switched) => Some(Step::Settled),
        Some(Step::Settled) => None,
    };
    if step != next {
        let word = |step: Option<Step>| match step {
            Some(Step::Published) => "publish",
            Some(Step::Switched) => "switch",
            Some(Step::Settled) => "settle",
            None => "retire",
        };
        let text = format!("{} does not come now: the next step is {}", word(step), word(next));
        return Err(Error::Step(text));
    }
    let active = home.active()?.clone();
    let needed = || Error::Step("this step needs the password of the roots' keys".to_owned());
    match next {
        Some(Step::Published) => {
            let new = home.state.trusted.last().copied().unwrap_or(active.root) + 1;
            let root = Authority::root(&home.names()?, new, lives.0, now, random)?;
            let password = password.ok_or_else(needed)?;
            // The next step opens both keys with one password: a slip of the finger is told now.
            if files::exists(&home.path(&root_stem(active.root), "key")) {
                home.key(&root_stem(active.root), password)?;
            }
            home.write_key(&root_stem(new), root.key(), password, random)?;
            home.write_chain(&root_stem(new), std::slice::from_ref(root.certificate()))?;
            home.state.trusted.push(new);
        }
        Some(Step::Switched) => {
            let (old, new) = (active.root, home.state.trusted.last().copied().unwrap_or(active.root));
            let password = password.ok_or_else(needed)?;
            let (before, after) = (home.root_authority(old, password)?, home.root_authority(new, password)?);
            let (names, scope) = (home.names()?, home.scope()?);
            let key = CaKey::generate(Curve::P256, random)?;
            let mut sign = |root: &Authority| {
                let name = names.issuing(new, 1);
                root.sign_issuing(SubjectKey::Own(&key), names.organization(), &name, &scope, lives.1, now, random)
            };
            let (by_new, by_old) = (sign(&after)?, sign(&before)?);
            let stem = issuing_stem(new, 1);
            let crossed = format!("{stem}-by-g{old}");
            home.write_key(&stem, &key, password, random)?;
            home.write_chain(&stem, &[by_new])?;
            home.write_chain(&crossed, &[by_old])?;
            home.state.previous.push(active.certificate);
            home.state.issuing = Some(Issuing { key: stem, certificate: crossed, root: old });
            home.state.signed = 1;
        }
        Some(Step::Settled) => {
            let new = home.state.trusted.last().copied().unwrap_or(active.root);
            home.state.previous.push(active.certificate);
            home.state.issuing = Some(Issuing { certificate: active.key.clone(), key: active.key, root: new });
        }
        None => {
            let used = under_other_roots(home, now)?;
            if !used.is_empty() && !force {
                return Err(Error::StillUsed(used));
            }
            home.state.trusted.retain(|generation| *generation == active.root);
        }
    }
    home.state.step = next;
    home.save()
}

/// Names what was issued here, is valid, and whose chain does not lead to the root in use.
fn under_other_roots(home: &Home, now: Timestamp) -> Result<Vec<String>, Error> {
    let root = home.root(home.active()?.root)?;
    let mut used = Vec::new();
    let folder = home.dir().join("certificates");
    for name in if files::is_folder(&folder) { files::file_names(&folder)? } else { Vec::new() } {
        if !name.ends_with(".crt") {
            continue;
        }
        let path = folder.join(&name);
        let text = String::from_utf8_lossy(&files::read_limited(&path, 1 << 20)?).into_owned();
        let chain =
            crate::trust::x509::read_chain(&text).map_err(|cause| Error::InFile { path: path.clone(), cause })?;
        let valid = chain.first().is_some_and(|leaf| leaf.not_after() > now);
        if valid && crate::trust::x509::verify_server(&chain, std::slice::from_ref(&root), now).is_err() {
            used.push(path.display().to_string());
        }
    }
    // What was written elsewhere is known by its record only: who signed it is gone from use.
    let issuer = home.chain_of(&home.active()?.certificate)?.remove(0);
    for record in records(home)? {
        let known = used.iter().any(|path| record.names.iter().any(|name| path.contains(name.as_str())));
        let newer = records(home)?.iter().any(|other| other.names == record.names && other.issuer == issuer.name());
        let valid = record.not_after > now && record.revoked.is_none();
        if valid && record.issuer != issuer.name() && !known && !newer {
            used.push(record.names.join(", "));
        }
    }
    Ok(used)
}
