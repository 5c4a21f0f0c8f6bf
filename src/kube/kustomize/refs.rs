//! References: when a resource got another name, the fields that hold the old one follow.
//!
//! Which fields those are is told by `nameReference` configurations. A candidate had the written name once, is of the
//! wanted kind, and lives where the referrer can see it; between several, those with the referrer's prefixes win.

use super::{
    Problem,
    config::NameReference,
    fieldspec::Create,
    id::{Gvk, Id, NO_NAMESPACE},
    node::{Content, Node, Tag},
    resource::{Former, Resource},
    schema::Schemas,
    set::Set,
};

/// What must be known of a resource to refer to it. Names do not change while references are mended.
struct Candidate {
    name: String,
    namespace: String,
    group: String,
    version: String,
    kind: String,
    effective: String,
    cluster: bool,
    former: Vec<Former>,
    prefixes: Vec<String>,
    suffixes: Vec<String>,
}

impl Candidate {
    fn of(resource: &Resource, schemas: &Schemas) -> Candidate {
        let id = resource.id(schemas);
        Candidate {
            name: id.name.to_owned(),
            namespace: id.namespace.to_owned(),
            group: id.group.to_owned(),
            version: id.version.to_owned(),
            kind: id.kind.to_owned(),
            effective: id.effective_namespace().to_owned(),
            cluster: id.cluster,
            former: resource.former.clone(),
            prefixes: resource.prefixes.clone(),
            suffixes: resource.suffixes.clone(),
        }
    }

    fn had_kind(&self, wanted: &Gvk) -> bool {
        self.former.iter().any(|former| wanted.selects(&self.group, &self.version, &former.kind))
    }

    fn original_namespace(&self) -> &str {
        self.former.first().map_or(&self.effective, |former| &former.namespace)
    }
}

/// Mends the references of all resources.
///
/// # Errors
/// A name stands for several resources, or a configured field is not what its configuration says.
pub(super) fn mend(set: &mut Set, references: &[NameReference], schemas: &Schemas) -> Result<(), Problem> {
    let all: Vec<Candidate> = set.items.iter().map(|item| Candidate::of(item, schemas)).collect();
    // Only what had another name, or stood elsewhere, can be the answer.
    let movable: Vec<usize> = (0..all.len()).filter(|at| !all[*at].former.is_empty()).collect();
    if movable.is_empty() {
        return Ok(());
    }
    for at in 0..set.items.len() {
        let original = set.items[at].original_id(schemas).gvk();
        let visible = visible(&set.items[at], &all[at], &all, &movable);
        for reference in references {
            for spec in reference.referrers.iter().filter(|spec| spec.gvk.selects_kind(&original)) {
                let search = Search {
                    referrer: &all[at],
                    role: role_of(&set.items[at], &spec.path),
                    target: &reference.target,
                    all: &all,
                    visible: &visible,
                };
                let label = set.items[at].label();
                let mut mend = |node: &mut Node| search.mend(node);
                spec.apply_anyway(&mut set.items[at].node, Create::Nothing, &mut mend)
                    .map_err(|problem| problem.of(label))?;
            }
        }
    }
    Ok(())
}

/// Returns the resources that a referrer may mean.
fn visible(referrer: &Resource, known: &Candidate, all: &[Candidate], movable: &[usize]) -> Vec<usize> {
    if known.cluster {
        return movable.to_vec();
    }
    let mut elsewhere: Vec<&str> = Vec::new();
    if known.kind == "RoleBinding" {
        let subjects = referrer.node.get("subjects").and_then(Node::as_list).unwrap_or_default();
        let accounts =
            subjects.iter().filter(|subject| subject.get("kind").is_some_and(|k| k.written() == "ServiceAccount"));
        elsewhere.extend(accounts.filter_map(|subject| subject.get("namespace")).map(Node::written));
    }
    let is_visible = |at: &&usize| {
        let other = &all[**at];
        other.cluster || other.effective == known.effective || elsewhere.contains(&other.namespace.as_str())
    };
    movable.iter().filter(is_visible).copied().collect()
}

/// Returns the kind that a role binding names, for the field that holds the role's name.
fn role_of(referrer: &Resource, path: &str) -> Option<Gvk> {
    if !path.ends_with("roleRef/name") {
        return None;
    }
    let role = referrer.node.get("roleRef")?;
    let (group, kind) = (role.get("apiGroup")?, role.get("kind")?);
    Some(Gvk { group: group.written().to_owned(), version: String::new(), kind: kind.written().to_owned() })
}

