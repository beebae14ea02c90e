//! The configuration: plain structs, how they are loaded, and what is wrong with them.

pub mod bytesize;
pub mod duration;
pub mod env;
pub mod error;
pub mod secret;
pub mod tree;
pub mod unsupported;
pub mod yaml;

pub use bytesize::ByteSize;
pub use duration::ConfigDuration;
pub use error::{Problem, Problems};
pub use secret::Secret;
pub use tree::{Expand, Tree, decode};
pub use unsupported::Unsupported;
