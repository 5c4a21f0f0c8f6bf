//! What asks the internet for certificates, and the enclave's own issuer in its place.
//!
//! | where | becomes |
//! |---|---|
//! | Issuer, ClusterIssuer with `spec.acme` | the same issuer with `spec.ca`: what names it needs no change |
//! | `cert-manager.io/cluster-issuer`, `cert-manager.io/issuer` | the enclave's issuer, unless the named one is among the manifests |
//! | `kubernetes.io/tls-acme: "true"` | `cert-manager.io/cluster-issuer` |
//! | `acme.cert-manager.io/*` | nothing |
//! | Certificate with an ACME issuer | `issuerRef` of the enclave's issuer |
//! | Traefik's `certResolver` | `secretName`, and a Certificate for it; on an Ingress the annotation of cert-manager |
//! | Traefik's `--certificatesresolvers.*` | nothing |
//! | whatever else names a server of ACME | told, with what to set |
//!
//! An issuer of the same name that the enclave provides is better than any of this, because nothing has to change then;
//! `issuer.replaces` of the spec makes such issuers.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use crate::{
    error::{Diagnostic, Location},
    kube::{Object, object::objects},
    yaml::{Node, Source, Value},
};

use super::{
    Error, edit,
    structure::{Change, Segment, Way, in_text, in_tree, keys, lookup, text_of},
};

/// The enclave's issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The name of its ClusterIssuer.
    pub name: String,
    /// The Secret that holds the issuing CA.
    pub secret: String,
    /// Names of further issuers that it stands for.
    pub replaces: Vec<String>,
}

/// Manifests that ask the enclave's issuer.
#[derive(Clone, Debug)]
pub struct Secured {
    /// The text.
    pub text: String,
    /// How many places changed.
    pub changed: usize,
    /// What only a person can change, and what else has to be done.
    pub left: Vec<Diagnostic>,
}

const CLUSTER_ISSUER: &str = "cert-manager.io/cluster-issuer";
const ISSUER: &str = "cert-manager.io/issuer";
const ISSUER_KIND: &str = "cert-manager.io/issuer-kind";
const ISSUER_GROUP: &str = "cert-manager.io/issuer-group";
const TLS_ACME: &str = "kubernetes.io/tls-acme";
const RESOLVER: &str = "traefik.ingress.kubernetes.io/router.tls.certresolver";
const ACME_OPTIONS: &str = "acme.cert-manager.io/";

/// Names by which people call issuers that ask a public CA.
const PUBLIC: &[&str] = &["letsencrypt", "lets-encrypt", "acme", "zerossl", "buypass", "le-prod", "le-staging"];

/// Servers of public CAs that speak ACME.
const SERVERS: &[&str] = &[
    "acme-v02.api.letsencrypt.org",
    "acme-staging-v02.api.letsencrypt.org",
    "acme.zerossl.com",
    "api.buypass.com/acme",
    "dv.acme-v02.api.pki.goog",
    "acme.ssl.com",
];

/// Rewrites what asks the internet for certificates.
///
/// # Errors
/// [`Error::Manifests`]; [`Error::Changed`] when the text that came out is not what was meant.
pub fn secure(file: &str, text: &str, issuer: &Issuer) -> Result<Secured, Error> {
    let unread = |mistakes| Error::Manifests { file: file.to_owned(), mistakes };
    let before = objects(file, text).map_err(unread)?;
    let source = Source::new(text);
    let known = Known::of(&before, issuer);
    let mut rules = Rules { issuer, known, left: Vec::new(), further: Vec::new() };
    let (mut edits, mut changed, mut expected) = (Vec::new(), 0, Vec::new());
    for object in &before {
        let mut tree = object.node.to_json().ok();
        for change in rules.examine(object) {
            let planned = in_text(&source, &object.node, &change);
            match planned.filter(|_| tree.as_mut().is_some_and(|tree| in_tree(tree, &change).is_some())) {
                Some(planned) => {
                    edits.extend(planned);
                    changed += 1;
                }
                None => rules.by_hand(object, &change),
            }
        }
        expected.push(tree);
    }
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    if let Some(pair) = edits.windows(2).find(|pair| pair[0].0.end > pair[1].0.start) {
        let line = text[..pair[1].0.start].matches('\n').count() + 1;
        return Err(Error::Changed { file: file.to_owned(), line: u32::try_from(line).unwrap_or(u32::MAX) });
    }
    let mut out = edit::apply(text, &edits);
    prove(file, &before, &expected, &out)?;
    for certificate in &rules.further {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str("---\n");
        out.push_str(certificate);
        changed += 1;
    }
    Ok(Secured { text: out, changed, left: rules.left })
}

