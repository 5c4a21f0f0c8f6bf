//! An archive of which one bit, one block, one entry or one signature is not what was signed. Real signatures, and the two
//! functions that every command uses: `admit`, then a look at every byte.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use airgap_bundler::{
    archive::{self, Archive, Unverified, admit},
    error::{Classify, Kind},
    event::{Observer, Silent},
    trust::{Policy, PublicKey},
};

use super::machine::{CREATE, HOST, Machine};
use crate::support::{
    memory::noise,
    registry::{Registry, wait_for},
};

/// A small archive with real signatures, made by the program.
struct Signed {
    machine: Machine,
    bytes: Vec<u8>,
    policy: Policy,
    /// Where the first blob's header starts: everything before is the control part.
    control_end: usize,
}

impl Signed {
    /// Makes an archive of one image with a layer of these bytes.
    fn new(layer: &[u8]) -> Signed {
        let source = Registry::start();
        source.put_image("a", "1", &[layer]);
        let machine = Machine::new();
        machine.spec_of(source.addr(), &["a:1"]);
        machine.run(CREATE).succeeded();
        let pem = fs::read_to_string(machine.path("bundle.pub")).unwrap();
        let policy = Policy::new([PublicKey::from_pem(&pem).unwrap()], 1).unwrap();
        let (archive, verdict) = admit(Unverified::open(&machine.path("shop.tar")).unwrap(), Some(&policy)).unwrap();
        assert_eq!(verdict.unwrap().signers().count(), 1);
        drop(archive);
        let bytes = machine.archive().unwrap();
        let control_end = entries(&bytes).iter().find(|(name, ..)| name.starts_with("blobs/")).unwrap().1;
        Signed { machine, bytes, policy, control_end }
    }

