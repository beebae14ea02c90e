//! What went over the wire in one attempt, for people who test a receiver. Secrets are masked.

use std::sync::{Mutex, PoisonError};

use crate::config::secret::MASK;

/// How much of a body is shown.
const SHOWN_BYTES: usize = 16 * 1024;

/// Lines of the exchange in order: `> ` what was sent, `< ` what came back, `* ` what happened besides.
#[derive(Debug, Default)]
pub struct Exchange(Mutex<Vec<String>>);

impl Exchange {
    /// Notes a text, line by line, with what is secret taken out.
    pub fn note(&self, mark: char, text: &str, secrets: &[String]) {
        let mut text = text.to_owned();
        // A secret of a few characters would be found everywhere and hide what it should not.
        for secret in secrets.iter().filter(|s| s.len() >= 4) {
            text = text.replace(secret.as_str(), MASK);
        }
        let cut = text.floor_char_boundary(SHOWN_BYTES);
        let more = text.len() - cut;
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.extend(text.get(..cut).unwrap_or_default().lines().map(|l| format!("{mark} {l}")));
        if more > 0 {
            lines.push(format!("* {more} further bytes are not shown"));
        }
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