/// Reads what came out and compares it with what was meant.
fn prove(file: &str, before: &[Object], expected: &[Option<Json>], text: &str) -> Result<(), Error> {
    let changed = |line| Error::Changed { file: file.to_owned(), line };
    let after = objects(file, text).map_err(|_| changed(1))?;
    if after.len() != before.len() {
        return Err(changed(1));
    }
    for ((old, new), expected) in before.iter().zip(&after).zip(expected) {
        let same = match expected {
            Some(expected) => new.node.to_json().is_ok_and(|new| new == *expected),
            None => old.node == new.node,
        };
        if !same {
            return Err(changed(old.origin.line));
        }
    }
    Ok(())
}

/// The issuers among the manifests.
struct Known {
    issuers: BTreeSet<(String, String)>,
}

impl Known {
    fn of(objects: &[Object], issuer: &Issuer) -> Known {
        let is = |object: &&Object| object.group() == "cert-manager.io" && object.kind.ends_with("Issuer");
        let mut issuers: BTreeSet<(String, String)> =
            objects.iter().filter(is).map(|object| (object.kind.clone(), object.name.clone())).collect();
        issuers.insert(("ClusterIssuer".to_owned(), issuer.name.clone()));
        Known { issuers }
    }

    fn has(&self, kind: &str, name: &str) -> bool {
        self.issuers.contains(&(kind.to_owned(), name.to_owned()))
    }
}

struct Rules<'a> {
    issuer: &'a Issuer,
    known: Known,
    left: Vec<Diagnostic>,
    /// Objects that have to be added.
    further: Vec<String>,
}

fn subject(object: &Object) -> String {
    match &object.namespace {
        Some(namespace) => format!("{} {namespace}/{}", object.kind, object.name),
        None => format!("{} {}", object.kind, object.name),
    }
}

fn at(object: &Object, node: &Node) -> Location {
    object.location(node)
}

