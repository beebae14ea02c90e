//! What bytes from outside mean: decompression with a cap, and the bodies of each protocol. No policy, no tasks.

pub mod decompress;
pub mod elastic_bulk;
pub mod exposition;
mod json_text;
pub mod loki_push;
pub mod ndjson;
pub mod otlp_logs;
pub mod otlp_metrics;
pub mod otlp_value;
pub mod prom_chunk;
pub mod protobuf;
pub mod remote_read;
pub mod remote_write;
pub mod remote_write_v2;
pub mod syslog;
