//! What the objects of a deployment ask of a cluster: kinds, classes, names of hosts.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    kube::object::Object,
    yaml::{Node, Value},
};

/// How many places are remembered for one need: more are counted by nobody.
const MAX_PLACES: usize = 20;
/// Groups that every Kubernetes serves end in this or have no dot (`apps`, `batch`).
const OWN_SUFFIX: &str = ".k8s.io";
/// Groups of the Kubernetes project that come with custom resource definitions nevertheless (sig-network, sig-storage,
/// sig-auth, metrics-server is an API service).
const NOT_BUILT_IN: &[&str] = &[
    "gateway.networking.k8s.io",
    "gateway.networking.x-k8s.io",
    "snapshot.storage.k8s.io",
    "groupsnapshot.storage.k8s.io",
    "policy.networking.k8s.io",
    "metrics.k8s.io",
    "custom.metrics.k8s.io",
    "external.metrics.k8s.io",
    "cluster.x-k8s.io",
    "secrets-store.csi.x-k8s.io",
];

/// Something that is asked for, and by which objects.
pub(super) type Asked<K> = BTreeMap<K, Vec<String>>;

/// Collects what objects need, and what they bring themselves.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    kinds: Asked<(String, String)>,
    /// Kinds with the namespaces that they go to.
    pub(super) placed: BTreeSet<(String, String, Option<String>)>,
    /// Group, version and kind of definitions that come along.
    pub(super) defined: BTreeSet<(String, String, String)>,
    pub(super) namespaces: BTreeSet<String>,
    pub(super) storage: Asked<String>,
    pub(super) default_storage: Vec<String>,
    pub(super) own_storage: BTreeSet<String>,
    pub(super) ingress: Asked<String>,
    pub(super) own_ingress: BTreeSet<String>,
    pub(super) gateways: Asked<String>,
    pub(super) own_gateways: BTreeSet<String>,
    pub(super) hosts: Asked<String>,
    /// Objects that only cert-manager makes sense of.
    pub(super) certificates: Vec<String>,
    objects: usize,
}

fn add<K: Ord>(to: &mut Asked<K>, key: K, place: &str) {
    let places = to.entry(key).or_default();
    if places.len() < MAX_PLACES && !places.iter().any(|known| known == place) {
        places.push(place.to_owned());
    }
}

fn text<'a>(node: &'a Node, path: &[&str]) -> Option<&'a str> {
    node.at_path(path.iter().copied()).and_then(Node::as_str).filter(|text| !text.is_empty())
}

fn each<'a>(node: &'a Node, path: &[&str]) -> impl Iterator<Item = &'a Node> {
    node.at_path(path.iter().copied()).and_then(Node::as_seq).unwrap_or_default().iter()
}

impl Needs {
    /// Takes objects in. `chart` is in front of their places; `namespace` is where they go when they name none.
    pub fn learn(&mut self, objects: &[Object], chart: Option<&str>, namespace: Option<&str>) {
        for object in objects {
            let place = match chart {
                Some(chart) => format!("{chart}: {} {}", object.kind, object.name),
                None => format!("{}:{} {} {}", object.origin.file, object.origin.line, object.kind, object.name),
            };
            self.take(object, &place, namespace);
        }
    }

    /// Tells how many objects were taken in.
    pub fn objects(&self) -> usize {
        self.objects
    }

    /// Walks the kinds that are used, with the objects that are of them.
    pub(super) fn kinds(&self) -> impl Iterator<Item = (&(String, String), &Vec<String>)> {
        self.kinds.iter()
    }

