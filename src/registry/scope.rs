//! What a token is asked for: `repository:NAME:pull,push` (Docker token authentication, "Token Scope").

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Holds a set of scopes, sorted, each resource once: equal sets are spelled alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scopes(BTreeMap<String, BTreeSet<String>>);

/// More resources than this in one challenge are not asked for.
const MAX_RESOURCES: usize = 32;

impl Scopes {
    /// Returns the scope for actions on a repository.
    pub fn repository(path: &str, actions: &[&str]) -> Self {
        let mut scopes = Scopes::default();
        scopes.0.insert(format!("repository:{path}"), actions.iter().map(|action| (*action).to_owned()).collect());
        scopes
    }

    /// Reads the `scope` of a challenge: scopes separated by spaces. The name may hold colons (a port), so type and
    /// actions are what stands before the first and after the last one.
    pub fn parse(text: &str) -> Self {
        let mut scopes = Scopes::default();
        for one in text.split_ascii_whitespace().take(MAX_RESOURCES) {
            if let Some((resource, actions)) = one.rsplit_once(':')
                && resource.contains(':')
            {
                let actions = actions.split(',').filter(|action| !action.is_empty()).map(str::to_owned);
                scopes.0.entry(resource.to_owned()).or_default().extend(actions);
            }
        }
        scopes
    }

    /// Adds scopes.
    pub fn merge(&mut self, other: &Scopes) {
        for (resource, actions) in &other.0 {
            self.0.entry(resource.clone()).or_default().extend(actions.iter().cloned());
        }
    }

    /// Returns the scopes to ask for when a registry challenged with `challenged` and `self` is what the request needs.
    /// Registries behind a gateway know a repository by another name than its path; then theirs counts, with our actions.
    pub fn answering(&self, challenged: &Scopes) -> Scopes {
        let mut asked = challenged.clone();
        let ours = |name: &str| self.0.contains_key(name);
        let renamed: Vec<_> =
            challenged.0.keys().filter(|name| name.starts_with("repository:") && !ours(name)).cloned().collect();
        if renamed.is_empty() || challenged.0.keys().any(|name| ours(name)) {
            asked.merge(self);
        } else {
            let actions: BTreeSet<String> = self.0.values().flatten().cloned().collect();
            for name in renamed {
                asked.0.entry(name).or_default().extend(actions.iter().cloned());
            }
        }
        asked
    }

    /// Returns each scope as a token server reads it.
    pub fn iter(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(resource, actions)| {
            // "pull" before "push", as every client writes it; both sort so already.
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            format!("{resource}:{}", actions.join(","))
        })
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn merges_and_sorts() {
        let mut scopes = Scopes::repository("a/b", &["push", "pull"]);
        scopes.merge(&Scopes::parse("repository:c:pull repository:a/b:delete registry:catalog:*"));
        assert_eq!(scopes.to_string(), "registry:catalog:* repository:a/b:delete,pull,push repository:c:pull");
        assert_eq!(Scopes::parse("repository:h:5000/x:pull").to_string(), "repository:h:5000/x:pull");
        assert_eq!(Scopes::parse("nonsense : pull"), Scopes::default());
    }

    #[test]
    fn another_name_in_the_challenge_counts() {
        let own = Scopes::repository("proxy/a", &["pull", "push"]);
        assert_eq!(own.answering(&Scopes::default()), own);
        assert_eq!(own.answering(&Scopes::parse("repository:proxy/a:pull")), own);
        let renamed = own.answering(&Scopes::parse("repository:a:pull"));
        assert_eq!(renamed.to_string(), "repository:a:pull,push");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn never_panics_and_comes_back(text in "[a-z:,/ *]{0,60}|.{0,40}") {
            let scopes = Scopes::parse(&text);
            prop_assert_eq!(Scopes::parse(&scopes.to_string()), scopes);
        }
    }
}
