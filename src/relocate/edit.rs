//! From places in nested texts to bytes of the outermost one.
//!
//! An edit names a part of a scalar's value, by way of the documents around it. Going outwards, each range in a document is
//! a range in the value that holds it, and so in the bytes that say this value. Base64 is the exception: the whole scalar
//! is written anew.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
};

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{
    discover::Level,
    yaml::{self, Mark, Node, Source, Style, Value},
};

/// One change: what is to stand at a place. Edits of one id belong together.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    pub(super) id: usize,
    pub(super) levels: Vec<Level>,
    pub(super) new: String,
}

/// Why an edit cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The text does not say the value at its place.
    NotThere,
    /// An anchor shares the value with something else.
    Shared,
    /// Another edit wants something else there.
    Conflict,
}

/// What to do with a text.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// What stands in place of ranges of bytes, in order and without overlap.
    pub(super) bytes: Vec<(Range<usize>, String)>,
    /// The same by values: what becomes of each scalar.
    pub(super) values: HashMap<Mark, Vec<(Range<usize>, String)>>,
    /// Edits that cannot be made.
    pub(super) failed: BTreeMap<usize, Why>,
}

/// A change of a range of bytes or of a value, and the edits that it is made for.
struct Change {
    range: Range<usize>,
    new: String,
    ids: Vec<usize>,
}

/// What is known of a scalar in the tree.
struct Found<'n> {
    value: &'n str,
    /// How many places of the tree it stands at: more than one, when an alias names it.
    seen: usize,
}

/// Plans edits of a text that was read as `roots`.
pub(super) fn plan(text: &str, roots: &[&Node], edits: &[Edit]) -> Plan {
    let work: Vec<Work<'_>> =
        edits.iter().map(|edit| Work { id: edit.id, levels: &edit.levels, new: edit.new.clone() }).collect();
    let mut plan = Plan::default();
    let changes = document(text, roots, &work, &mut plan, true);
    plan.bytes = changes.into_iter().map(|change| (change.range, change.new)).collect();
    plan
}

/// Makes the changes in a text.
pub(super) fn apply(text: &str, changes: &[(Range<usize>, String)]) -> String {
    let mut out = String::with_capacity(text.len() + 64 * changes.len());
    let mut at = 0;
    for (range, new) in changes {
        out.push_str(&text[at..range.start]);
        out.push_str(new);
        at = range.end;
    }
    out.push_str(&text[at..]);
    out
}

/// An edit on its way inwards: the levels that are left.
#[derive(Clone)]
struct Work<'e> {
    id: usize,
    levels: &'e [Level],
    new: String,
}