    fn take(&mut self, object: &Object, place: &str, namespace: Option<&str>) {
        self.objects += 1;
        let node = &object.node;
        add(&mut self.kinds, (object.api_version.clone(), object.kind.clone()), place);
        let namespace = object.namespace.as_deref().or(namespace).map(str::to_owned);
        self.placed.insert((object.api_version.clone(), object.kind.clone(), namespace));
        match (object.group(), object.kind.as_str()) {
            ("", "Namespace") => {
                self.namespaces.insert(object.name.clone());
            }
            ("apiextensions.k8s.io", "CustomResourceDefinition") => self.define(node),
            ("", "PersistentVolumeClaim") => self.claim(node.get("spec"), place),
            ("apps", "StatefulSet") => {
                for claim in each(node, &["spec", "volumeClaimTemplates"]) {
                    self.claim(claim.get("spec"), place);
                }
            }
            ("storage.k8s.io", "StorageClass") => {
                self.own_storage.insert(object.name.clone());
            }
            ("networking.k8s.io" | "extensions", "Ingress") => self.ingress(node, place),
            ("networking.k8s.io", "IngressClass") => {
                self.own_ingress.insert(object.name.clone());
            }
            ("gateway.networking.k8s.io", "Gateway") => {
                if let Some(class) = text(node, &["spec", "gatewayClassName"]) {
                    add(&mut self.gateways, class.to_owned(), place);
                }
                for listener in each(node, &["spec", "listeners"]) {
                    self.host(text(listener, &["hostname"]), place);
                }
            }
            ("gateway.networking.k8s.io", "GatewayClass") => {
                self.own_gateways.insert(object.name.clone());
            }
            ("gateway.networking.k8s.io", _) => self.hosts(each(node, &["spec", "hostnames"]), place),
            ("cert-manager.io", "Certificate") => self.hosts(each(node, &["spec", "dnsNames"]), place),
            ("traefik.io" | "traefik.containo.us", "IngressRoute") => {
                for route in each(node, &["spec", "routes"]) {
                    for host in text(route, &["match"]).map(traefik_hosts).unwrap_or_default() {
                        self.host(Some(host), place);
                    }
                }
            }
            _ => {}
        }
        if !is_built_in(object.group()) && object.kind != "CustomResourceDefinition" {
            // Operators ask for volumes too, in fields of the same name.
            self.classes_within(node, place, 0);
        }
        let of_cert_manager =
            matches!(object.group(), "cert-manager.io" | "acme.cert-manager.io" | "trust.cert-manager.io");
        let annotations = node.at_path(["metadata", "annotations"]).and_then(Node::as_map).unwrap_or_default();
        let asks = annotations.iter().any(|(key, _)| {
            key.key().is_some_and(|key| {
                matches!(
                    &*key,
                    "cert-manager.io/cluster-issuer" | "cert-manager.io/issuer" | "cert-manager.io/inject-ca-from"
                )
            })
        });
        if (of_cert_manager || asks) && self.certificates.len() < MAX_PLACES {
            self.certificates.push(place.to_owned());
        }
    }

    fn define(&mut self, node: &Node) {
        let (Some(group), Some(kind)) = (text(node, &["spec", "group"]), text(node, &["spec", "names", "kind"])) else {
            return;
        };
        for version in each(node, &["spec", "versions"]) {
            let served = version.get("served").is_none_or(|served| served.value == Value::Bool(true));
            if let Some(name) = text(version, &["name"]).filter(|_| served) {
                self.defined.insert((group.to_owned(), name.to_owned(), kind.to_owned()));
            }
        }
    }

    fn claim(&mut self, spec: Option<&Node>, place: &str) {
        let Some(spec) = spec else { return };
        match spec.get("storageClassName") {
            // An empty name says: a volume that is there already, of no class.
            Some(class) if class.as_str() == Some("") => {}
            Some(class) if class.as_str().is_some() => {
                add(&mut self.storage, class.as_str().unwrap_or_default().to_owned(), place);
            }
            _ if spec.get("volumeName").is_some() => {}
            _ if self.default_storage.len() < MAX_PLACES => self.default_storage.push(place.to_owned()),
            _ => {}
        }
    }

    fn classes_within(&mut self, node: &Node, place: &str, depth: usize) {
        // Deeper than any real resource; the reader's own limit is what keeps this from running away.
        if depth > 100 {
            return;
        }
        for (key, value) in node.as_map().unwrap_or_default() {
            match (key.as_str(), value.as_str()) {
                (Some("storageClassName"), Some(class)) if !class.is_empty() => {
                    add(&mut self.storage, class.to_owned(), place);
                }
                _ => self.classes_within(value, place, depth + 1),
            }
        }
        for item in node.as_seq().unwrap_or_default() {
            self.classes_within(item, place, depth + 1);
        }
    }

    fn ingress(&mut self, node: &Node, place: &str) {
        let annotated = text(node, &["metadata", "annotations", "kubernetes.io/ingress.class"]);
        if let Some(class) = text(node, &["spec", "ingressClassName"]) {
            add(&mut self.ingress, class.to_owned(), place);
        } else if annotated.is_none() {
            add(&mut self.ingress, String::new(), place);
        }
        for rule in each(node, &["spec", "rules"]) {
            self.host(text(rule, &["host"]), place);
        }
        for tls in each(node, &["spec", "tls"]) {
            self.hosts(each(tls, &["hosts"]), place);
        }
    }