    fn write(&self, bytes: &[u8]) -> PathBuf {
        let path = self.machine.path("changed.tar");
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// Admits an archive and reads all of it, as `verify` does; says how it was refused.
fn refused(path: &Path, policy: &Policy) -> Option<Kind> {
    let unverified = match Unverified::open(path) {
        Ok(unverified) => unverified,
        Err(error) => return Some(error.kind()),
    };
    match admit(unverified, Some(policy)) {
        Ok((archive, _)) => damaged(&Arc::new(archive)),
        Err(error) => Some(error.kind()),
    }
}

fn damaged(archive: &Arc<Archive>) -> Option<Kind> {
    check(archive).err().map(|error| error.kind())
}

fn check(archive: &Arc<Archive>) -> Result<(), archive::Error> {
    let archive = archive.clone();
    wait_for(async move {
        let silent: Arc<dyn Observer> = Arc::new(Silent);
        archive.verify_all(1, &silent).await.map(drop)
    })
}

fn is_refusal(kind: Option<Kind>) -> bool {
    matches!(kind, Some(Kind::Corrupt | Kind::Untrusted))
}

#[test]
fn every_single_bit_of_the_control_part_and_of_the_end_counts() {
    let signed = Signed::new(&noise(9, 300));
    let path = signed.write(&signed.bytes);
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let mut kinds = BTreeMap::new();
    let end = entries(&signed.bytes).last().unwrap().2;
    for at in (0..signed.control_end).chain(end..signed.bytes.len()) {
        for bit in 0..8 {
            file.write_all_at(&[signed.bytes[at] ^ (1 << bit)], at as u64).unwrap();
            let kind = refused(&path, &signed.policy);
            assert!(is_refusal(kind), "bit {bit} of byte {at} of {}: {kind:?}", signed.bytes.len());
            *kinds.entry(kind.map(Kind::exit_code)).or_insert(0usize) += 1;
        }
        file.write_all_at(&[signed.bytes[at]], at as u64).unwrap();
    }
    assert_eq!(refused(&path, &signed.policy), None, "the archive is what it was");
    println!("bits of the control part and the end, by exit code: {kinds:?}");
}

#[test]
fn every_single_bit_of_the_blobs_counts() {
    let signed = Signed::new(&noise(9, 300));
    let path = signed.write(&signed.bytes);
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    // A check names every damaged entry, so one bit of each entry is flipped at a time: its header, bytes or padding.
    let blobs: Vec<_> = entries(&signed.bytes).into_iter().filter(|(name, ..)| name.starts_with("blobs/")).collect();
    let longest = blobs.iter().map(|(_, from, to)| to - from).max().unwrap();
    let (archive, _) = admit(Unverified::open(&path).unwrap(), Some(&signed.policy)).unwrap();
    let archive = Arc::new(archive);
    let mut flips = 0;
    for offset in 0..longest {
        let touched: Vec<_> = blobs.iter().filter(|(_, from, to)| from + offset < *to).collect();
        for bit in 0..8 {
            for (_, from, _) in &touched {
                let at = from + offset;
                file.write_all_at(&[signed.bytes[at] ^ (1 << bit)], at as u64).unwrap();
            }
            let Err(archive::Error::Damaged { damage, .. }) = check(&archive) else {
                panic!("bit {bit} of byte {offset} of the entries");
            };
            let found: Vec<&str> = damage.iter().map(|one| one.entry.as_str()).collect();
            let expected: Vec<&str> = touched.iter().map(|(name, ..)| name.as_str()).collect();
            assert_eq!(found, expected, "bit {bit} of byte {offset}");
            flips += touched.len();
        }
        for (_, from, _) in &touched {
            file.write_all_at(&[signed.bytes[from + offset]], (from + offset) as u64).unwrap();
        }
    }
    assert_eq!(damaged(&archive), None, "the archive is what it was");
    assert_eq!(flips, blobs.iter().map(|(_, from, to)| (to - from) * 8).sum::<usize>());
    println!("{flips} bits of {} blobs, each found in its entry", blobs.len());
}

#[test]
fn every_truncation_is_refused() {
    let signed = Signed::new(&noise(9, 3000));
    for length in (0..signed.bytes.len()).step_by(512).chain(signed.bytes.len() - 3..signed.bytes.len()) {
        let kind = refused(&signed.write(&signed.bytes[..length]), &signed.policy);
        // What is hardly begun is no archive at all.
        assert!(is_refusal(kind), "{length} of {}: {kind:?}", signed.bytes.len());
    }
    for more in [&[0][..], &[0; 512], &[0; 10240], b"more", &signed.bytes[..1024]] {
        let kind = refused(&signed.write(&[&signed.bytes, more].concat()), &signed.policy);
        assert!(is_refusal(kind), "{} bytes more: {kind:?}", more.len());
    }
}

/// Finds the entries of a tar: name, where the header starts, where the next one starts.
fn entries(bytes: &[u8]) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + 512 <= bytes.len() && bytes[at] != 0 {
        let text = |range: std::ops::Range<usize>| {
            let field = &bytes[at + range.start..at + range.end];
            String::from_utf8_lossy(field.split(|byte| *byte == 0).next().unwrap()).into_owned()
        };
        let size = usize::from_str_radix(text(124..136).trim(), 8).unwrap();
        let next = at + 512 + size.next_multiple_of(512);
        found.push((text(0..100), at, next));
        at = next;
    }
    found
}

#[test]
fn entries_cannot_be_swapped_dropped_doubled_or_replaced() {
    // Two layers of one size, so that nothing but their bytes tells them apart.
    let signed = Signed::new(&noise(9, 3000));
    let other = Signed::new(&noise(10, 3000));
    let bytes = &signed.bytes;
    let list = entries(bytes);
    let end = list.last().unwrap().2;
    assert!(list.len() >= 7, "{list:?}");
    let piece = |(_, from, to): &(String, usize, usize)| bytes[*from..*to].to_vec();
    let rebuilt = |order: &[Vec<u8>]| [order.concat(), bytes[end..].to_vec()].concat();
    let whole: Vec<Vec<u8>> = list.iter().map(piece).collect();
    assert!(rebuilt(&whole) == *bytes);
    let mut attempts = 0;
    let mut refuse = |what: String, changed: Vec<u8>| {
        attempts += 1;
        if changed != *bytes {
            let kind = refused(&signed.write(&changed), &signed.policy);
            assert!(is_refusal(kind), "{what}: {kind:?}");
        }
    };
    for at in 0..whole.len() {
        let name = &list[at].0;
        let mut dropped = whole.clone();
        dropped.remove(at);
        refuse(format!("without {name}"), rebuilt(&dropped));
        let mut doubled = whole.clone();
        doubled.insert(at, whole[at].clone());
        refuse(format!("{name} twice"), rebuilt(&doubled));
        for with in at + 1..whole.len() {
            let mut swapped = whole.clone();
            swapped.swap(at, with);
            refuse(format!("{name} and {} in the other order", list[with].0), rebuilt(&swapped));
            // The names stay, the bytes change places.
            let (a, b) = (&whole[at], &whole[with]);
            let mut contents = whole.clone();
            contents[at] = [&a[..512], &b[512..]].concat();
            contents[with] = [&b[..512], &a[512..]].concat();
            refuse(format!("the bytes of {name} and {}", list[with].0), rebuilt(&contents));
        }
    }
    // From another archive of the same signer: each entry of the same name, with and without its inventory.
    let theirs = entries(&other.bytes);
    for (at, (name, ..)) in list.iter().enumerate() {
        if let Some((_, from, to)) = theirs.iter().find(|(known, ..)| known == name) {
            let mut mixed = whole.clone();
            mixed[at] = other.bytes[*from..*to].to_vec();
            refuse(format!("{name} of another archive"), rebuilt(&mixed));
        }
    }
    let control =
        |list: &[(String, usize, usize)]| list.iter().position(|(name, ..)| name.starts_with("blobs/")).unwrap();
    let (ours_at, theirs_at) = (list[control(&list)].1, theirs[control(&theirs)].1);
    refuse("their control part, our blobs".into(), [&other.bytes[..theirs_at], &bytes[ours_at..]].concat());
    refuse("our control part, their blobs".into(), [&bytes[..ours_at], &other.bytes[theirs_at..]].concat());
    // An archive of somebody else, whole and signed, is not ours.
    println!("{attempts} changes refused");
    assert!(attempts > 60, "{attempts}");
}

#[test]
fn the_program_refuses_what_was_tampered_with() {
    let signed = Signed::new(&noise(9, 3000));
    let machine = &signed.machine;
    let list = entries(&signed.bytes);
    let layer = list.iter().rev().find(|(name, from, to)| name.starts_with("blobs/") && to - from > 3000).unwrap();
    let run = |bytes: &[u8], command: &[&str]| {
        signed.write(bytes);
        machine.run(&[&command[..1], &["changed.tar", "--key", "bundle.pub"], &command[1..]].concat())
    };
    let target = Registry::start();
    let host = target.host();
    let commands: [&[&str]; 2] = [&["verify"], &["load", "--to", &host]];
    for command in commands {
        let mut flipped = signed.bytes.clone();
        flipped[layer.1 + 600] ^= 1;
        run(&flipped, command).failed(5, &[layer.0.rsplit('/').next().unwrap()]);
        run(&signed.bytes[..signed.bytes.len() - 512], command).failed(5, &["changed.tar"]);
        run(&[&signed.bytes[..], b"more"].concat(), command).failed(5, &["changed.tar"]);
        let mut inventory = signed.bytes.clone();
        let at = inventory.windows(6).position(|word| word == b"\"shop\"").unwrap();
        inventory[at + 1] = b'S';
        run(&inventory, command).failed(6, &[]);
    }
    // Nobody's key, and no signature at all.
    let stranger = Machine::new();
    stranger.run(&["keygen", "--output-key-prefix", "other"]).succeeded();
    let key = stranger.path("other.pub").display().to_string();
    for command in commands {
        signed.write(&signed.bytes);
        machine.run(&[&command[..1], &["changed.tar", "--key", &key], &command[1..]].concat()).failed(6, &[]);
    }
    let unsigned = Machine::new();
    let source = Registry::start();
    source.put_image("a", "1", &[&noise(9, 3000)]);
    unsigned.spec_of(source.addr(), &["a:1"]);
    unsigned.run(&["create", "-o", "shop.tar"]).succeeded();
    for command in commands {
        run(&unsigned.archive().unwrap(), command).failed(6, &[]);
    }
    // Nothing of all that has a tag.
    assert_eq!(target.get(&format!("/v2/{HOST}/a/manifests/1")).status, 404);
}
