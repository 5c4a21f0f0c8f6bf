//! The whole way through the real binary: spec, lock, archive, registry; stock tools say whether it is true.

mod machine;
mod shop;
mod source;

mod compare;
mod corpus;
mod enclave_nodes;
mod helm_in_enclave;
mod helm_repository;
mod mistakes;
mod moving;
mod names;
mod reasons;
mod rollback;
mod signatures;
mod sparse;
mod stock_tools;
mod terminal;
mod upstream;
