//! Fixtures. A registry for tests starts in `registry.rs` and nowhere else.
#![allow(dead_code, reason = "each capability uses its part")]

pub mod apiserver;
pub mod certificates;
pub mod charts;
pub mod faults;
pub mod faulty;
pub mod images;
pub mod memory;
pub mod pull;
pub mod referees;
pub mod registry;
pub mod repository;
pub mod stock;
pub mod tokens;
pub mod wire;
