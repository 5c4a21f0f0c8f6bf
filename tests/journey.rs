//! The whole way through the real binary: spec, lock, archive, registry; stock tools say whether it is true.

pub mod machine;
mod shop;
mod source;

mod compare;
mod corpus;
pub mod helm_in_enclave;
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
mod well_known;