fn document(text: &str, roots: &[&Node], work: &[Work<'_>], plan: &mut Plan, outermost: bool) -> Vec<Change> {
    let mut by_mark: BTreeMap<Mark, Vec<Work<'_>>> = BTreeMap::new();
    for one in work {
        match one.levels.first() {
            Some(level) => by_mark.entry(level.at).or_default().push(one.clone()),
            None => drop(plan.failed.insert(one.id, Why::NotThere)),
        }
    }
    let wanted: BTreeSet<Mark> = by_mark.keys().copied().collect();
    let mut found = HashMap::new();
    for root in roots {
        collect(root, &wanted, &mut found);
    }
    let source = Source::new(text);
    let mut changes = Vec::new();
    for (mark, group) in by_mark {
        let ids: BTreeSet<usize> = group.iter().map(|one| one.id).collect();
        let mut fail = |why| plan.failed.extend(ids.iter().map(|id| (*id, why)));
        let Some(Found { value, seen }) = found.get(&mark) else {
            fail(Why::NotThere);
            continue;
        };
        if *seen > ids.len() {
            fail(Why::Shared);
            continue;
        }
        let Some(scalar) = source.scalar(mark, value) else {
            fail(Why::NotThere);
            continue;
        };
        if group.iter().any(|one| one.levels[0].base64) {
            match recoded(value, &group, plan) {
                Some(new) => {
                    let quote = match scalar.style() {
                        Style::Double => "\"",
                        Style::Single => "'",
                        Style::Plain | Style::Block => "",
                    };
                    if outermost {
                        plan.values.insert(mark, vec![(0..value.len(), new.clone())]);
                    }
                    let new = format!("{quote}{new}{quote}");
                    changes.push(Change { range: scalar.whole(), new, ids: ids.into_iter().collect() });
                }
                None => plan.failed.extend(ids.iter().map(|id| (*id, Why::NotThere))),
            }
            continue;
        }
        let inner = settled(inside(value, &group, plan), plan);
        if outermost {
            let values = inner.iter().map(|change| (change.range.clone(), change.new.clone())).collect();
            plan.values.insert(mark, values);
        }
        for Change { range, new, ids } in inner {
            let is_whole = value.trim() == &value[range.clone()];
            match scalar.range(range).zip(spelled(&new, scalar.style(), is_whole)) {
                Some((range, new)) => changes.push(Change { range, new, ids }),
                None => plan.failed.extend(ids.iter().map(|id| (*id, Why::NotThere))),
            }
        }
    }
    settled(changes, plan)
}

/// Writes a new part of a scalar in its style.
fn spelled(new: &str, style: Style, is_whole: bool) -> Option<String> {
    match style {
        Style::Double => Some(new.replace('\\', "\\\\").replace('"', "\\\"")),
        Style::Single => Some(new.replace('\'', "''")),
        Style::Block => Some(new.to_owned()),
        // An address in brackets would begin a list.
        Style::Plain if new.contains(['[', ']', '"', '\'']) => is_whole.then(|| format!("\"{new}\"")),
        Style::Plain => Some(new.to_owned()),
    }
}

fn collect<'n>(node: &'n Node, wanted: &BTreeSet<Mark>, found: &mut HashMap<Mark, Found<'n>>) {
    match &node.value {
        Value::Seq(items) => items.iter().for_each(|item| collect(item, wanted, found)),
        Value::Map(entries) => entries.iter().for_each(|(_, value)| collect(value, wanted, found)),
        _ => {
            if let Some(value) = node.text().filter(|_| wanted.contains(&node.at)) {
                found.entry(node.at).or_insert(Found { value, seen: 0 }).seen += 1;
            }
        }
    }
}

/// Returns the changes of a text that a scalar holds.
fn inside(value: &str, group: &[Work<'_>], plan: &mut Plan) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut deeper: BTreeMap<(usize, usize), Vec<Work<'_>>> = BTreeMap::new();
    for one in group {
        let level = one.levels[0];
        if value.get(level.start..level.end).is_none() {
            plan.failed.insert(one.id, Why::NotThere);
        } else if one.levels.len() == 1 {
            changes.push(Change { range: level.start..level.end, new: one.new.clone(), ids: vec![one.id] });
        } else {
            let work = Work { levels: &one.levels[1..], ..one.clone() };
            deeper.entry((level.start, level.end)).or_default().push(work);
        }
    }
    for ((start, end), work) in deeper {
        let text = &value[start..end];
        let Ok(documents) = yaml::documents(text, &yaml::Options::lenient()) else {
            plan.failed.extend(work.iter().map(|one| (one.id, Why::NotThere)));
            continue;
        };
        let roots: Vec<&Node> = documents.iter().collect();
        for change in document(text, &roots, &work, plan, false) {
            changes.push(Change { range: start + change.range.start..start + change.range.end, ..change });
        }
    }
    changes
}

/// Returns what base64 becomes.
fn recoded(value: &str, group: &[Work<'_>], plan: &mut Plan) -> Option<String> {
    let plain: String = value.split_whitespace().collect();
    let text = String::from_utf8(BASE64_STANDARD.decode(plain).ok()?).ok()?;
    let changes = settled(inside(&text, group, plan), plan);
    let changes: Vec<_> = changes.into_iter().map(|change| (change.range, change.new)).collect();
    Some(BASE64_STANDARD.encode(apply(&text, &changes)))
}

/// Sorts changes, joins equal ones and drops those that contradict an earlier one.
fn settled(mut changes: Vec<Change>, plan: &mut Plan) -> Vec<Change> {
    changes.sort_by(|a, b| (a.range.start, a.range.end, &a.new).cmp(&(b.range.start, b.range.end, &b.new)));
    let mut kept: Vec<Change> = Vec::new();
    for change in changes {
        match kept.last_mut() {
            Some(last) if last.range == change.range && last.new == change.new => last.ids.extend(change.ids),
            Some(last) if last.range.end > change.range.start => {
                plan.failed.extend(change.ids.iter().map(|id| (*id, Why::Conflict)));
            }
            _ => kept.push(change),
        }
    }
    kept
}
