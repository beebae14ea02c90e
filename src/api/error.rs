//! Errors of the Prometheus API: one table of types, statuses and the JSON envelope.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::not_now::{SOON_SECONDS, come_back};

/// The error types of Prometheus' HTTP API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A parameter is missing or cannot be read: 400.
    BadData,
    /// The query failed while it ran: 422.
    Execution,
    /// The query took too long: 503.
    Timeout,
    /// The client went away: 499.
    Canceled,
    /// No such thing: 404.
    NotFound,
    /// Not ready yet, or too busy: 503, and to be asked again soon.
    Unavailable,
    /// Switched off: 503.
    Disabled,
    /// Our fault: 500.
    Internal,
}

impl ErrorKind {
    /// The word in `errorType`.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::BadData => "bad_data",
            ErrorKind::Execution => "execution",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Canceled => "canceled",
            ErrorKind::NotFound => "not_found",
            ErrorKind::Unavailable | ErrorKind::Disabled => "unavailable",
            ErrorKind::Internal => "internal",
        }
    }

    /// The HTTP status. Grafana reads the envelope of 400, 422 and 503 only.
    pub fn status(self) -> StatusCode {
        match self {
            ErrorKind::BadData => StatusCode::BAD_REQUEST,
            ErrorKind::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::Disabled => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Canceled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// An error of the Prometheus API. It carries no `data` key: Grafana reads `"data": null` as a broken answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// See [`ErrorKind`].
    pub kind: ErrorKind,
    /// What is wrong.
    pub message: String,
}

impl ApiError {
    /// An error of any kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        ApiError { kind, message: message.into() }
    }

    /// A 400.
    pub fn bad_data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadData, message)
    }

    /// A 500.
    pub fn internal(message: impl ToString) -> Self {
        Self::new(ErrorKind::Internal, message.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body =
            serde_json::json!({"status": "error", "errorType": self.kind.as_str(), "error": self.message}).to_string();
        let response = (self.kind.status(), [(header::CONTENT_TYPE, "application/json")], body).into_response();
        if self.kind == ErrorKind::Unavailable { come_back(SOON_SECONDS, response) } else { response }
    }
}

/// A plain-text error, as Loki's API answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    /// The HTTP status.
    pub status: StatusCode,
    /// What is wrong.
    pub message: String,
}

impl TextError {
    /// An error with any status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        TextError { status, message: message.into() }
    }

    /// A 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

impl IntoResponse for TextError {
    fn into_response(self) -> Response {
        let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        come_back(SOON_SECONDS, (self.status, headers, self.message).into_response())
    }
}
