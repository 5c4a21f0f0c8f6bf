//! From what images are made of to the values that make them others.

use std::collections::BTreeMap;

use super::marks::{Candidate, Part};

/// An image that is to be another one.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    /// What it is made of.
    pub(super) parts: Vec<Part>,
    /// What it is to be.
    pub(super) wanted: String,
}

/// Returns what every value must be. Where wishes contradict each other, the most frequent one wins; which images that leaves
/// behind is for the proof to say.
pub(super) fn solve(wishes: &[Wish], candidates: &[Candidate], target: &str) -> BTreeMap<usize, String> {
    let mut proposals: BTreeMap<usize, BTreeMap<Option<String>, usize>> = BTreeMap::new();
    for wish in wishes {
        if let [Part::Value(first), rest @ ..] = wish.parts.as_slice() {
            let front = wish.wanted.strip_suffix(&said(rest, candidates, None)).filter(|front| !front.is_empty());
            *proposals.entry(*first).or_default().entry(front.map(str::to_owned)).or_default() += 1;
        }
    }
    let mut solved: BTreeMap<usize, String> = BTreeMap::new();
    for (id, votes) in proposals {
        // Of equal counts the shorter one: it serves images with and without a path of their own in front.
        let best = votes.into_iter().filter_map(|(front, count)| Some((front?, count)));
        let best = best.max_by_key(|(front, count)| (*count, std::cmp::Reverse(front.len())));
        solved.insert(id, best.map_or_else(|| target.to_owned(), |(front, _)| front));
    }
    // What does not fit with the first value may fit with the next one changed too.
    let mut further: BTreeMap<usize, String> = BTreeMap::new();
    for wish in wishes {
        let [Part::Value(first), rest @ ..] = wish.parts.as_slice() else { continue };
        let Some(front) = solved.get(first) else { continue };
        let whole = format!("{front}{}", said(rest, candidates, None));
        let Some(at) = rest.iter().position(|part| matches!(part, Part::Value(_))) else { continue };
        if whole == wish.wanted {
            continue;
        }
        let before = format!("{front}{}", said(&rest[..at], candidates, None));
        let after = said(&rest[at + 1..], candidates, None);
        let middle = wish.wanted.strip_prefix(&before).and_then(|rest| rest.strip_suffix(&after));
        if let (Part::Value(id), Some(middle)) = (&rest[at], middle.filter(|middle| !middle.is_empty())) {
            further.entry(*id).or_insert_with(|| middle.to_owned());
        }
    }
    solved.extend(further);
    solved.retain(|id, new| candidates.get(*id).is_some_and(|candidate| candidate.old != *new));
    solved
}

/// Returns what parts say with the values that they have.
fn said(parts: &[Part], candidates: &[Candidate], with: Option<&BTreeMap<usize, String>>) -> String {
    parts
        .iter()
        .map(|part| match part {
            Part::Literal(text) => text.as_str(),
            Part::Value(id) => match with.and_then(|with| with.get(id)) {
                Some(new) => new.as_str(),
                None => candidates.get(*id).map_or("", |candidate| candidate.old.as_str()),
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(parts: &[&str], wanted: &str, values: &mut Vec<Candidate>) -> Wish {
        let parts = parts.iter().map(|part| match part.strip_prefix('$') {
            Some(value) => {
                let id = values.iter().position(|known| known.old == value).unwrap_or_else(|| {
                    values.push(Candidate::new(values.len(), Vec::new(), value));
                    values.len() - 1
                });
                Part::Value(id)
            }
            None => Part::Literal((*part).to_owned()),
        });
        Wish { parts: parts.collect(), wanted: wanted.to_owned() }
    }

    fn solved(wishes: &[(&[&str], &str)]) -> Vec<String> {
        let mut values = Vec::new();
        let wishes: Vec<Wish> = wishes.iter().map(|(parts, wanted)| wish(parts, wanted, &mut values)).collect();
        solve(&wishes, &values, "reg.lan").iter().map(|(id, new)| format!("{}={new}", values[*id].old)).collect()
    }

    #[test]
    fn registries_lead_and_repositories_follow() {
        assert_eq!(solved(&[(&["$quay.io", "/", "$a/b", ":1"], "reg.lan/quay.io/a/b:1")]), ["quay.io=reg.lan/quay.io"]);
        assert_eq!(solved(&[(&["$quay.io/a/b", ":1"], "reg.lan/quay.io/a/b:1")]), ["quay.io/a/b=reg.lan/quay.io/a/b"]);
        assert_eq!(
            solved(&[(&["$nginx:1"], "reg.lan/docker.io/library/nginx:1")]),
            ["nginx:1=reg.lan/docker.io/library/nginx:1"]
        );
        assert_eq!(solved(&[(&["quay.io/", "$a/b", ":1"], "reg.lan/quay.io/a/b:1")]), Vec::<String>::new());
        // One registry for images with and without a path.
        assert_eq!(
            solved(&[
                (&["$docker.io", "/", "$a/b", ":1"], "reg.lan/docker.io/a/b:1"),
                (&["$docker.io", "/", "$nginx", ":1"], "reg.lan/docker.io/library/nginx:1"),
            ]),
            ["docker.io=reg.lan/docker.io", "nginx=library/nginx"]
        );
        // A layout that folds paths.
        assert_eq!(
            solved(&[(&["$quay.io", "/", "$a/b", ":1"], "reg.lan/quay.io-a-b:1")]),
            ["quay.io=reg.lan", "a/b=quay.io-a-b"]
        );
    }
}
