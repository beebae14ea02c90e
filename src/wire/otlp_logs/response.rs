//! What senders are told: `ExportLogsServiceResponse`, and `google.rpc.Status` for requests that failed as a whole.

use serde_json::json;

use crate::wire::protobuf::{put_field_bytes, put_field_varint};

/// Records that were not taken, the others being stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// How many.
    pub records: u64,
    /// Why.
    pub message: String,
}

/// A failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The code of gRPC, such as 3 for a request that cannot be read.
    pub code: u32,
    /// What is wrong.
    pub message: String,
    /// After how many seconds to try again, for failures that pass.
    pub retry_after_seconds: Option<u32>,
}

/// The answer to a request whose records were taken, but for `refused`, as protobuf: (1) partial success of (1) refused records,
/// (2) message.
pub fn response_protobuf(refused: Option<&Refused>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(r) = refused {
        let mut partial = Vec::new();
        put_field_varint(&mut partial, 1, r.records);
        put_field_bytes(&mut partial, 2, r.message.as_bytes());
        put_field_bytes(&mut out, 1, &partial);
    }
    out
}

/// The same as JSON.
pub fn response_json(refused: Option<&Refused>) -> String {
    match refused {
        None => "{}".to_owned(),
        Some(r) => json!({"partialSuccess": {"rejectedLogRecords": r.records.to_string(), "errorMessage": r.message}})
            .to_string(),
    }
}

/// A status as protobuf: (1) code, (2) message, (3) details: a `google.rpc.RetryInfo` where trying again may help.
pub fn status_protobuf(status: &Status) -> Vec<u8> {
    let mut out = Vec::new();
    put_field_varint(&mut out, 1, u64::from(status.code));
    put_field_bytes(&mut out, 2, status.message.as_bytes());
    if let Some(seconds) = status.retry_after_seconds {
        // Any: (1) type, (2) value; RetryInfo: (1) Duration: (1) seconds.
        let (mut duration, mut info, mut any) = (Vec::new(), Vec::new(), Vec::new());
        put_field_varint(&mut duration, 1, u64::from(seconds));
        put_field_bytes(&mut info, 1, &duration);
        put_field_bytes(&mut any, 1, b"type.googleapis.com/google.rpc.RetryInfo");
        put_field_bytes(&mut any, 2, &info);
        put_field_bytes(&mut out, 3, &any);
    }
    out
}

/// A status as JSON.
pub fn status_json(status: &Status) -> String {
    json!({"code": status.code, "message": status.message}).to_string()
}
