//! Images in manifests.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    discover::{Confidence, Context, Finding, Occurrence, Piece, Role, Step, UserRule},
    error::{Diagnostic, Location, Severity},
    kube::{Object, object::objects},
    names::Target,
    oci::{Digest, Reference},
    yaml::{Node, Value},
};

use super::{
    Error, Names, Place,
    edit::{self, Edit, Plan, Why},
};

/// Says what is rewritten, and how.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// Also what only looks like an image.
    pub guesses: bool,
    /// Adds the digest to every name, where it is known.
    pub digests: bool,
    /// Fields of custom resources that the user knows.
    pub rules: Vec<UserRule>,
}

/// One image that got another name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moved {
    /// As it was written.
    pub from: String,
    /// As it is written now.
    pub to: String,
}

/// Manifests with other names.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// The text.
    pub text: String,
    /// The images that were renamed, each once.
    pub moved: BTreeSet<Moved>,
    /// What was left alone, and why.
    pub left: Vec<Diagnostic>,
}

/// Rewrites the images that manifests name.
///
/// # Errors
/// [`Error::Manifests`], [`Error::NotCarried`] with every image that is missing, [`Error::Name`].
pub fn rewrite(file: &str, text: &str, names: &mut Names, choices: &Choices) -> Result<Rewritten, Error> {
    let before = objects(file, text).map_err(|mistakes| Error::Manifests { file: file.to_owned(), mistakes })?;
    let mut context = Context::new(choices.rules.clone());
    context.learn(&before);
    let found = context.find(&before);
    let mut writer = Writer { names, choices, edits: Vec::new(), moved: BTreeMap::new(), left: Vec::new() };
    let mut missing = Vec::new();
    for (id, occurrence) in found.occurrences.iter().enumerate() {
        writer.take(id, occurrence, &before, &mut missing)?;
    }
    if !missing.is_empty() {
        return Err(Error::NotCarried { missing });
    }
    let Writer { mut edits, mut moved, mut left, .. } = writer;
    left.extend(found.diagnostics.into_iter().filter(|diagnostic| diagnostic.code != "image-missing"));
    let roots: Vec<&Node> = before.iter().map(|object| &object.node).collect();
    let plan = loop {
        let plan = edit::plan(text, &roots, &edits);
        if plan.failed.is_empty() {
            break plan;
        }
        // One piece of a reference without the others would name something that is nowhere.
        edits.retain(|edit| !plan.failed.contains_key(&edit.id));
        for (id, why) in &plan.failed {
            moved.remove(id);
            left.push(unwritten(&found.occurrences[*id].finding, *why));
        }
    };
    let text = edit::apply(text, &plan.bytes);
    prove(file, &before, &text, &plan)?;
    Ok(Rewritten { text, moved: moved.into_values().collect(), left: once(left) })
}

/// Drops repetitions: the same image in many places of one line says nothing new.
fn once(left: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut seen = BTreeSet::new();
    left.into_iter().filter(|one| seen.insert((one.code, one.to_string()))).collect()
}

struct Writer<'a> {
    names: &'a mut Names,
    choices: &'a Choices,
    edits: Vec<Edit>,
    moved: BTreeMap<usize, Moved>,
    left: Vec<Diagnostic>,
}