impl Rules<'_> {
    fn tell(&mut self, code: &'static str, message: String, hint: String, object: &Object, node: &Node) {
        self.left.push(Diagnostic::warning(code, message).at(at(object, node)).hint(hint));
    }

    /// Says what a person has to change.
    fn by_hand(&mut self, object: &Object, change: &Change) {
        let (place, hint) = match change {
            Change::Put { key, new_key, value, .. } => (key.clone(), format!("make it `{new_key}: {value}`")),
            Change::Insert { after, key, value, .. } => (after.clone(), format!("add `{key}: {value}` behind it")),
            Change::Remove { key, .. } => (key.clone(), "remove it".to_owned()),
            Change::RemoveItem { index, .. } => (format!("item {index}"), "remove it".to_owned()),
        };
        let message = format!("{}: `{place}` is written in a form that cannot be changed in place", subject(object));
        self.tell("left-issuer", message, hint, object, &object.node);
    }

    fn is_public(&self, name: &str) -> bool {
        let lower = name.to_ascii_lowercase();
        self.issuer.replaces.iter().any(|known| known == name) || PUBLIC.iter().any(|word| lower.contains(word))
    }

    fn examine(&mut self, object: &Object) -> Vec<Change> {
        let mut changes = self.annotations(object);
        match (object.group(), object.kind.as_str()) {
            ("cert-manager.io", "Issuer" | "ClusterIssuer") => changes.extend(self.acme(object)),
            ("cert-manager.io", "Certificate") => changes.extend(self.certificate(object)),
            ("traefik.io" | "traefik.containo.us", "IngressRoute" | "IngressRouteTCP") => {
                changes.extend(self.route(object));
            }
            ("", "ConfigMap") if object.name == "config-certmanager" => {
                let message = format!("{} chooses the issuer of Knative's certificates", subject(object));
                let hint = format!("set issuerRef to `kind: ClusterIssuer, name: {}`", self.issuer.name);
                self.tell("left-issuer", message, hint, object, &object.node);
            }
            _ => arguments(&object.node, &mut Vec::new(), &mut changes),
        }
        if !changes.iter().any(|change| matches!(change, Change::Put { key, .. } if key == "acme")) {
            self.servers(object, &object.node);
        }
        changes
    }

    /// Looks for servers that nothing else explains.
    fn servers(&mut self, object: &Object, node: &Node) {
        match &node.value {
            Value::Seq(items) => items.iter().for_each(|item| self.servers(object, item)),
            Value::Map(entries) => entries.iter().for_each(|(_, value)| self.servers(object, value)),
            // An argument that goes anyway needs no word.
            Value::String(text) if !is_resolver(text) => {
                if let Some(server) = SERVERS.iter().find(|server| text.contains(*server)) {
                    let message = format!("{} asks {server} for certificates", subject(object));
                    let hint =
                        format!("point it at the ClusterIssuer {}, or at a server of ACME inside", self.issuer.name);
                    self.tell("left-acme", message, hint, object, node);
                }
            }
            _ => {}
        }
    }

    /// The issuer keeps its name: everything that names it stays as it is.
    fn acme(&mut self, object: &Object) -> Option<Change> {
        let node = object.node.at_path(["spec", "acme"])?;
        if object.kind == "Issuer" {
            let message = format!("{} takes its CA from a Secret of its own namespace", subject(object));
            let hint = format!("copy the Secret {} there", self.issuer.secret);
            self.tell("issuer-secret", message, hint, object, node);
        }
        let value = json!({"secretName": self.issuer.secret});
        Some(Change::Put { map: keys(&["spec"]), key: "acme".to_owned(), new_key: "ca".to_owned(), value })
    }

    fn put(&self, map: &Way, key: &str, new_key: &str, value: &str) -> Change {
        Change::Put { map: map.clone(), key: key.to_owned(), new_key: new_key.to_owned(), value: json!(value) }
    }

    fn annotations(&mut self, object: &Object) -> Vec<Change> {
        let way = keys(&["metadata", "annotations"]);
        let Some(list) = lookup(&object.node, &way) else { return Vec::new() };
        let get = |key: &str| text_of(list.get(key));
        let remove = |key: &str| Change::Remove { map: way.clone(), key: key.to_owned() };
        let mut changes = Vec::new();
        let mut asks = get(CLUSTER_ISSUER).is_some();
        if let Some(name) = get(CLUSTER_ISSUER).filter(|name| !self.known.has("ClusterIssuer", name)) {
            let _ = name;
            changes.push(self.put(&way, CLUSTER_ISSUER, CLUSTER_ISSUER, &self.issuer.name));
        }
        if let Some(name) = get(ISSUER) {
            let kind = get(ISSUER_KIND).unwrap_or("Issuer");
            match get(ISSUER_GROUP).filter(|group| *group != "cert-manager.io") {
                Some(group) => {
                    let message = format!("{} asks the issuer {name} of {group}", subject(object));
                    let hint = format!("`{CLUSTER_ISSUER}: {}` instead asks the enclave's", self.issuer.name);
                    self.tell("left-issuer", message, hint, object, list);
                }
                None if self.known.has(kind, name) => {}
                None if kind == "ClusterIssuer" => changes.push(self.put(&way, ISSUER, ISSUER, &self.issuer.name)),
                None => {
                    changes.push(if asks {
                        remove(ISSUER)
                    } else {
                        self.put(&way, ISSUER, CLUSTER_ISSUER, &self.issuer.name)
                    });
                    changes.extend(get(ISSUER_KIND).map(|_| remove(ISSUER_KIND)));
                }
            }
            asks = true;
        }
        if get(TLS_ACME) == Some("true") {
            changes.push(if asks {
                remove(TLS_ACME)
            } else {
                self.put(&way, TLS_ACME, CLUSTER_ISSUER, &self.issuer.name)
            });
            asks = true;
        }
        if get(RESOLVER).is_some() {
            changes.push(if asks {
                remove(RESOLVER)
            } else {
                self.put(&way, RESOLVER, CLUSTER_ISSUER, &self.issuer.name)
            });
            changes.extend(self.secrets(object));
        }
        for (key, _) in list.as_map().unwrap_or_default() {
            changes.extend(key.key().filter(|key| key.starts_with(ACME_OPTIONS)).map(|key| remove(&key)));
        }
        let removed = changes.iter().filter(|change| matches!(change, Change::Remove { .. })).count();
        if removed > 0 && removed == list.as_map().map_or(0, <[_]>::len) {
            // An empty mapping in block style is written in another way, and no annotations are none.
            changes = vec![Change::Remove { map: keys(&["metadata"]), key: "annotations".to_owned() }];
        }
        changes
    }

    /// Gives an Ingress the Secrets that cert-manager fills: Traefik's resolvers need none.
    fn secrets(&mut self, object: &Object) -> Vec<Change> {
        let tls = object.node.at_path(["spec", "tls"]).and_then(Node::as_seq).unwrap_or_default();
        if tls.is_empty() {
            let message = format!("{} names no Secret for its certificate", subject(object));
            let hint = format!("add `spec.tls: [{{hosts: […], secretName: {}-tls}}]`", object.name);
            self.tell("left-issuer", message, hint, object, &object.node);
        }
        let mut changes = Vec::new();
        for (i, one) in tls.iter().enumerate().filter(|(_, one)| one.get("secretName").is_none()) {
            let Some(after) = one.as_map().and_then(<[_]>::last).and_then(|(key, _)| key.key()) else { continue };
            let mut map = keys(&["spec", "tls"]);
            map.push(Segment::Index(i));
            let end = if tls.len() > 1 { format!("-{i}") } else { String::new() };
            let value = format!("{}-tls{end}", object.name);
            changes.push(Change::Insert { map, after: after.into_owned(), key: "secretName".to_owned(), value });
        }
        changes
    }

    fn certificate(&mut self, object: &Object) -> Vec<Change> {
        let way = keys(&["spec", "issuerRef"]);
        let Some(reference) = lookup(&object.node, &way) else { return Vec::new() };
        let get = |key: &str| text_of(reference.get(key));
        let Some(name) = get("name") else { return Vec::new() };
        let kind = get("kind").unwrap_or("Issuer");
        if get("group").is_some_and(|group| group != "cert-manager.io") || self.known.has(kind, name) {
            return Vec::new();
        }
        if !self.is_public(name) {
            let message = format!("{} asks the {kind} {name}, which is not among these manifests", subject(object));
            let hint = format!("--replaces {name} makes it ask {}", self.issuer.name);
            self.tell("issuer-unknown", message, hint, object, reference);
            return Vec::new();
        }
        let mut changes = vec![self.put(&way, "name", "name", &self.issuer.name)];
        match get("kind") {
            Some("ClusterIssuer") => {}
            Some(_) => changes.push(self.put(&way, "kind", "kind", "ClusterIssuer")),
            None => changes.push(Change::Insert {
                map: way,
                after: "name".to_owned(),
                key: "kind".to_owned(),
                value: "ClusterIssuer".to_owned(),
            }),
        }
        changes
    }

    /// cert-manager does not watch Traefik's routes, so the certificate becomes an object of its own.
    fn route(&mut self, object: &Object) -> Option<Change> {
        let map = keys(&["spec", "tls"]);
        let tls = lookup(&object.node, &map)?;
        tls.get("certResolver")?;
        if tls.get("secretName").is_some() {
            return Some(Change::Remove { map, key: "certResolver".to_owned() });
        }
        let names = hosts(object, tls);
        let secret = format!("{}-tls", object.name);
        if names.is_empty() {
            let message = format!("{} does not say for which names it needs a certificate", subject(object));
            let hint = format!("make a Certificate with secretName {secret} of the ClusterIssuer {}", self.issuer.name);
            self.tell("left-issuer", message, hint, object, tls);
        } else {
            let mut metadata = json!({"name": secret});
            if let Some(namespace) = &object.namespace {
                metadata["namespace"] = json!(namespace);
            }
            let certificate = json!({
                "apiVersion": "cert-manager.io/v1",
                "kind": "Certificate",
                "metadata": metadata,
                "spec": {
                    "secretName": secret,
                    "dnsNames": names,
                    "issuerRef": {"name": self.issuer.name, "kind": "ClusterIssuer"},
                },
            });
            self.further.extend(crate::yaml::to_text(&certificate).ok());
        }
        Some(self.put(&map, "certResolver", "secretName", &secret))
    }
}

