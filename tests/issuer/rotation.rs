//! Successors: no step takes away trust that a client or server of the step before needs.

use airgap_bundler::{
    error::{Classify as _, Kind},
    issuer::{self, Error, Home, Step},
    trust::{
        SystemRandomness,
        x509::{Certificate, Lifetime, read_chain, verify_server},
    },
};
use jiff::{SignedDuration, Timestamp};

use super::{home, issue, now, openssl_verifies, password, pem};

/// What the world looks like at a step: what clients trust, and what a server that got its certificate then sends.
struct World {
    step: &'static str,
    roots: Vec<Certificate>,
    chain: Vec<Certificate>,
}

impl World {
    fn of(step: &'static str, home: &Home) -> World {
        let issued = issue(home, &["reg.enclave.lan"], now()).unwrap();
        issuer::save(home, &issued, None).unwrap();
        World { step, roots: home.roots().unwrap(), chain: read_chain(&issued.chain).unwrap() }
    }

    /// Whoever trusts this world believes the server of that one.
    fn believes(&self, other: &World) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        verify_server(&other.chain, &self.roots, now()).map_err(|error| error.to_string())?;
        openssl_verifies(folder.path(), &pem(&other.chain), &pem(&self.roots)).unwrap_or(Ok(()))
    }
}

const LIVES: (Lifetime, Lifetime) = (Lifetime::Years(10), Lifetime::Years(2));

fn step(home: &mut Home, step: Option<Step>) -> Result<(), Error> {
    issuer::rotate_root(home, step, LIVES, false, Some(&password()), now(), &mut SystemRandomness)
}

#[test]
fn every_step_of_a_new_root_keeps_every_client() {
    let folder = tempfile::tempdir().unwrap();
    let mut home = home(folder.path(), &["enclave.lan"], &["10.0.0.0/8"], now());
    let mut worlds = vec![World::of("start", &home)];
    for (name, next) in [
        ("publish", Some(Step::Published)),
        ("switch", Some(Step::Switched)),
        ("settle", Some(Step::Settled)),
        ("retire", None),
    ] {
        // Steps come in their order only.
        for other in [Some(Step::Published), Some(Step::Switched), Some(Step::Settled), None] {
            if other != next {
                let error = step(&mut home, other).unwrap_err();
                assert!(error.to_string().contains(&format!("the next step is {name}")), "{error}");
            }
        }
        step(&mut home, next).unwrap();
        home = Home::open(folder.path()).unwrap();
        worlds.push(World::of(name, &home));
        let [.., before, after] = &worlds[..] else { unreachable!() };
        for (client, server) in [(before, before), (before, after), (after, before), (after, after)] {
            let answer = client.believes(server);
            assert_eq!(answer, Ok(()), "a client of {} and a server of {}", client.step, server.step);
        }
    }
    // Until the chain is settled, even a client that missed the new root is served.
    assert_eq!(worlds[0].believes(&worlds[2]), Ok(()));
    assert!(worlds[0].believes(&worlds[3]).is_err() && worlds[4].believes(&worlds[0]).is_err());
    let names: Vec<&str> = worlds[4].roots.iter().map(Certificate::name).collect();
    assert_eq!(names, ["Acme Enclave Root CA G2"]);
    assert_eq!(home.issuing_chain().unwrap()[0].name(), "Acme Enclave Issuing CA G2.1");
    assert_eq!(home.step(), None);
}

#[test]
fn the_old_root_is_not_dropped_while_something_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut home = home(folder.path(), &["enclave.lan"], &[], now());
    let issued = issue(&home, &["forgotten.enclave.lan"], now()).unwrap();
    issuer::save(&home, &issued, None).unwrap();
    for next in [Step::Published, Step::Switched, Step::Settled] {
        step(&mut home, Some(next)).unwrap();
    }
    let error = step(&mut home, None).unwrap_err();
    assert!(matches!(&error, Error::StillUsed(names) if names.len() == 1), "{error}");
    assert!(error.to_string().contains("forgotten.enclave.lan") && error.kind() == Kind::Answer, "{error}");
    let again = issue(&home, &["forgotten.enclave.lan"], now()).unwrap();
    issuer::save(&home, &again, None).unwrap();
    step(&mut home, None).unwrap();
}