impl Writer<'_> {
    fn take(
        &mut self,
        id: usize,
        occurrence: &Occurrence,
        objects: &[Object],
        missing: &mut Vec<Diagnostic>,
    ) -> Result<(), Error> {
        let finding = &occurrence.finding;
        let Ok(image) = finding.written.parse::<Reference>() else { return Ok(()) };
        let sure = self.choices.guesses || occurrence.is_evident() || self.names.has(&image);
        let (name, digest) = match self.names.place(&image) {
            Ok(Place::Inside) => return Ok(()),
            Ok(Place::Moved { name, digest }) => (name, digest),
            Ok(Place::Missing) if finding.confidence == Confidence::Guess => {
                let message =
                    format!("{} looks like an image that was not carried: {}", finding.written, told(finding));
                self.left.push(note("left-not-carried", message, finding));
                return Ok(());
            }
            Ok(Place::Missing) => {
                let message = format!("{} was not carried: {}", finding.written, told(finding));
                missing.push(Diagnostic { severity: Severity::Error, ..note("not-carried", message, finding) });
                return Ok(());
            }
            // What only looks like an image must not stop the rest.
            Err(_) if !sure => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if !sure {
            let message = format!("{} may be an image: {}", finding.written, told(finding));
            let hint = "--guesses rewrites it; a lock or archive that holds it (--lock) does too";
            self.left.push(note("left-guess", message, finding).hint(hint));
            return Ok(());
        }
        if occurrence.pieces.is_empty() {
            let message = format!("{} is written nowhere: {}", finding.written, told(finding));
            let hint = "the nodes' mirror configuration (bundle export mirrors) covers it";
            self.left.push(note("left-implied", message, finding).hint(hint));
            return Ok(());
        }
        let digest = digest.filter(|_| self.choices.digests);
        match self.pieces(occurrence, &image, &name, digest, objects) {
            Some(new) => {
                let to = whole(&image, &name, digest);
                self.moved.insert(id, Moved { from: finding.written.clone(), to });
                self.edits.extend(new.into_iter().map(|(piece, new)| Edit { id, levels: piece.levels, new }));
            }
            None => {
                let message = format!("{} cannot be written in its pieces: {}", finding.written, told(finding));
                let hint = format!("make it {name}");
                self.left.push(note("left-pieces", message, finding).hint(hint));
            }
        }
        Ok(())
    }

    /// Returns what every piece becomes.
    fn pieces(
        &self,
        occurrence: &Occurrence,
        image: &Reference,
        name: &str,
        digest: Option<Digest>,
        objects: &[Object],
    ) -> Option<Vec<(Piece, String)>> {
        let pieces = &occurrence.pieces;
        if let [piece] = pieces.as_slice()
            && piece.role == Role::Reference
        {
            return Some(vec![(piece.clone(), whole(image, name, digest))]);
        }
        let parts: Vec<&Piece> = pieces.iter().filter(|piece| piece.role.is_name()).collect();
        let old: Option<Vec<String>> = parts.iter().map(|piece| written(piece, objects)).collect();
        let new = distribute(&old?, name, self.names.target())?;
        let mut out: Vec<(Piece, String)> = parts.into_iter().cloned().zip(new).collect();
        if let Some(repeated) = pieces.iter().find(|piece| piece.role == Role::Repeated) {
            out.push((repeated.clone(), self.names.target().host.to_string()));
        }
        let is = |role| pieces.iter().find(move |piece| piece.role == role);
        if let (Some(digest), None, Some(tag), Some(version)) =
            (digest, is(Role::Digest), is(Role::Tag), image.tag.as_ref())
            && image.digest.is_none()
        {
            out.push((tag.clone(), format!("{version}@{digest}")));
        }
        Some(out)
    }
}

/// Returns what stands at a piece; pieces of references in pieces are whole values, nearly always of the outermost text.
fn written(piece: &Piece, objects: &[Object]) -> Option<String> {
    fn find<'n>(node: &'n Node, at: crate::yaml::Mark) -> Option<&'n Node> {
        match &node.value {
            Value::Seq(items) => items.iter().find_map(|item| find(item, at)),
            Value::Map(entries) => entries.iter().find_map(|(_, value)| find(value, at)),
            _ => (node.at == at && node.text().is_some()).then_some(node),
        }
    }
    let mut level = piece.levels.first()?;
    let node = objects.iter().find_map(|object| find(&object.node, level.at))?;
    let mut text = node.text()?.to_owned();
    for next in piece.levels.iter().skip(1) {
        text = text.get(level.start..level.end)?.to_owned();
        let documents = crate::yaml::documents(&text, &crate::yaml::Options::lenient()).ok()?;
        text = documents.iter().find_map(|document| find(document, next.at))?.text()?.to_owned();
        level = next;
    }
    text.get(level.start..level.end).map(str::to_owned)
}

/// Returns the new reference: the new name, and what was written behind the old one.
pub(super) fn whole(image: &Reference, name: &str, digest: Option<Digest>) -> String {
    let mut text = name.to_owned();
    if let Some(tag) = &image.tag {
        text.push_str(&format!(":{tag}"));
    }
    if let Some(digest) = image.digest.or(digest) {
        text.push_str(&format!("@{digest}"));
    }
    text
}

