//! What a lock or an archive holds, in one shape, so that any two can be compared.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    archive::Inventory,
    discover::{Finding, Step},
    lock::{Lock, LockedChart, LockedFile, Member, NotCarried, Verified},
    oci::{Digest, Reference},
};

/// Holds what a lock or an archive says.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The name of the bundle.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its place in the row of bundles of this name.
    pub sequence: u64,
    /// Its platforms, in one text.
    pub platforms: String,
    /// Images by name.
    pub images: BTreeMap<Reference, ImageSeen>,
    /// Charts by name and version.
    pub charts: Vec<LockedChart>,
    /// Files by name.
    pub files: Vec<LockedFile>,
    /// What was found and decided against; known of locks, and of archives with one.
    pub not_carried: Option<Vec<NotCarried>>,
    /// Every blob with its size; known of archives alone.
    pub blobs: Option<BTreeMap<Digest, u64>>,
}

/// Holds what is known of one image.
#[derive(Clone, Debug)]
pub struct ImageSeen {
    /// What it is.
    pub digest: Digest,
    /// Why it is there.
    pub because: Vec<Finding>,
    /// Where it is pulled from instead.
    pub from: Option<Reference>,
    /// The keys whose signatures of it were checked, by the files that the spec names.
    pub verified: Vec<String>,
    /// Everything that it needs, in bytes; known of archives alone.
    pub size: Option<u64>,
}

impl From<&Lock> for Snapshot {
    fn from(lock: &Lock) -> Self {
        let platforms: Vec<String> = lock.platforms.iter().map(ToString::to_string).collect();
        let images = lock.images.iter().map(|image| {
            let seen = ImageSeen {
                digest: image.digest,
                because: image.because.clone(),
                from: image.from.clone(),
                verified: signers(&image.verified),
                size: None,
            };
            (image.image.clone(), seen)
        });
        Snapshot {
            name: lock.name.clone(),
            version: lock.version.clone(),
            sequence: lock.sequence,
            platforms: platforms.join(", "),
            images: images.collect(),
            charts: lock.charts.clone(),
            files: lock.files.clone(),
            not_carried: Some(lock.not_carried.clone()),
            blobs: None,
        }
    }
}

impl Snapshot {
    /// Returns what an archive holds: what its lock says, which is the whole truth about reasons, with the sizes of its
    /// inventory; an archive without a lock speaks for itself.
    pub fn of_archive(inventory: &Inventory, lock: Option<&Lock>) -> Snapshot {
        let mut snapshot = lock.map_or_else(|| of_inventory(inventory), Snapshot::from);
        let mut sizes: BTreeMap<&Reference, u64> = BTreeMap::new();
        for entry in &inventory.entries {
            // An index that was derived from another one is the same image to people.
            let images = entry.images.iter().filter_map(|at| inventory.images.get(*at as usize));
            let names: BTreeSet<&Reference> = images.flat_map(|image| &inventory.namesake(image).references).collect();
            for name in names {
                *sizes.entry(name).or_default() += entry.size;
            }
        }
        for (name, image) in &mut snapshot.images {
            image.size = sizes.get(name).copied();
        }
        snapshot.blobs = Some(inventory.entries.iter().skip(2).map(|entry| (entry.digest, entry.size)).collect());
        snapshot
    }
}

fn signers(verified: &[Verified]) -> Vec<String> {
    verified.iter().map(|one| format!("{} ({})", one.file, one.key.get(..12).unwrap_or(&one.key))).collect()
}

fn of_inventory(inventory: &Inventory) -> Snapshot {
    let platforms: Vec<String> = inventory.platforms.iter().map(ToString::to_string).collect();
    let mut images = BTreeMap::new();
    for image in inventory.images.iter().filter(|image| image.derived_from.is_none()) {
        let because: Vec<Finding> = serde_json::from_value(image.because.clone()).unwrap_or_default();
        for name in &image.references {
            let verified = signers(&image.verified);
            let seen = ImageSeen { digest: image.digest, because: because.clone(), from: None, verified, size: None };
            images.insert(name.clone(), seen);
        }
    }
    let charts = inventory.charts.iter().map(|chart| LockedChart {
        chart: chart.name.clone(),
        version: chart.version.clone(),
        digest: chart.digest,
        archive: chart.archive,
        size: chart.archive_size,
        source: chart.source.clone(),
        vendored: Vec::new(),
        because: serde_json::from_value::<Vec<Vec<Step>>>(chart.because.clone()).unwrap_or_default(),
    });
    let files = inventory.files.iter().map(|file| LockedFile {
        name: file.path.to_string(),
        path: None,
        url: None,
        entry: String::new(),
        members: vec![Member { path: file.path.clone(), digest: file.digest, size: file.size }],
    });
    Snapshot {
        name: inventory.name.clone(),
        version: inventory.version.clone(),
        sequence: inventory.sequence,
        platforms: platforms.join(", "),
        images,
        charts: charts.collect(),
        files: files.collect(),
        not_carried: None,
        blobs: None,
    }
}
