//! The host names by which people and programs outside a cluster reach what objects describe.
//!
//! | objects | where |
//! |---|---|
//! | Ingress | rules, TLS; annotations of external-dns and of further names |
//! | Gateway, ListenerSet, HTTPRoute, GRPCRoute, TLSRoute | listeners, host names |
//! | Traefik's IngressRoute, IngressRouteTCP | `Host(…)` and `HostSNI(…)` of rules, TLS domains |
//! | cert-manager's Certificate | DNS names |
//! | Istio's Gateway and VirtualService, Contour's HTTPProxy, OpenShift's Route | hosts |
//!
//! # Invariants
//! - Only full names count: with a dot, of letters, digits and hyphens, a `*` at most as their first label. What exists only
//!   inside a cluster (`….svc`, `….cluster.local`) does not.

use std::collections::BTreeSet;

use super::Object;
use crate::yaml::Node;

/// Annotations that hold host names, separated by commas or spaces.
const ANNOTATIONS: &[&str] = &[
    "external-dns.alpha.kubernetes.io/hostname",
    "nginx.ingress.kubernetes.io/server-alias",
    "haproxy.org/server-alias",
];

/// Returns the host names of an object, sorted.
pub fn hosts(object: &Object) -> BTreeSet<String> {
    let mut found = Found::default();
    let node = &object.node;
    if let Some(annotations) = node.at_path(["metadata", "annotations"]) {
        for text in ANNOTATIONS.iter().filter_map(|name| annotations.get(name)?.as_str()) {
            text.split([',', ' ']).for_each(|name| found.name(name));
        }
    }
    let Some(spec) = node.get("spec") else { return found.names };
    match (object.group(), object.kind.as_str()) {
        ("networking.k8s.io" | "extensions", "Ingress") => {
            found.each(spec, "rules", |found, rule| found.text(rule.get("host")));
            found.each(spec, "tls", |found, tls| found.list(tls.get("hosts")));
        }
        ("gateway.networking.k8s.io" | "gateway.networking.x-k8s.io", _) => {
            found.each(spec, "listeners", |found, listener| found.text(listener.get("hostname")));
            found.list(spec.get("hostnames"));
        }
        ("traefik.io" | "traefik.containo.us", "IngressRoute" | "IngressRouteTCP") => {
            found.each(spec, "routes", |found, route| {
                if let Some(rule) = route.get("match").and_then(Node::as_str) {
                    found.rule(rule);
                }
            });
            if let Some(tls) = spec.get("tls") {
                found.each(tls, "domains", |found, domain| {
                    found.text(domain.get("main"));
                    found.list(domain.get("sans"));
                });
            }
        }
        ("cert-manager.io", "Certificate") => {
            found.list(spec.get("dnsNames"));
            found.text(spec.get("commonName"));
        }
        ("networking.istio.io", "Gateway") => found.each(spec, "servers", |found, server| {
            for host in server.get("hosts").and_then(Node::as_seq).unwrap_or_default() {
                // `namespace/host` says for whom; the host is behind it.
                let host = host.as_str().unwrap_or_default();
                found.name(host.rsplit('/').next().unwrap_or(host));
            }
        }),
        ("networking.istio.io", "VirtualService") => found.list(spec.get("hosts")),
        ("projectcontour.io", "HTTPProxy") => found.text(spec.at_path(["virtualhost", "fqdn"])),
        ("route.openshift.io", "Route") => found.text(spec.get("host")),
        _ => {}
    }
    found.names
}

#[derive(Default)]
struct Found {
    names: BTreeSet<String>,
}

impl Found {
    fn each(&mut self, node: &Node, field: &str, mut take: impl FnMut(&mut Self, &Node)) {
        for item in node.get(field).and_then(Node::as_seq).unwrap_or_default() {
            take(self, item);
        }
    }

    fn text(&mut self, node: Option<&Node>) {
        if let Some(text) = node.and_then(Node::as_str) {
            self.name(text);
        }
    }

    fn list(&mut self, node: Option<&Node>) {
        for item in node.and_then(Node::as_seq).unwrap_or_default() {
            self.text(Some(item));
        }
    }

    /// Takes the names out of a rule such as ``Host(`a.example`, `b.example`) && PathPrefix(`/`)``.
    fn rule(&mut self, rule: &str) {
        for function in ["Host(", "HostSNI("] {
            for (at, _) in rule.match_indices(function) {
                let before = rule[..at].bytes().next_back();
                if before.is_some_and(|byte| byte.is_ascii_alphanumeric()) {
                    continue;
                }
                let arguments = rule[at + function.len()..].split(')').next().unwrap_or_default();
                arguments.split(',').for_each(|name| self.name(name.trim().trim_matches(['`', '"', '\''])));
            }
        }
    }

    fn name(&mut self, text: &str) {
        let text = text.trim().trim_end_matches('.').to_ascii_lowercase();
        if is_full_name(&text) && !is_inside(&text) {
            self.names.insert(text);
        }
    }
}

/// Tells whether a text is a name with at least two labels (RFC 1123, section 2.1), perhaps with `*` as its first.
pub fn is_full_name(text: &str) -> bool {
    let rest = text.strip_prefix("*.").unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_address = rest.parse::<std::net::Ipv4Addr>().is_ok();
    text.len() <= 253 && rest.contains('.') && rest.split('.').all(label) && !is_address
}

fn is_inside(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    last == "svc" || name.ends_with(".cluster.local") || name.ends_with(".svc.local")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::object::objects;

    fn of(text: &str) -> Vec<String> {
        objects("a.yaml", text).unwrap().iter().flat_map(hosts).collect()
    }

    #[test]
    fn every_kind_is_read() {
        let ingress = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a, annotations: {nginx.ingress.kubernetes.io/server-alias: 'w.example.org, v.example.org'}}\nspec:\n  rules: [{host: A.Example.org}, {http: {}}]\n  tls: [{hosts: [b.example.org, '*.c.example.org', short]}]\n";
        assert_eq!(
            of(ingress),
            ["*.c.example.org", "a.example.org", "b.example.org", "v.example.org", "w.example.org"]
        );
        let route = "apiVersion: traefik.io/v1alpha1\nkind: IngressRoute\nmetadata: {name: a}\nspec:\n  routes:\n    - match: (Host(`a.example.org`) || Host(`b.example.org`, `c.example.org`)) && !PathPrefix(`/x`)\n    - match: NoHost(`d.example.org`)\n  tls: {domains: [{main: e.example.org, sans: [f.example.org]}]}\n";
        assert_eq!(of(route), ["a.example.org", "b.example.org", "c.example.org", "e.example.org", "f.example.org"]);
        let gateway = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: a}\nspec: {listeners: [{hostname: '*.example.org'}]}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a}\nspec: {hostnames: [h.example.org]}\n";
        assert_eq!(of(gateway), ["*.example.org", "h.example.org"]);
        let more = "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: a}\nspec: {commonName: A person, dnsNames: [r.ns.svc, r.ns.svc.cluster.local, r.example.org]}\n---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: a}\nspec: {servers: [{hosts: ['ns/i.example.org', '*']}]}\n---\napiVersion: route.openshift.io/v1\nkind: Route\nmetadata: {name: a}\nspec: {host: o.example.org}\n";
        assert_eq!(of(more), ["r.example.org", "i.example.org", "o.example.org"]);
    }

    #[test]
    fn what_is_no_name_is_none() {
        for bad in ["", ".", "a", "*", "*.", "a..b", "-a.b", "a_b.c", "10.0.0.1", "a.*.b", "A.b"] {
            assert!(!is_full_name(bad), "{bad}");
        }
    }
}