/// Returns the names that a route serves: its list of domains, or what its rules match.
fn hosts(object: &Object, tls: &Node) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for domain in tls.get("domains").and_then(Node::as_seq).unwrap_or_default() {
        names.extend(text_of(domain.get("main")).map(str::to_owned));
        let sans = domain.get("sans").and_then(Node::as_seq).unwrap_or_default();
        names.extend(sans.iter().filter_map(|san| text_of(Some(san))).map(str::to_owned));
    }
    if !names.is_empty() {
        return names;
    }
    for route in object.node.at_path(["spec", "routes"]).and_then(Node::as_seq).unwrap_or_default() {
        let rule = text_of(route.get("match")).unwrap_or_default();
        for (at, matcher) in ["Host(", "HostSNI("].iter().flat_map(|name| rule.match_indices(name)) {
            let inside = rule[at + matcher.len()..].split(')').next().unwrap_or_default();
            let texts = inside.split(',').map(|text| text.trim().trim_matches(['`', '"', '\'']));
            names.extend(texts.filter(|text| !text.is_empty() && *text != "*").map(str::to_owned));
        }
    }
    names
}

fn is_resolver(argument: &str) -> bool {
    let lower = argument.to_ascii_lowercase();
    lower.starts_with("--certificatesresolvers.")
        || (lower.starts_with("--entrypoints.") && lower.contains(".tls.certresolver"))
}

