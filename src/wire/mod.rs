//! What bytes from outside mean: decompression with a cap, and the bodies of each protocol. No policy, no tasks.

pub mod decompress;
pub mod exposition;
pub mod loki_push;
pub mod ndjson;
pub mod protobuf;
pub mod remote_write;
