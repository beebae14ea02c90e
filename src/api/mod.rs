//! Protocols in, bytes out: one folder for each API.

pub mod alertmanager;
