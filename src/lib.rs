//! `bundle`: resolve, pin, sign, carry and load everything that a Kubernetes deployment needs, without internet on the
//! other side.
//!
//! ```text
//!  bundle.yaml ─parse→ Spec ─resolve→ Lock ─fetch→ Archive ═(sneakernet)═ Archive ─load→ registry (+ receipt)
//!                             │             │                       └─serve→ OCI registry over HTTP
//!                      kube · discover  store · registry
//!                    (pure, no network) (every byte verified)
//! ```
//!
//! A module imports only modules above its own line; modules on one line of verbs never import each other. A test reads
//! this folder and fails on an upward import.
//!
//! | layer | module | owns |
//! |---|---|---|
//! | words | [`error`] | kinds of failure, exit codes, diagnostics |
//! | words | [`tree`] | paths that cannot escape, files in memory |
//! | words | [`yaml`] | YAML and JSON documents with the place of every value |
//! | words | [`oci`] | digests, references, descriptors, views of manifests |
//! | words | [`event`] | what the library tells while it works |
//! | nouns | [`spec`] | what a person writes: the bundle spec, its model and its JSON schema |
//! | nouns | [`helm`] | charts as helm renders them: values, templates, functions, hooks |
//! | nouns | [`kube`] | Kubernetes objects and where they stand |
//! | nouns | [`trust`] | keys, signatures, policies, freshness |
//! | nouns | [`discover`] | from objects to findings: images and the reasons for them |
//! | nouns | [`names`] | names in the enclave: from a source reference to where it lies inside |
//! | nouns | [`lock`] | `bundle.lock`: what a spec resolved to, with every reason |
//! | nouns | [`peers`] | lists of other tools (zarf, oc-mirror, hauler, by hand), and specs made from them |
//! | places | [`files`] | the disk: limits, atomic writes, positional files, foreign tars |
//! | places | [`net`] | the HTTP client: trust, queues, retries, redirects |
//! | places | [`store`] | sources, sinks, walking and copying content |
//! | places | [`registry`] | one repository of a registry as source and sink |
//! | places | [`cluster`] | the Kubernetes API: what runs there, server-side apply |
//! | format | [`archive`] | the bundle file: layout, writer, reader |
//! | verbs | [`resolve`] | spec → lock: read inputs, find images, pin |
//! | verbs | [`fetch`] | lock → archive: plan, pull, sign |
//! | verbs | [`load`] | archive → registry: admit, rename, push, receipt |
//! | verbs | [`audit`] | what changed, and what a list misses: reports |
//! | verbs | [`preflight`] | is the enclave ready: everything that can be known before |
//! | verbs | [`serve`] | an OCI registry over any source, or over a directory |
//! | verbs | [`relocate`] | manifests, values and kustomizations that name the enclave's registry |
//! | verbs | [`export`] | archive → configuration of the enclave's machines: mirrors, trust, policies, names |
//! | verbs | [`issuer`] | the enclave's own certificate authority: keys, certificates, manifests, rotation |
//! | face | [`cli`] | flags, tables, progress, errors as text, exit codes |
#![forbid(unsafe_code)]

pub mod error;

pub mod tree;

pub mod yaml;

pub mod oci;

pub mod event;

pub mod helm;

pub mod kube;

pub mod trust;

pub mod discover;

pub mod spec;

pub mod names;

pub mod peers;

pub mod lock;

pub mod files;

pub mod net;

pub mod store;

pub mod registry;

pub mod cluster;

pub mod archive;

pub mod resolve;

pub mod fetch;

pub mod load;

pub mod audit;
pub mod preflight;

pub mod serve;

pub mod relocate;

pub mod export;
pub mod issuer;

pub mod cli;