/// Shares out a name among the pieces that are joined to it: those at the end stay as they are when they can, and the first one
/// takes the rest.
fn distribute(old: &[String], name: &str, target: &Target) -> Option<Vec<String>> {
    let (_, tail) = old.split_first()?;
    if tail.is_empty() {
        return Some(vec![name.to_owned()]);
    }
    let kept = tail.iter().map(|part| part.trim_matches('/')).collect::<Vec<_>>().join("/");
    if let Some(front) = name.strip_suffix(&kept).and_then(|front| front.strip_suffix('/')) {
        return Some(std::iter::once(front.to_owned()).chain(tail.iter().cloned()).collect());
    }
    let rest = name.strip_prefix(&format!("{target}/"))?;
    // `library/nginx` for `nginx`; the whole path for a layout that folds paths.
    match tail {
        [_] => match name.strip_suffix(&format!("/library/{kept}")) {
            Some(front) => Some(vec![front.to_owned(), format!("library/{kept}")]),
            None => Some(vec![target.to_string(), rest.to_owned()]),
        },
        [_, _] => {
            let (middle, last) = rest.rsplit_once('/')?;
            Some(vec![target.to_string(), middle.to_owned(), last.to_owned()])
        }
        _ => None,
    }
}

/// Tells a finding's place within its object, for messages; the file and line are given beside it.
fn told(finding: &Finding) -> String {
    let steps: Vec<String> =
        finding.provenance.iter().filter(|step| !matches!(step, Step::File { .. })).map(ToString::to_string).collect();
    steps.join(" → ")
}

fn note(code: &'static str, message: String, finding: &Finding) -> Diagnostic {
    let diagnostic = Diagnostic::warning(code, message);
    match finding.provenance.first() {
        Some(Step::File { file, line: Some(line) }) => diagnostic.at(Location::new(file, *line, 1)),
        _ => diagnostic,
    }
}

fn unwritten(finding: &Finding, why: Why) -> Diagnostic {
    let (written, place) = (&finding.written, told(finding));
    let (code, what, hint) = match why {
        Why::NotThere => ("left-form", "is written in a form that cannot be changed in place", "write it in one piece"),
        Why::Shared => ("left-shared", "shares its value with another field by an anchor", "write the value out"),
        Why::Conflict => {
            ("left-conflict", "has a piece in common with another image that goes elsewhere", "give each its own")
        }
    };
    note(code, format!("{written} {what}: {place}"), finding).hint(hint)
}

/// Reads what came out and compares it with what went in.
fn prove(file: &str, before: &[Object], text: &str, plan: &Plan) -> Result<(), Error> {
    let changed = |line| Error::Changed { file: file.to_owned(), line };
    let after = objects(file, text).map_err(|_| changed(1))?;
    if before.len() != after.len() {
        return Err(changed(1));
    }
    for (old, new) in before.iter().zip(&after) {
        if let Some(node) = difference(&old.node, &new.node, &plan.values) {
            return Err(changed(node.at.line));
        }
    }
    Ok(())
}

type Values = HashMap<crate::yaml::Mark, Vec<(std::ops::Range<usize>, String)>>;

/// Returns the first value that differs in another way than planned.
fn difference<'n>(old: &'n Node, new: &Node, values: &Values) -> Option<&'n Node> {
    match (&old.value, &new.value) {
        (Value::Seq(old_items), Value::Seq(new_items)) if old_items.len() == new_items.len() => {
            old_items.iter().zip(new_items).find_map(|(old, new)| difference(old, new, values))
        }
        (Value::Map(old_entries), Value::Map(new_entries)) if old_entries.len() == new_entries.len() => {
            old_entries.iter().zip(new_entries).find_map(|((old_key, old), (new_key, new))| {
                if old_key == new_key { difference(old, new, values) } else { Some(old_key) }
            })
        }
        (Value::Seq(_) | Value::Map(_), _) => Some(old),
        _ => {
            let same = match (values.get(&old.at), old.text()) {
                (Some(changes), Some(text)) => new.as_str() == Some(&edit::apply(text, changes)),
                _ => old.value == new.value && old.text() == new.text(),
            };
            (!same).then_some(old)
        }
    }
}
