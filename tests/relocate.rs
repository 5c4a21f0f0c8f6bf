//! Manifests, values and kustomizations that name the enclave's registry; helm and kubectl are the judges.

mod corpus;
mod program;