#[test]
fn a_new_issuing_authority_under_the_same_root() {
    let folder = tempfile::tempdir().unwrap();
    let mut home = home(folder.path(), &["enclave.lan"], &[], now());
    let before = World::of("G1.1", &home);
    issuer::rotate_issuing(&mut home, Lifetime::Years(2), &password(), now(), &mut SystemRandomness).unwrap();
    let after = World::of("G1.2", &home);
    for (client, server) in [(&before, &after), (&after, &before)] {
        assert_eq!(client.believes(server), Ok(()));
    }
    assert_eq!(before.roots, after.roots);
    assert_eq!(after.chain[1].name(), "Acme Enclave Issuing CA G1.2");
    assert_ne!(before.chain[1].key_id(), after.chain[1].key_id());
    let lines: Vec<_> = issuer::status(&home, now()).unwrap().certificates;
    let old = lines.iter().find(|line| line.name == "Acme Enclave Issuing CA G1.1").unwrap();
    assert!(!old.active);
}

/// A root that certified the other one would use up the one authority that may stand below it.
#[test]
fn why_roots_do_not_certify_each_other() {
    use airgap_bundler::trust::x509::{Authority, CaKey, CaNames, Curve, Scope, SubjectKey, Usage};
    let random = &mut SystemRandomness;
    let names = CaNames::new("Acme Enclave").unwrap();
    let scope = Scope::new::<_, &str>(&["enclave.lan"], &[]).unwrap();
    let one = Authority::root(&names, 1, LIVES.0, now(), random).unwrap();
    let two = Authority::root(&names, 2, LIVES.0, now(), random).unwrap();
    let key = CaKey::generate(Curve::P256, random).unwrap();
    let own = SubjectKey::Own(&key);
    let issuing =
        two.sign_issuing(own, names.organization(), &names.issuing(2, 1), &scope, LIVES.1, now(), random).unwrap();
    let issuing = Authority::new(issuing, key).unwrap();
    let leaf_key = CaKey::generate(Curve::P256, random).unwrap();
    let name = ["reg.enclave.lan".parse().unwrap()];
    let leaf = SubjectKey::Own(&leaf_key);
    let leaf = issuing.sign_server(leaf, &name, Lifetime::Days(1), Usage::Server, now(), random).unwrap();
    // The second root's key under the first root: an authority with room below it, if the first had room for two.
    let crossed = one
        .sign_issuing(SubjectKey::Own(two.key()), names.organization(), &names.root(2), &scope, LIVES.1, now(), random)
        .unwrap();
    let chain = [leaf, issuing.certificate().clone(), crossed];
    let folder = tempfile::tempdir().unwrap();
    assert!(verify_server(&chain, std::slice::from_ref(one.certificate()), now()).is_err());
    if let Some(openssl) = openssl_verifies(folder.path(), &pem(&chain), &one.certificate().to_pem()) {
        assert!(openssl.unwrap_err().contains("path length"));
    }
}

#[test]
fn status_warns_when_a_fifth_is_left_and_says_when_it_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(folder.path(), &["enclave.lan"], &[], now());
    let after = |days: i64| -> Timestamp { now().checked_add(SignedDuration::from_hours(24 * days)).unwrap() };
    let codes = |at: Timestamp| -> Vec<&'static str> {
        issuer::status(&home, at).unwrap().findings.iter().map(|finding| finding.code).collect()
    };
    assert_eq!(codes(now()), Vec::<&str>::new());
    assert_eq!(codes(after(580)), Vec::<&str>::new());
    assert_eq!(codes(after(590)), ["authority-ends"]);
    assert_eq!(codes(after(731)), ["authority-expired"]);
    assert!(issuer::status(&home, after(731)).unwrap().is_broken());
    assert_eq!(codes(now().checked_sub(SignedDuration::from_hours(1)).unwrap()), ["authority-not-yet"; 2]);
    // An authority never outlives its root, and signs nothing that outlives itself.
    let error = issue(&home, &["reg.enclave.lan"], after(700)).unwrap_err();
    assert!(error.to_string().contains("at most 30 days"), "{error}");
    let error = issue(&home, &["reg.enclave.lan"], after(731)).unwrap_err();
    assert_eq!(error.kind(), Kind::Untrusted);
    let mut home = home;
    let late = after(365 * 9);
    issuer::rotate_issuing(&mut home, Lifetime::Years(3), &password(), late, &mut SystemRandomness).unwrap();
    let chain = home.issuing_chain().unwrap();
    assert_eq!(chain[0].not_after(), chain[1].not_after());
}
