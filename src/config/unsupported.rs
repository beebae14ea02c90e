//! Keys that campanile knows of and does not support: an error with a line, never silence.

use serde::{Deserialize, Deserializer, de};

/// The type of a struct's field that is known from other programs and not supported yet; setting it is an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsupported;

impl<'de> Deserialize<'de> for Unsupported {
    fn deserialize<D: Deserializer<'de>>(_d: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("is known but not supported by campanile yet; remove it"))
    }
}
