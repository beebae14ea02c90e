//! The configuration: plain structs, how they are loaded, and what is wrong with them.

pub mod bytesize;
pub mod duration;
pub mod error;
pub mod global;
pub mod http_client;
pub mod relabel;
pub mod scrape;
pub mod secret;

pub use bytesize::ByteSize;
pub use duration::ConfigDuration;
pub use error::{Problem, Problems};
pub use secret::Secret;
