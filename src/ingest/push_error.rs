//! What senders of logs are told when not everything was taken.

use crate::logs::{self, Pushed};
use crate::wire::decompress::DecompressError;
use crate::wire::loki_push::PushDecodeError;
use crate::wire::otlp_logs::OtlpError;

/// Why a request was refused, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PushError {
    /// The HTTP status.
    pub status: u16,
    /// The body, as plain text.
    pub message: String,
    /// For 429 and 503, after how many seconds to try again.
    pub retry_after_seconds: Option<u32>,
}

impl PushError {
    /// A 400.
    pub fn bad_request(message: impl ToString) -> Self {
        PushError { status: 400, message: message.to_string(), retry_after_seconds: None }
    }

    /// A 429: the same request will be taken later.
    pub fn too_many(message: impl ToString, retry_after_seconds: u32) -> Self {
        PushError { status: 429, message: message.to_string(), retry_after_seconds: Some(retry_after_seconds) }
    }

    /// A 413.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("body is larger than {limit} bytes; send smaller batches");
        PushError { status: 413, message, retry_after_seconds: None }
    }

    /// Entries refused by the store, the others being taken: 400 with the reasons, as Loki does.
    pub(super) fn of_refusals(pushed: &Pushed) -> Option<Self> {
        refusals(pushed).map(PushError::bad_request)
    }
}

/// The reasons of a push in words; `None` if nothing was refused.
pub(super) fn refusals(pushed: &Pushed) -> Option<String> {
    if pushed.refused.is_empty() && pushed.refused_entries == 0 {
        return None;
    }
    let mut message = pushed.refused.join("\n");
    let told = pushed.refused.len() as u64;
    if pushed.refused_entries > told {
        message.push_str(&format!("\n{} entries refused in all", pushed.refused_entries));
    }
    Some(message)
}

impl From<DecompressError> for PushError {
    fn from(e: DecompressError) -> Self {
        let status = match e {
            DecompressError::TooLarge { .. } => 413,
            DecompressError::Corrupt { .. } | DecompressError::Unsupported(_) => 400,
        };
        PushError { status, message: e.to_string(), retry_after_seconds: None }
    }
}

impl From<PushDecodeError> for PushError {
    fn from(e: PushDecodeError) -> Self {
        PushError::bad_request(e)
    }
}

impl From<OtlpError> for PushError {
    fn from(e: OtlpError) -> Self {
        PushError::bad_request(e)
    }
}

impl From<logs::Error> for PushError {
    fn from(e: logs::Error) -> Self {
        let (status, retry_after_seconds) = match e {
            logs::Error::Busy { .. } => (429, Some(5)),
            logs::Error::BatchTooLarge { .. } => (413, None),
            // The disk is full or failing: clients that keep their lines send them again.
            logs::Error::Io { .. } | logs::Error::NoSpace(_) | logs::Error::Index { .. } | logs::Error::Closed => {
                (503, Some(10))
            }
            logs::Error::Damaged { .. } => (500, None),
        };
        PushError { status, message: e.to_string(), retry_after_seconds }
    }
}
