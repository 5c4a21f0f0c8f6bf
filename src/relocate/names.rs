//! Where an image is in the enclave.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    names::{Layout, RenameError, Renamer, Target},
    oci::{Digest, Reference},
};

/// Maps references to where they lie in the enclave, and knows what was carried there.
#[derive(Clone, Debug)]
pub struct Names {
    target: Target,
    renamer: Renamer,
    carried: Option<Carried>,
}

/// What an archive holds.
#[derive(Clone, Debug, Default)]
struct Carried {
    /// Every way to write a carried image, and its digest.
    sources: BTreeMap<String, Digest>,
    /// Every way to write one in the enclave.
    inside: BTreeSet<String>,
}

/// Tells where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The reference names the enclave already.
    Inside,
    /// It lies there under another name.
    Moved {
        /// The registry and the repository, without tag and digest.
        name: String,
        /// Its digest, when it is known.
        digest: Option<Digest>,
    },
    /// It was not carried.
    Missing,
}

impl Names {
    /// Makes a mapping of any image into `target`, as a load with this layout has it.
    pub fn new(target: Target, layout: Layout) -> Self {
        Names { renamer: Renamer::new(target.clone(), layout), target, carried: None }
    }

    /// Says what was carried; every other image is [`Place::Missing`] from then on.
    ///
    /// # Errors
    /// [`RenameError`] when two of them would share a name in the enclave.
    pub fn carrying(mut self, images: impl IntoIterator<Item = (Reference, Digest)>) -> Result<Self, RenameError> {
        let mut carried = Carried::default();
        for (image, digest) in images {
            let repository = self.renamer.image(&image.host, &image.repository)?;
            let there = Reference { host: self.target.host.clone(), repository, ..image.clone() };
            carried.inside.extend(spellings(&there, digest));
            carried.sources.extend(spellings(&image, digest).map(|spelling| (spelling, digest)));
        }
        self.carried = Some(carried);
        Ok(self)
    }

    /// Returns where the enclave is.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Tells whether it is known what was carried, and the image is among it.
    pub fn has(&self, image: &Reference) -> bool {
        self.carried.as_ref().is_some_and(|carried| carried.sources.contains_key(&spelling(image)))
    }

    /// Tells whether a reference names something below the target.
    fn is_below(&self, image: &Reference) -> bool {
        let below =
            |prefix: &str| image.repository.as_str().strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
        image.host == self.target.host && self.target.prefix.as_ref().is_none_or(|prefix| below(prefix.as_str()))
    }

    /// Returns where an image is.
    ///
    /// # Errors
    /// [`RenameError`] when its name in the enclave is that of another one, or breaks a rule.
    pub fn place(&mut self, image: &Reference) -> Result<Place, RenameError> {
        let digest = match &self.carried {
            None if self.is_below(image) => return Ok(Place::Inside),
            None => None,
            Some(carried) => {
                let spelling = spelling(image);
                if carried.inside.contains(&spelling) {
                    return Ok(Place::Inside);
                }
                match carried.sources.get(&spelling) {
                    Some(digest) => Some(*digest),
                    None => return Ok(Place::Missing),
                }
            }
        };
        let repository = self.renamer.image(&image.host, &image.repository)?;
        Ok(Place::Moved { name: format!("{}/{repository}", self.target.host), digest })
    }

    /// Returns where a chart is, as `helm install` takes it.
    ///
    /// # Errors
    /// [`RenameError`] when an image has that name already.
    pub fn chart(&mut self, name: &str) -> Result<String, RenameError> {
        Ok(format!("oci://{}/{}", self.target.host, self.renamer.own(&["charts", name])?))
    }
}

/// Returns how a carried image is found: by its tag and by its digest.
fn spellings(image: &Reference, digest: Digest) -> impl Iterator<Item = String> {
    let by_tag = image.tag.as_ref().map(|tag| format!("{}:{tag}", image.name()));
    by_tag.into_iter().chain([format!("{}@{digest}", image.name())])
}

/// Returns what a written reference is looked up by: the digest decides when there is one, as for every runtime.
fn spelling(image: &Reference) -> String {
    match (&image.digest, &image.tag) {
        (Some(digest), _) => format!("{}@{digest}", image.name()),
        (None, Some(tag)) => format!("{}:{tag}", image.name()),
        (None, None) => format!("{}:latest", image.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(of: &str) -> Digest {
        Digest::sha256(of.as_bytes())
    }

    fn place(names: &mut Names, image: &str) -> Place {
        names.place(&image.parse().unwrap()).unwrap()
    }

    fn moved(name: &str, digest: Option<Digest>) -> Place {
        Place::Moved { name: name.to_owned(), digest }
    }

    #[test]
    fn everything_below_the_target_is_inside() {
        let mut names = Names::new("reg.lan/mirror".parse().unwrap(), Layout::Source);
        assert_eq!(place(&mut names, "nginx:1"), moved("reg.lan/mirror/docker.io/library/nginx", None));
        assert_eq!(place(&mut names, "reg.lan/mirror/docker.io/library/nginx:1"), Place::Inside);
        assert_eq!(place(&mut names, "reg.lan/mirrored/a:1"), moved("reg.lan/mirror/reg.lan/mirrored/a", None));
    }

    #[test]
    fn what_was_carried_decides() {
        let names = Names::new("reg.lan".parse().unwrap(), Layout::Source);
        let carried = ["docker.io/library/nginx:1", "reg.lan/own/app:2", "quay.io/a/b:latest"];
        let mut names = names.carrying(carried.iter().map(|image| (image.parse().unwrap(), digest(image)))).unwrap();
        assert_eq!(place(&mut names, "nginx:1"), moved("reg.lan/docker.io/library/nginx", Some(digest(carried[0]))));
        assert_eq!(place(&mut names, "nginx:2"), Place::Missing);
        let pinned = format!("nginx:9@{}", digest(carried[0]));
        assert_eq!(place(&mut names, &pinned), moved("reg.lan/docker.io/library/nginx", Some(digest(carried[0]))));
        // A source may have its name in the very registry that it goes to.
        assert_eq!(place(&mut names, "reg.lan/own/app:2"), moved("reg.lan/reg.lan/own/app", Some(digest(carried[1]))));
        assert_eq!(place(&mut names, "reg.lan/reg.lan/own/app:2"), Place::Inside);
        assert_eq!(place(&mut names, "reg.lan/other:2"), Place::Missing);
        assert_eq!(place(&mut names, "quay.io/a/b"), moved("reg.lan/quay.io/a/b", Some(digest(carried[2]))));
    }

    #[test]
    fn colliding_names_are_refused() {
        let names = Names::new("reg.lan".parse().unwrap(), Layout::Depth(1));
        let pair = ["quay.io/a/b-c:1", "quay.io/a-b/c:1"].map(|image| (image.parse().unwrap(), digest(image)));
        assert!(names.carrying(pair).is_err());
    }
}
