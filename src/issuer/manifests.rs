//! What a cluster needs to sign by itself: the templates of `manifests/`, filled in.
//!
//! # Invariants
//! - What is filled in was checked before: names by Kubernetes' rules, everything else is base64, PEM or JSON. So no value
//!   can change the structure of a manifest.
//! - Only documents that hold a key say so ([`Document::secret`]); they are printed or written like keys.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::Value;

use super::{Error, Home};
use crate::{
    trust::x509::{Authority, ServerName, write_chain},
    yaml,
};

const SECRET: (&str, &str) = ("secret.yaml", include_str!("../../manifests/secret.yaml"));
const CLUSTER_ISSUER: (&str, &str) = ("cluster-issuer.yaml", include_str!("../../manifests/cluster-issuer.yaml"));
const ISSUER: (&str, &str) = ("issuer.yaml", include_str!("../../manifests/issuer.yaml"));
const CONFIG_MAP: (&str, &str) = ("trust-configmap.yaml", include_str!("../../manifests/trust-configmap.yaml"));
const BUNDLE: (&str, &str) = ("trust-bundle.yaml", include_str!("../../manifests/trust-bundle.yaml"));
const REGISTRY: (&str, &str) = ("registry-certificate.yaml", include_str!("../../manifests/registry-certificate.yaml"));

/// How long certificates of the cluster live, in hours: 90 days, renewed when a third is left.
const LEAF_HOURS: i64 = 90 * 24;
/// RFC 1123 names in Kubernetes.
const MAX_NAME: usize = 253;

/// Says what is to be written.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of the ClusterIssuer and its Secret.
    pub name: String,
    /// Where cert-manager looks for the Secrets of ClusterIssuers.
    pub secret_namespace: String,
    /// The name of the trust-manager Bundle, and of the ConfigMaps that it makes.
    pub trust_name: String,
    /// The label of namespaces that get the roots.
    pub trust_label: (String, String),
    /// Issuers in namespaces that the authority stands in for, beside the ClusterIssuers of the folder.
    pub shadows: Vec<Shadow>,
    /// A registry in the cluster that gets a certificate.
    pub registry: Option<Registry>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            name: "enclave-ca".to_owned(),
            secret_namespace: "cert-manager".to_owned(),
            trust_name: "enclave-trust".to_owned(),
            trust_label: ("trust".to_owned(), "enclave".to_owned()),
            shadows: Vec::new(),
            registry: None,
        }
    }
}

/// Names an Issuer of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// Describes a registry in the cluster.
#[derive(Clone, Debug)]
pub struct Registry {
    /// What its clients call it.
    pub names: Vec<ServerName>,
    /// Where it runs.
    pub namespace: String,
    /// The Secret that it reads its certificate from.
    pub secret: String,
}

/// Holds one manifest.
#[derive(Clone, Debug)]
pub struct Document {
    /// A name for its file, in the order in which they are applied.
    pub file: String,
    /// The YAML.
    pub text: String,
    /// The same as a value.
    pub value: Value,
    /// Whether it holds a private key.
    pub secret: bool,
}

