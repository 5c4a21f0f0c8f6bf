//! The whole way through the real binary: spec, lock, archive, registry; stock tools say whether it is true.

mod machine;
mod source;

mod stock_tools;