struct Search<'a> {
    referrer: &'a Candidate,
    role: Option<Gvk>,
    target: &'a Gvk,
    all: &'a [Candidate],
    visible: &'a [usize],
}

impl<'a> Search<'a> {
    fn mend(&self, node: &mut Node) -> Result<(), Problem> {
        if node.is_null() {
            return Ok(());
        }
        match &mut node.content {
            Content::Scalar(_) => self.mend_text(node),
            Content::Map(_) => self.mend_mapping(node),
            Content::List(items) => items.iter_mut().try_for_each(|item| match &item.content {
                _ if item.is_null() => Ok(()),
                Content::Scalar(_) => self.mend_text(item),
                Content::Map(_) => self.mend_mapping(item),
                Content::List(_) => {
                    let (expected, found) = ("a name or a mapping with one", item.kind_name());
                    Err(Problem::Shape { expected, found, field: String::new() })
                }
            }),
        }
    }

    fn mend_text(&self, node: &mut Node) -> Result<(), Problem> {
        let Some(found) = self.find(node.written(), self.visible.to_vec(), false)? else { return Ok(()) };
        if found.name == node.written() {
            return Ok(());
        }
        node.set_here(Node::scalar(found.name.clone(), Tag::Unset))
    }

    fn mend_mapping(&self, node: &mut Node) -> Result<(), Problem> {
        let Some(name) = node.get("name") else { return Err(Problem::NoNameField) };
        let name = name.written().to_owned();
        let candidates = match node.get("namespace").map(Node::written) {
            None => self.visible.to_vec(),
            Some(namespace) => {
                let in_namespace = |of: &dyn Fn(&'a Candidate) -> &'a str| -> Vec<usize> {
                    let is_there = |at: &&usize| of(&self.all[**at]) == namespace && namespace != NO_NAMESPACE;
                    self.visible.iter().filter(is_there).copied().collect()
                };
                match in_namespace(&Candidate::original_namespace) {
                    found if found.is_empty() => in_namespace(&|other| &other.effective),
                    found => found,
                }
            }
        };
        let Some(found) = self.find(&name, candidates, true)? else { return Ok(()) };
        if found.name == name && found.namespace.is_empty() {
            return Ok(());
        }
        node.set("name", Node::scalar(found.name.clone(), Tag::Unset))?;
        if found.namespace.is_empty() {
            return Ok(());
        }
        node.set("namespace", Node::scalar(found.namespace.clone(), Tag::Unset))
    }

    /// Finds the resource that a name stands for; with `located`, its namespace is wanted too.
    fn find(&self, name: &str, candidates: Vec<usize>, located: bool) -> Result<Option<&'a Candidate>, Problem> {
        let referrer = self.referrer;
        let mut found: Vec<&Candidate> = candidates
            .into_iter()
            .map(|at| &self.all[at])
            .filter(|other| other.former.iter().any(|former| former.name == name))
            .filter(|other| other.had_kind(self.target))
            .filter(|other| self.role.as_ref().is_none_or(|role| other.had_kind(role)))
            .filter(|other| {
                referrer.cluster
                    || other.cluster
                    || other.kind == "ServiceAccount"
                    || other.effective == referrer.effective
            })
            .collect();
        if let [one] = found[..] {
            return Ok(Some(one));
        }
        found.retain(|other| same_affixes(referrer, other, true));
        if found.len() > 1 {
            found.retain(|other| same_affixes(referrer, other, false));
        }
        let Some(first) = found.first() else { return Ok(None) };
        let same = |other: &&Candidate| other.name == first.name && (!located || other.namespace == first.namespace);
        if found.iter().all(same) {
            return Ok(Some(first));
        }
        let found: Vec<String> = found.iter().map(|other| label(other)).collect();
        Err(Problem::Ambiguous { name: name.to_owned(), candidates: found.join(", ") })
    }
}

fn label(candidate: &Candidate) -> String {
    let Candidate { group, version, kind, name, namespace, cluster, .. } = candidate;
    Id { group, version, kind, name, namespace, cluster: *cluster }.label()
}

fn same_affixes(a: &Candidate, b: &Candidate, empty_fits: bool) -> bool {
    let same = |a: &[String], b: &[String]| (empty_fits && (a.is_empty() || b.is_empty())) || same_ending(a, b);
    same(&a.prefixes, &b.prefixes) && same(&a.suffixes, &b.suffixes)
}

/// Tells whether the shorter list is the end of the longer one; an empty one is the end of none but itself.
fn same_ending(a: &[String], b: &[String]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if short.is_empty() { long.is_empty() } else { long.ends_with(short) }
}
