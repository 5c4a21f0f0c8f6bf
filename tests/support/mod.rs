//! Fixtures for the capability tests.

pub mod faulty;
pub mod memory;
pub mod pull;
pub mod stock;
