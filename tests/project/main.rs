//! What holds for the project as a whole: the direction of imports, the shipped files, the messages about bad configurations.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod architecture;
mod assets;
mod bad_config;
