//! Go's template language: text to tokens, tokens to a tree, the tree and values to text.
//!
//! ```text
//!  source ─ lexer ─→ tokens ─ parser ─→ ast ─ exec (values, functions) ─→ text
//! ```
//!
//! # Invariants
//! - What Go's parser rejects is rejected here, and only that.
//! - Evaluation is bounded and sees nothing outside its arguments.

pub mod ast;
pub mod clock;
pub mod error;
pub mod exec;
mod floats;
pub mod gofmt;
pub mod lexer;
pub mod methods;
pub mod number;
pub mod object;
pub mod parser;
pub mod value;