    fn hosts<'a>(&mut self, hosts: impl Iterator<Item = &'a Node>, place: &str) {
        for host in hosts {
            self.host(host.as_str(), place);
        }
    }

    fn host(&mut self, host: Option<&str>, place: &str) {
        let Some(host) = host.map(|host| host.trim_end_matches('.')) else { return };
        // Names of services are for the cluster's own resolver.
        let inside = host.ends_with(".svc") || host.ends_with(".svc.cluster.local") || !host.contains('.');
        if !host.is_empty() && !inside && host.parse::<std::net::IpAddr>().is_err() {
            add(&mut self.hosts, host.to_ascii_lowercase(), place);
        }
    }
}

/// Tells whether a group comes with Kubernetes itself.
pub(super) fn is_built_in(group: &str) -> bool {
    !group.contains('.') || (group.ends_with(OWN_SUFFIX) && !NOT_BUILT_IN.contains(&group))
}

/// Finds the names in a rule such as ``Host(`a.lan`) || Host(`b.lan`, `c.lan`)``.
fn traefik_hosts(rule: &str) -> Vec<&str> {
    let mut hosts = Vec::new();
    for (at, _) in rule.match_indices("Host(") {
        // `HostSNI(` and `HostRegexp(` do not match, nor does a longer word that ends alike.
        if rule[..at].ends_with(|c: char| c.is_ascii_alphanumeric()) {
            continue;
        }
        let arguments = rule[at + "Host(".len()..].split(')').next().unwrap_or_default();
        hosts.extend(arguments.split(',').map(|host| host.trim().trim_matches(['`', '"', '\''])));
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::object::objects;

    fn of(text: &str) -> Needs {
        let mut needs = Needs::default();
        needs.learn(&objects("all.yaml", text).unwrap(), None, None);
        needs
    }

    #[test]
    fn classes_hosts_and_kinds_are_found() {
        let needs = of(r#"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {storageClassName: fast}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: plain}
spec: {accessModes: [ReadWriteOnce]}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: bound}
spec: {storageClassName: ""}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec: {volumeClaimTemplates: [{metadata: {name: d}, spec: {storageClassName: slow}}]}
---
apiVersion: monitoring.coreos.com/v1
kind: Prometheus
metadata: {name: k8s}
spec: {storage: {volumeClaimTemplate: {spec: {storageClassName: metrics}}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, annotations: {cert-manager.io/cluster-issuer: letsencrypt-prod}}
spec: {ingressClassName: nginx, rules: [{host: Web.Enclave.lan}], tls: [{hosts: ["*.enclave.lan"]}]}
---
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: r}
spec: {routes: [{match: "Host(`a.lan.test`) && PathPrefix(`/x`) || HostSNI(`no.test`)"}]}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: prometheuses.monitoring.coreos.com}
spec: {group: monitoring.coreos.com, names: {kind: Prometheus}, versions: [{name: v1, served: true}, {name: v0, served: false}]}
"#);
        let classes: Vec<&str> = needs.storage.keys().map(String::as_str).collect();
        assert_eq!(classes, ["fast", "metrics", "slow"]);
        assert_eq!(needs.default_storage.len(), 1);
        let hosts: Vec<&str> = needs.hosts.keys().map(String::as_str).collect();
        assert_eq!(hosts, ["*.enclave.lan", "a.lan.test", "web.enclave.lan"]);
        assert_eq!(needs.ingress.keys().collect::<Vec<_>>(), ["nginx"]);
        assert_eq!(needs.certificates.len(), 1);
        assert_eq!(needs.defined.len(), 1);
        assert_eq!(needs.objects(), 8);
        assert!(needs.storage["fast"][0].starts_with("all.yaml:"));
    }

    #[test]
    fn groups_of_kubernetes_are_known() {
        for group in ["", "apps", "batch", "networking.k8s.io", "storage.k8s.io", "rbac.authorization.k8s.io"] {
            assert!(is_built_in(group), "{group}");
        }
        for group in
            ["cert-manager.io", "gateway.networking.k8s.io", "snapshot.storage.k8s.io", "monitoring.coreos.com"]
        {
            assert!(!is_built_in(group), "{group}");
        }
    }
}
