//! What others send: remote write and, beside it, the other push protocols. Each file decodes one protocol and appends to a store.

pub mod remote_write;
