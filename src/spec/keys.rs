//! The keys of the language: one table drives the check for unknown and missing keys, "did you mean" and the JSON schema.

/// Describes one mapping of the language.
pub(super) struct Table {
    /// What it is, for people and for the schema.
    pub(super) about: &'static str,
    /// Its keys, in the order in which people write them.
    pub(super) keys: &'static [Key],
    /// Keys of which exactly one must be there; empty when there is no such choice.
    pub(super) one_of: &'static [&'static str],
}

/// Describes one key.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) required: bool,
    /// The key that this one belongs to; without it, this one makes no sense.
    pub(super) only_with: Option<&'static str>,
    pub(super) about: &'static str,
}

/// Says what a key holds.
pub(super) enum Shape {
    /// Text.
    Text,
    /// Text that looks like a number to YAML more often than not; what was written counts.
    Version,
    /// One of a few words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A list of texts.
    Texts,
    /// A mapping of this language.
    Object(&'static Table),
    /// A list of such mappings.
    Objects(&'static Table),
    /// A list whose items are texts or such mappings.
    TextsOrObjects(&'static Table),
    /// A mapping with free keys whose values are such mappings.
    ByName(&'static Table),
    /// A mapping that this language says nothing about.
    Free,
}

const fn key(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, shape, required: false, only_with: None, about }
}

const fn required(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, shape, required: true, only_with: None, about }
}

const fn only_with(other: &'static str, name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, shape, required: false, only_with: Some(other), about }
}

const fn table(about: &'static str, keys: &'static [Key]) -> Table {
    Table { about, keys, one_of: &[] }
}

/// The value of `apiVersion`.
pub(super) const API_VERSION: &str = "airgap-bundler/v1";
/// The value of `kind`.
pub(super) const KIND: &str = "Bundle";

pub(super) static BUNDLE: Table = table(
    "What a bundle carries, and how it is found",
    &[
        required("apiVersion", Shape::Word(&[API_VERSION]), "The version of this language"),
        required("kind", Shape::Word(&[KIND]), "Always Bundle"),
        required("metadata", Shape::Object(&METADATA), "Name and version of the bundle"),
        key("platforms", Shape::Texts, "Platforms whose images are carried, such as linux/amd64 (the default)"),
        key("kubernetes", Shape::Object(&KUBERNETES), "The cluster that charts see as .Capabilities"),
        key("registries", Shape::ByName(&REGISTRY), "How to reach a source host; nothing here changes an image's name"),
        key("substitutions", Shape::Objects(&SUBSTITUTION), "Sources that died or moved"),
        key("remotes", Shape::ByName(&REMOTE), "What addresses in kustomizations and GitOps objects stand for"),
        key("charts", Shape::Objects(&CHART), "Helm charts"),
        key("manifests", Shape::Objects(&MANIFEST), "Kubernetes manifests"),
        key("images", Shape::TextsOrObjects(&IMAGE), "Images and other OCI artifacts"),
        key("files", Shape::Objects(&FILE), "Plain files"),
        key("discovery", Shape::Object(&DISCOVERY), "What to make of images that are found"),
        key("verify", Shape::Objects(&VERIFY), "Signatures of what is pulled, checked when the bundle is created"),
        key("issuer", Shape::Object(&ISSUER), "The enclave's own certificate authority"),
    ],
);

pub(super) static METADATA: Table = table(
    "Name and version of the bundle",
    &[
        required("name", Shape::Text, "A DNS label: lower-case letters, digits and -"),
        required("version", Shape::Version, "The version of the bundle, usable as a tag"),
        key("description", Shape::Text, "What the bundle is for"),
    ],
);

pub(super) static KUBERNETES: Table = table(
    "The cluster that charts see",
    &[
        key("version", Shape::Version, "The version of Kubernetes, such as 1.33"),
        key("apiVersions", Shape::Texts, "Further API versions that the cluster has, such as monitoring.coreos.com/v1"),
    ],
);

pub(super) static REGISTRY: Table = table(
    "How to reach a source host",
    &[
        key("mirror", Shape::Text, "The registry, optionally with a path, that answers in the host's place"),
        key("ca", Shape::Text, "A file with the certificates that the host's certificate must lead to"),
        key("plainHttp", Shape::Flag, "Whether the host speaks HTTP without TLS"),
    ],
);

pub(super) static SUBSTITUTION: Table = table(
    "A source that died or moved",
    &[
        required(
            "from",
            Shape::Text,
            "The name, or the beginning of a name that ends with /, that is pulled from elsewhere",
        ),
        required("to", Shape::Text, "Where it is pulled from; the inventory keeps the name"),
        key("reason", Shape::Text, "Why"),
    ],
);

pub(super) static REMOTE: Table = Table {
    about: "What an address stands for: that of a base, of a file, or of a whole repository",
    keys: &[
        key("path", Shape::Text, "A file or a folder that stands in for it, relative to the spec"),
        key("sha256", Shape::Text, "The SHA-256 of the file that the address answers"),
        key("commit", Shape::Text, "The commit of the repository that is taken, in full"),
        only_with("commit", "repo", Shape::Text, "Where the repository is reached instead, git+https://…"),
    ],
    one_of: &["path", "sha256", "commit"],
};

pub(super) static CHART: Table = Table {
    about: "A Helm chart",
    keys: &[
        required("name", Shape::Text, "The name of the chart, and of its release"),
        key(
            "repo",
            Shape::Text,
            "A Helm repository (https://), or the chart itself in a registry (oci://) or in git (git+https://)",
        ),
        key("path", Shape::Text, "A folder or a .tgz with the chart, relative to the spec"),
        only_with("repo", "version", Shape::Version, "The version, or a range of versions such as ^1.18"),
        key("namespace", Shape::Text, "The namespace of the release"),
        key("values", Shape::Texts, "Values files, later ones over earlier ones"),
        key("set", Shape::Free, "Values that override those of the files"),
        key("variants", Shape::Objects(&VARIANT), "Further sets of values; the images are the union over all"),
    ],
    one_of: &["repo", "path"],
};

pub(super) static VARIANT: Table = table(
    "A further set of values",
    &[
        key("values", Shape::Texts, "Values files on top of the chart's"),
        key("set", Shape::Free, "Values on top of the chart's"),
    ],
);

pub(super) static MANIFEST: Table = Table {
    about: "Kubernetes manifests",
    keys: &[
        key("path", Shape::Text, "A file, or a folder with all that is below it, relative to the spec"),
        key("kustomize", Shape::Text, "A folder with a kustomization, relative to the spec"),
        key("url", Shape::Text, "An address"),
        only_with("url", "sha256", Shape::Text, "The SHA-256 of what the address answers"),
    ],
    one_of: &["path", "kustomize", "url"],
};

pub(super) static IMAGE: Table = table(
    "An image or another OCI artifact",
    &[
        required("image", Shape::Text, "The reference, with a tag, a digest or both"),
        key(
            "archive",
            Shape::Text,
            "A docker-save or OCI archive, or a folder with an OCI layout, that holds the image",
        ),
    ],
);

pub(super) static FILE: Table = Table {
    about: "A file, or a folder of files",
    keys: &[
        key("path", Shape::Text, "A file or a folder, relative to the spec"),
        key("url", Shape::Text, "An address"),
        only_with("url", "sha256", Shape::Text, "The SHA-256 of what the address answers"),
        key("name", Shape::Text, "The name in the bundle; the last part of path or url when it is not there"),
        key("maxAge", Shape::Text, "How old the file may be when the bundle is loaded, such as 7d"),
    ],
    one_of: &["path", "url"],
};

pub(super) static DISCOVERY: Table = table(
    "What to make of images that are found",
    &[
        key("guesses", Shape::Word(&["fail", "include", "ignore"]), "What happens to findings that are guesses"),
        key(
            "optional",
            Shape::Word(&["list", "include", "ignore"]),
            "What happens to images that only other values of a chart bring",
        ),
        key("accept", Shape::Objects(&SELECTION), "Guesses that are right, and optional images that are wanted"),
        key("ignore", Shape::Objects(&IGNORED), "Findings that do not count, and GitOps objects that are not followed"),
        key("rules", Shape::Objects(&RULE), "Fields of custom resources that name images"),
    ],
);

pub(super) static SELECTION: Table = table(
    "Images, by pattern",
    &[
        required("image", Shape::Text, "A full reference in which * stands for any characters"),
        key("reason", Shape::Text, "Why"),
    ],
);

pub(super) static IGNORED: Table = Table {
    about: "What does not count, by pattern",
    keys: &[
        key("image", Shape::Text, "A full reference in which * stands for any characters"),
        key(
            "object",
            Shape::Text,
            "An object of a GitOps tool that is not followed, as messages name it; * stands for any characters",
        ),
        key("reason", Shape::Text, "Why"),
    ],
    one_of: &["image", "object"],
};

pub(super) static RULE: Table = table(
    "Fields of a custom resource that name images",
    &[
        required("group", Shape::Text, "The API group"),
        required("kind", Shape::Text, "The kind"),
        required("paths", Shape::Texts, "Paths of fields, such as spec.sidecars[].image"),
    ],
);

pub(super) static VERIFY: Table = table(
    "A signature that images must have",
    &[
        required("images", Shape::Text, "A full reference in which * stands for any characters"),
        required("key", Shape::Text, "A file with the public key"),
    ],
);

pub(super) static ISSUER: Table = table(
    "The enclave's own certificate authority",
    &[
        required("organization", Shape::Text, "The organization in the certificates"),
        key("domains", Shape::Texts, "The domains that certificates may name"),
        key("ipRanges", Shape::Texts, "The ranges of addresses that certificates may name, such as 10.0.0.0/8"),
        key("replaces", Shape::Texts, "Names of issuers that the internal authority stands in for"),
    ],
);
