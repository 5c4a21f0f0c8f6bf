//! API discovery: which groups, versions and kinds a cluster serves, and under which path.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::{
    Cluster, Error, Inner,
    request::{Ask, Reply},
};

/// Describes one kind as a cluster serves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resource {
    /// `v1`, `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// The name in paths, `deployments`.
    pub name: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What can be done, such as `get`, `list`, `patch`.
    pub verbs: Vec<String>,
}

impl Resource {
    /// Returns the API group, empty for the core.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// Returns the path of an object, or of the list when no name is given.
    pub(super) fn path(&self, namespace: Option<&str>, name: Option<&str>) -> Vec<String> {
        let mut path = root(&self.api_version);
        if let Some(namespace) = namespace.filter(|_| self.namespaced) {
            path.extend(["namespaces".to_owned(), namespace.to_owned()]);
        }
        path.push(self.name.clone());
        path.extend(name.map(str::to_owned));
        path
    }
}

/// Remembers what is served, by group and version. What was not found is not remembered: it may be installed meanwhile.
#[derive(Default)]
pub(super) struct Cache(Mutex<BTreeMap<String, Arc<Vec<Resource>>>>);

fn root(api_version: &str) -> Vec<String> {
    match api_version.split_once('/') {
        Some((group, version)) => vec!["apis".to_owned(), group.to_owned(), version.to_owned()],
        None => vec!["api".to_owned(), api_version.to_owned()],
    }
}

#[derive(Deserialize)]
struct List {
    kind: String,
    #[serde(default)]
    resources: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    kind: String,
    #[serde(default)]
    namespaced: bool,
    #[serde(default)]
    verbs: Vec<String>,
}

#[derive(Deserialize)]
struct Groups {
    kind: String,
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    versions: Vec<GroupVersion>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GroupVersion {
    group_version: String,
}

impl Inner {
    fn foreign(&self, what: &str, problem: &str) -> Error {
        Error::Foreign { place: Box::new(self.place.clone()), what: what.to_owned(), problem: problem.to_owned() }
    }

    /// Returns the kinds of a group and version; none when the cluster does not serve it.
    pub(super) async fn resources(&self, api_version: &str) -> Result<Option<Arc<Vec<Resource>>>, Error> {
        let known = self.kinds.0.lock().unwrap_or_else(PoisonError::into_inner).get(api_version).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let what = format!("the kinds of {api_version}");
        let ask = Ask::get(root(api_version), what.clone());
        let reply: Reply = self.reply(&ask).await?;
        if reply.status == 404 {
            // The answer to an unknown group is bare text that anything in front of the server could have written.
            let served = self.api_versions().await?;
            return match served.iter().any(|version| version == api_version) {
                true => Err(reply.refusal(&self.place, &what)),
                false => Ok(None),
            };
        }
        let list = reply.object(&self.place, &what)?;
        let list = List::deserialize(&list).map_err(|_| self.foreign(&what, "it is no APIResourceList"))?;
        if list.kind != "APIResourceList" {
            return Err(self.foreign(&what, "it is no APIResourceList"));
        }
        let resources: Vec<Resource> = list
            .resources
            .into_iter()
            // A slash names a subresource, such as `pods/log`.
            .filter(|entry| !entry.name.contains('/'))
            .map(|entry| Resource {
                api_version: api_version.to_owned(),
                kind: entry.kind,
                name: entry.name,
                namespaced: entry.namespaced,
                verbs: entry.verbs,
            })
            .collect();
        let resources = Arc::new(resources);
        let mut cache = self.kinds.0.lock().unwrap_or_else(PoisonError::into_inner);
        cache.insert(api_version.to_owned(), resources.clone());
        Ok(Some(resources))
    }

    async fn api_versions(&self) -> Result<Vec<String>, Error> {
        let what = "the API groups";
        let list = self.object(&Ask::get(["apis"], what)).await?;
        let groups = Groups::deserialize(&list).map_err(|_| self.foreign(what, "it is no APIGroupList"))?;
        if groups.kind != "APIGroupList" {
            return Err(self.foreign(what, "it is no APIGroupList"));
        }
        let versions = groups.groups.into_iter().flat_map(|group| group.versions);
        Ok(versions.map(|version| version.group_version).chain(["v1".to_owned()]).collect())
    }
}

impl Cluster {
    /// Returns every group and version that the cluster serves, such as `apps/v1`.
    ///
    /// # Errors
    /// Those of a request.
    pub async fn api_versions(&self) -> Result<Vec<String>, Error> {
        self.0.api_versions().await
    }

    /// Returns the kinds of a group and version; none when the cluster does not serve it.
    ///
    /// # Errors
    /// Those of a request.
    pub async fn resources(&self, api_version: &str) -> Result<Option<Arc<Vec<Resource>>>, Error> {
        self.0.resources(api_version).await
    }

    /// Returns how a kind is served.
    ///
    /// # Errors
    /// [`Error::NoSuchKind`], which names the versions that the cluster serves instead; those of a request.
    pub async fn resource(&self, api_version: &str, kind: &str) -> Result<Resource, Error> {
        if let Some(resources) = self.0.resources(api_version).await? {
            if let Some(found) = resources.iter().find(|resource| resource.kind == kind) {
                return Ok(found.clone());
            }
            // The group was read before this kind was installed.
            let mut cache = self.0.kinds.0.lock().unwrap_or_else(PoisonError::into_inner);
            cache.remove(api_version);
        }
        if let Some(resources) = self.0.resources(api_version).await?
            && let Some(found) = resources.iter().find(|resource| resource.kind == kind)
        {
            return Ok(found.clone());
        }
        let group = |version: &str| version.split_once('/').map_or("", |(group, _)| group).to_owned();
        let wanted = group(api_version);
        let mut served = self.0.api_versions().await?;
        served.retain(|version| group(version) == wanted);
        Err(Error::NoSuchKind {
            place: Box::new(self.0.place.clone()),
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            served,
        })
    }
}
