//! The two kinds of errors of the API.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiError {
    /// The request has the wrong form: `{"code", "message"}`.
    Form {
        /// HTTP status.
        status: u16,
        /// Code of the OpenAPI runtime: 601 wrong type, 602 missing, 612 too few.
        code: u16,
        /// What is wrong.
        message: String,
    },
    /// The request has the right form and makes no sense: a bare JSON string.
    Meaning {
        /// HTTP status.
        status: u16,
        /// What is wrong.
        message: String,
    },
    /// Nothing there, nothing to say.
    Missing,
}

impl ApiError {
    /// An error of form.
    pub fn form(status: u16, code: u16, message: impl Into<String>) -> Self {
        ApiError::Form { status, code, message: message.into() }
    }

    /// A required field is missing.
    pub fn required(field: impl std::fmt::Display) -> Self {
        Self::form(422, 602, format!("{field} in body is required"))
    }

    /// An error of meaning.
    pub fn meaning(status: u16, message: impl Into<String>) -> Self {
        ApiError::Meaning { status, message: message.into() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = |s: u16| StatusCode::from_u16(s).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        match self {
            ApiError::Form { status: s, code, message } => {
                (status(s), Json(json!({ "code": code, "message": message }))).into_response()
            }
            ApiError::Meaning { status: s, message } => (status(s), Json(message)).into_response(),
            ApiError::Missing => StatusCode::NOT_FOUND.into_response(),
        }
    }
}