impl Document {
    /// Returns the kind.
    pub fn kind(&self) -> &str {
        self.value["kind"].as_str().unwrap_or_default()
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        self.value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns the namespace.
    pub fn namespace(&self) -> Option<&str> {
        self.value.pointer("/metadata/namespace").and_then(Value::as_str)
    }
}

/// Fills in a template. A value of several lines is indented like its first one.
fn fill((file, template): (&'static str, &str), values: &[(&str, &str)]) -> Result<String, Error> {
    let mut out = String::with_capacity(template.len() + values.iter().map(|(_, value)| value.len()).sum::<usize>());
    for line in template.lines() {
        // Comments of a filled-in manifest may name what is filled in, too.
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("${") {
            let broken = |cause: String| Error::Template { file, cause };
            let (name, behind) = after.split_once('}').ok_or_else(|| broken("${ without }".to_owned()))?;
            let (_, value) = values
                .iter()
                .find(|(known, _)| *known == name)
                .ok_or_else(|| broken(format!("nothing is known of {name}")))?;
            out.push_str(before);
            let indent = " ".repeat(line.len() - line.trim_start().len());
            out.push_str(&value.trim_end().replace('\n', &format!("\n{indent}")));
            rest = behind;
        }
        out.push_str(rest);
        out.push('\n');
    }
    Ok(out)
}

fn name(what: &'static str, text: &str) -> Result<(), Error> {
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match text.len() <= MAX_NAME && text.split('.').all(label) {
        true => Ok(()),
        false => Err(Error::KubeName { what, text: text.to_owned() }),
    }
}

fn label_part(text: &str) -> bool {
    text.len() <= 63
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && !text.starts_with(['-', '_', '.'])
        && !text.ends_with(['-', '_', '.'])
}

impl Options {
    fn check(&self, home: &Home) -> Result<(), Error> {
        name("the issuer", &self.name)?;
        name("the namespace of the Secret", &self.secret_namespace)?;
        name("the trust bundle", &self.trust_name)?;
        for replaced in home.replaces() {
            name("the issuer", replaced)?;
        }
        for shadow in &self.shadows {
            name("the namespace", &shadow.namespace)?;
            name("the issuer", &shadow.name)?;
        }
        if let Some(registry) = &self.registry {
            name("the namespace of the registry", &registry.namespace)?;
            name("the Secret of the registry", &registry.secret)?;
        }
        let (key, value) = &self.trust_label;
        let (prefix, key_name) =
            key.split_once('/').map_or((None, key.as_str()), |(prefix, name)| (Some(prefix), name));
        let fits = !key_name.is_empty() && label_part(key_name) && label_part(value);
        if !fits || prefix.is_some_and(|prefix| name("the label", prefix).is_err()) {
            return Err(Error::KubeName { what: "the label", text: format!("{key}={value}") });
        }
        Ok(())
    }
}

/// Writes everything that a cluster needs, in the order in which it is applied. Without the issuing authority opened, the
/// Secrets are left out.
///
/// # Errors
/// [`Error::KubeName`], [`Error::NoIssuing`]; the names of a registry that the authority may not sign; an expired one.
pub fn manifests(
    home: &Home,
    options: &Options,
    issuing: Option<&Authority>,
    now: Timestamp,
) -> Result<Vec<Document>, Error> {
    options.check(home)?;
    let chain = home.issuing_chain()?;
    let authority = &chain[0];
    if authority.not_after() <= now {
        let cause =
            crate::trust::x509::Error::Expired { authority: authority.name().to_owned(), end: authority.not_after() };
        return Err(cause.into());
    }
    let roots = write_chain(&home.roots()?);
    let mut found: Vec<(bool, String)> = Vec::new();
    if let Some(issuing) = issuing {
        let chain = STANDARD.encode(write_chain(&chain));
        let key = zeroize::Zeroizing::new(STANDARD.encode(issuing.key().to_open_pem().as_bytes()));
        let mut namespaces = vec![options.secret_namespace.as_str()];
        for shadow in &options.shadows {
            if !namespaces.contains(&shadow.namespace.as_str()) {
                namespaces.push(&shadow.namespace);
            }
        }
        for namespace in namespaces {
            let values = [
                ("NAME", options.name.as_str()),
                ("SECRET_NAMESPACE", namespace),
                ("CHAIN_BASE64", &chain),
                ("KEY_BASE64", &key),
            ];
            found.push((true, fill(SECRET, &values)?));
        }
    }
    for issuer in std::iter::once(&options.name).chain(home.replaces().iter().filter(|name| **name != options.name)) {
        found.push((false, fill(CLUSTER_ISSUER, &[("NAME", issuer), ("SECRET", &options.name)])?));
    }
    for shadow in &options.shadows {
        let values = [("NAME", shadow.name.as_str()), ("NAMESPACE", &shadow.namespace), ("SECRET", &options.name)];
        found.push((false, fill(ISSUER, &values)?));
    }
    // Another name than the Bundle's, whose ConfigMap may come into the same namespace.
    let roots_name = format!("{}-roots", options.trust_name);
    let values = [("NAME", roots_name.as_str()), ("NAMESPACE", &options.secret_namespace), ("ROOTS_PEM", &roots)];
    found.push((false, fill(CONFIG_MAP, &values)?));
    let values = [
        ("NAME", options.trust_name.as_str()),
        ("ROOTS_PEM", &roots),
        ("LABEL", &options.trust_label.0),
        ("LABEL_VALUE", &options.trust_label.1),
    ];
    found.push((false, fill(BUNDLE, &values)?));
    if let Some(registry) = &options.registry {
        found.push((false, of_registry(registry, options, authority, now)?));
    }
    let mut documents: Vec<Document> = Vec::new();
    for (at, (secret, text)) in found.into_iter().enumerate() {
        let value: Value = yaml::from_text(&text)?;
        let mut document = Document { file: String::new(), text, value, secret };
        let place = document.namespace().map(|namespace| format!("{namespace}-")).unwrap_or_default();
        document.file = format!("{:02}-{}-{place}{}.yaml", at + 1, document.kind().to_lowercase(), document.name());
        documents.push(document);
    }
    Ok(documents)
}

fn of_registry(
    registry: &Registry,
    options: &Options,
    authority: &crate::trust::x509::Certificate,
    now: Timestamp,
) -> Result<String, Error> {
    let refused = authority.scope().map(|scope| (scope.refuse(&registry.names), scope.to_string()));
    if let Some((refused, permitted)) = refused.filter(|(refused, _)| !refused.is_empty()) {
        let authority = authority.name().to_owned();
        return Err(crate::trust::x509::Error::Refused { authority, permitted, refused }.into());
    }
    let of = |wanted: fn(&ServerName) -> bool| -> String {
        let names: Vec<String> = registry.names.iter().filter(|name| wanted(name)).map(ToString::to_string).collect();
        Value::from(names).to_string()
    };
    // cert-manager asks nobody how long the authority lives: a leaf must not outlive it.
    let left = (authority.not_after().as_second() - now.as_second()) / 3600;
    let hours = LEAF_HOURS.min(left).max(1);
    let (duration, renew) = (format!("{hours}h0m0s"), format!("{}h0m0s", hours / 3));
    let dns = of(|name| matches!(name, ServerName::Dns(_)));
    let ips = of(|name| matches!(name, ServerName::Ip(_)));
    fill(
        REGISTRY,
        &[
            ("NAME", &registry.secret),
            ("NAMESPACE", &registry.namespace),
            ("SECRET", &registry.secret),
            ("DURATION", &duration),
            ("RENEW_BEFORE", &renew),
            ("DNS_NAMES", &dns),
            ("IP_ADDRESSES", &ips),
            ("ISSUER", &options.name),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_take_the_indentation_of_their_place_and_unknown_ones_are_errors() {
        let text = fill(("t", "a: |\n  ${X}\nb: ${Y} ${Y}\n"), &[("X", "one\ntwo\n"), ("Y", "z")]).unwrap();
        assert_eq!(text, "a: |\n  one\n  two\nb: z z\n");
        assert!(fill(("t", "${NONE}"), &[]).is_err() && fill(("t", "${X"), &[("X", "")]).is_err());
    }

    #[test]
    fn names_that_could_change_the_structure_are_refused() {
        for bad in ["", "a b", "a:b", "A", "-a", "a..b", "a\nb", "${X}"] {
            assert!(name("x", bad).is_err(), "{bad:?}");
        }
        assert!(name("x", "letsencrypt-prod.v2").is_ok());
        assert!(label_part("enclave") && !label_part("a\"b") && !label_part("-a") && label_part(""));
    }
}
