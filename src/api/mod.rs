//! The HTTP edge: protocols in, bytes out.

pub mod error;
pub mod params;
