//! What bytes mean: formats other programs speak, read without policy and without tasks.

pub mod exposition;
pub mod remote_write;