/// Finds the arguments by which Traefik learns its resolvers.
fn arguments(node: &Node, way: &mut Way, changes: &mut Vec<Change>) {
    match &node.value {
        Value::Map(entries) => {
            for (key, value) in entries {
                let Some(key) = key.key() else { continue };
                way.push(Segment::Key(key.into_owned()));
                arguments(value, way, changes);
                way.pop();
            }
        }
        Value::Seq(items) => {
            // From the last to the first, so that the places of those before stay what they are.
            for (i, item) in items.iter().enumerate().rev() {
                match item.as_str() {
                    Some(text) if is_resolver(text) => {
                        changes.push(Change::RemoveItem { list: way.clone(), index: i });
                    }
                    Some(_) => {}
                    None => {
                        way.push(Segment::Index(i));
                        arguments(item, way, changes);
                        way.pop();
                    }
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer() -> Issuer {
        Issuer { name: "enclave".into(), secret: "enclave-ca".into(), replaces: vec!["our-old".into()] }
    }

    #[track_caller]
    fn becomes(text: &str, expected: &str) -> Vec<&'static str> {
        let done = secure("m.yaml", text, &issuer()).unwrap();
        assert_eq!(done.text, expected, "{:#?}", done.left);
        let again = secure("m.yaml", &done.text, &issuer()).unwrap();
        assert_eq!((again.text.as_str(), again.changed), (expected, 0));
        done.left.iter().map(|left| left.code).collect()
    }

    #[test]
    fn acme_issuers_keep_their_names() {
        let left = becomes(
            "\
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: letsencrypt-prod}   # kept
spec:
  # who pays
  acme:
    email: a@b.c
    server: https://acme-v02.api.letsencrypt.org/directory
    privateKeySecretRef: {name: x}
    solvers:
    - http01: {ingress: {class: nginx}}

---
{\"apiVersion\":\"cert-manager.io/v1\",\"kind\":\"Issuer\",\"metadata\":{\"name\":\"x\"},\"spec\":{\"acme\":{\"server\":\"https://a\",\"solvers\":[]}}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: c}
spec:
  issuerRef:
    name: letsencrypt-prod
    kind: ClusterIssuer
",
            "\
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: letsencrypt-prod}   # kept
spec:
  # who pays
  ca:
    secretName: enclave-ca

---
{\"apiVersion\":\"cert-manager.io/v1\",\"kind\":\"Issuer\",\"metadata\":{\"name\":\"x\"},\"spec\":{\"ca\": {\"secretName\":\"enclave-ca\"}}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: c}
spec:
  issuerRef:
    name: letsencrypt-prod
    kind: ClusterIssuer
",
        );
        assert_eq!(left, ["issuer-secret"]);
    }

    #[test]
    fn annotations_ask_the_enclave() {
        becomes(
            "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: a
  annotations:
    cert-manager.io/cluster-issuer: \"letsencrypt-prod\"   # kept
    acme.cert-manager.io/http01-edit-in-place: 'true'
    other: x
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: b
  annotations: {kubernetes.io/tls-acme: \"true\", acme.cert-manager.io/x: y}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  annotations:
    cert-manager.io/issuer: le
    cert-manager.io/issuer-kind: Issuer
    kubernetes.io/tls-acme: 'true'
  name: c
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  annotations:
    acme.cert-manager.io/http01-ingress-class: nginx
  name: d
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: e
  annotations:
    cert-manager.io/cluster-issuer: own
---
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: own}
spec: {selfSigned: {}}
",
            "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: a
  annotations:
    cert-manager.io/cluster-issuer: \"enclave\"   # kept
    other: x
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: b
  annotations: {cert-manager.io/cluster-issuer: \"enclave\"}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  annotations:
    cert-manager.io/cluster-issuer: enclave
  name: c
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: d
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: e
  annotations:
    cert-manager.io/cluster-issuer: own
---
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: own}
spec: {selfSigned: {}}
",
        );
    }

    #[test]
    fn certificates_of_public_issuers_only() {
        let left = becomes(
            "\
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: a}
spec: {issuerRef: {name: letsencrypt}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: b}
spec:
  issuerRef:
    kind: Issuer
    name: our-old
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: c}
spec: {issuerRef: {name: vault}}
",
            "\
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: a}
spec: {issuerRef: {name: enclave, \"kind\": \"ClusterIssuer\"}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: b}
spec:
  issuerRef:
    kind: ClusterIssuer
    name: enclave
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: c}
spec: {issuerRef: {name: vault}}
",
        );
        assert_eq!(left, ["issuer-unknown"]);
    }

    #[test]
    fn traefik_asks_nobody() {
        let left = becomes(
            "\
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: web, namespace: n}
spec:
  routes:
    - match: Host(`a.lan`, `b.lan`) && PathPrefix(`/x`)
      kind: Rule
  tls:
    certResolver: le
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: i
  annotations:
    traefik.ingress.kubernetes.io/router.tls.certresolver: le
spec:
  tls:
    - hosts:
      - a.lan
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: traefik}
spec:
  template:
    spec:
      containers:
        - name: t
          args:
            - --log
            - --certificatesresolvers.le.acme.email=a@b.c
            - \"--certificatesresolvers.le.acme.caserver=https://acme-v02.api.letsencrypt.org/directory\"
            - --entrypoints.web
---
apiVersion: v1
kind: ConfigMap
metadata: {name: caddy}
data: {Caddyfile: 'acme_ca https://acme-v02.api.letsencrypt.org/directory'}
",
            "\
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: web, namespace: n}
spec:
  routes:
    - match: Host(`a.lan`, `b.lan`) && PathPrefix(`/x`)
      kind: Rule
  tls:
    secretName: web-tls
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: i
  annotations:
    cert-manager.io/cluster-issuer: enclave
spec:
  tls:
    - hosts:
      - a.lan
      secretName: i-tls
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: traefik}
spec:
  template:
    spec:
      containers:
        - name: t
          args:
            - --log
            - --entrypoints.web
---
apiVersion: v1
kind: ConfigMap
metadata: {name: caddy}
data: {Caddyfile: 'acme_ca https://acme-v02.api.letsencrypt.org/directory'}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  name: web-tls
  namespace: \"n\"
spec:
  secretName: web-tls
  dnsNames:
  - a.lan
  - b.lan
  issuerRef:
    name: enclave
    kind: ClusterIssuer
",
        );
        assert_eq!(left, ["left-acme"]);
    }

    #[test]
    fn what_cannot_be_changed_is_told() {
        let text = "\
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: a}
spec: &s
  acme: {server: x}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: b
  annotations:
    <<: {acme.cert-manager.io/x: y}
    z: w
";
        let done = secure("m.yaml", text, &issuer()).unwrap();
        assert!(done.text.contains("ca:") || done.left.iter().any(|left| left.code == "left-issuer"));
    }
}
