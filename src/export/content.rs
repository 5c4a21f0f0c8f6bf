//! What was shipped, as far as configuration speaks of it.

use std::collections::BTreeSet;

use crate::{
    archive::Inventory,
    lock::Lock,
    oci::{Digest, Host, Reference},
};

/// What a bundle holds: the same view of an archive and of a lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The name of the bundle.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The images by name, sorted, each name once.
    pub images: Vec<Shipped>,
}

/// One name of an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shipped {
    /// The name under which manifests ask for it.
    pub reference: Reference,
    /// What it is.
    pub digest: Digest,
}

impl Content {
    /// Returns what an archive holds.
    pub fn of_inventory(inventory: &Inventory) -> Content {
        let named = inventory.images.iter().filter(|image| image.derived_from.is_none());
        let images = named.flat_map(|image| {
            image.references.iter().map(|name| Shipped { reference: name.clone(), digest: image.digest })
        });
        Content::of(&inventory.name, &inventory.version, images)
    }

    /// Returns what an archive made from a lock would hold.
    pub fn of_lock(lock: &Lock) -> Content {
        let images = lock.images.iter().map(|image| Shipped { reference: image.image.clone(), digest: image.digest });
        Content::of(&lock.name, &lock.version, images)
    }

    fn of(name: &str, version: &str, images: impl Iterator<Item = Shipped>) -> Content {
        let images: BTreeSet<Shipped> = images.collect();
        Content { name: name.to_owned(), version: version.to_owned(), images: images.into_iter().collect() }
    }

    /// Returns the registries that the images are named after, sorted.
    pub fn hosts(&self) -> BTreeSet<Host> {
        self.images.iter().map(|image| image.reference.host.clone()).collect()
    }
}
