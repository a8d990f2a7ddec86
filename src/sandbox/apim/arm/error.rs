//! Errors as Azure Resource Manager and API Management write them.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::sandbox::apim::TENANT_ID;

/// An answer that says no: `{"error":{"code","message","details"}}`.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct ArmError {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// The member of the request that is wrong, where one is to blame.
    field: Option<&'static str>,
}

/// What every operation answers.
pub(super) type Answer = Result<Response, ArmError>;

impl ArmError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            field: None,
        }
    }

    /// 404; `kind` is what was looked for, such as `User`.
    pub(super) fn not_found(kind: &str) -> Self {
        let message = format!("{kind} not found.");
        Self::new(StatusCode::NOT_FOUND, "ResourceNotFound", message)
    }

    /// 400 about the request as a whole: `details` is null.
    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ValidationError", message)
    }

    /// 400 about one member of the request, which `details` names.
    pub(super) fn field(field: &'static str, message: impl Into<String>) -> Self {
        Self {
            field: Some(field),
            ..Self::validation(message)
        }
    }

    /// 401; the answer carries the challenge that clients look for.
    pub(super) fn unauthorized(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, message)
    }

    fn body(&self) -> Value {
        let (message, details) = match self.field {
            None => (self.message.as_str(), Value::Null),
            Some(field) => (
                "One or more fields contain incorrect values:",
                json!([{ "code": self.code, "target": field, "message": self.message }]),
            ),
        };
        json!({ "error": { "code": self.code, "message": message, "details": details } })
    }
}

impl IntoResponse for ArmError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = format!(
                "Bearer authorization_uri=\"https://login.microsoftonline.com/{TENANT_ID}\", \
                 error=\"invalid_token\", error_description=\"{}\"",
                self.message
            );
            if let Ok(challenge) = HeaderValue::from_str(&challenge) {
                let headers = response.headers_mut();
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
        }
        response
    }
}
