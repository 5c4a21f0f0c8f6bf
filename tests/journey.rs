//! The whole way through the real binary: spec, lock, archive, registry; stock tools say whether it is true.

mod machine;
mod shop;
mod source;

mod mistakes;
mod signatures;
mod sparse;
mod stock_tools;
