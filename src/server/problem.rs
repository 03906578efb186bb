//! What a request is answered where it fails: the status, and the body in which OpenAI's clients look for the reason.

use super::answer::{Answer, json};
use crate::error::Error;
use axum::http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

/// A failed request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// OpenAI's `type`: whose fault it is.
    kind: &'static str,
    /// For programs.
    pub(super) code: Option<&'static str>,
    /// The field of the request that is wrong.
    pub(super) param: Option<String>,
    pub(super) message: String,
    /// Seconds after which to try again.
    retry_after: Option<u16>,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, code: None, param: None, message: message.into(), retry_after: None }
    }

    fn with_code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// A field of the request is wrong.
    pub(super) fn field(param: impl Into<String>, what: impl AsRef<str>) -> Self {
        let param = param.into();
        let message = format!("{param}: {}", what.as_ref());
        let problem = Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message);
        Self { param: Some(param), ..problem }
    }

    /// The body is no JSON object.
    pub(super) fn body(what: impl AsRef<str>) -> Self {
        let message = format!("the body must be a JSON object: {}", what.as_ref());
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message).with_code("invalid_json")
    }

    /// The body is longer than allowed.
    pub(super) fn too_large(most: usize) -> Self {
        let message = format!("the body is longer than {most} bytes, which server.max_body_bytes allows");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", message).with_code("body_too_large")
    }

    /// The body did not come in time.
    pub(super) fn too_slow(seconds: f64) -> Self {
        let message = format!("the body did not arrive within {seconds} s");
        Self::new(StatusCode::REQUEST_TIMEOUT, "invalid_request_error", message).with_code("body_timeout")
    }

    /// No key, or one that is not in the file.
    pub(super) fn key(given: bool) -> Self {
        let message = match given {
            true => "the API key is not valid",
            false => "an API key is needed: send it as `Authorization: Bearer KEY`",
        };
        Self::new(StatusCode::UNAUTHORIZED, "invalid_request_error", message).with_code("invalid_api_key")
    }

    /// A page of another site asks, and was not named.
    pub(super) fn origin(origin: &str) -> Self {
        let message = format!("pages of {origin} may not use this server: name it in server.cors_origins");
        Self::new(StatusCode::FORBIDDEN, "invalid_request_error", message).with_code("origin_not_allowed")
    }

    /// A server on loopback was asked under a name that is not loopback's.
    pub(super) fn host(host: &str) -> Self {
        let message = format!(
            "this server listens on loopback and does not answer for the host {host:?}: ask localhost or 127.0.0.1"
        );
        Self::new(StatusCode::MISDIRECTED_REQUEST, "invalid_request_error", message).with_code("wrong_host")
    }

    /// There is nothing at this path.
    pub(super) fn no_path(method: &str, path: &str) -> Self {
        let message = format!("there is no {method} {path}");
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", message).with_code("unknown_url")
    }

    /// The path knows other methods.
    pub(super) fn method(method: &str, path: &str) -> Self {
        let message = format!("{path} does not take {method}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", message)
            .with_code("method_not_allowed")
    }

    /// No model of this name.
    pub(super) fn no_model(name: &str, known: &[String]) -> Self {
        let known = known.join(", ");
        let message = format!("model: there is no model {name:?}; this server has: {known}");
        let problem = Self::new(StatusCode::NOT_FOUND, "invalid_request_error", message);
        Self { param: Some("model".into()), ..problem }.with_code("model_not_found")
    }

    /// The server starts, or ends.
    pub(super) fn unavailable(message: &str, code: &'static str) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", message).with_code(code);
        Self { retry_after: Some(1), ..problem }
    }

    /// Something failed here that the request is not to blame for.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message).with_code("internal_error")
    }

    /// The model could not be loaded for the request: where memory was short, there is none for the model itself.
    pub(super) fn of_loading(mut self) -> Self {
        if self.code == Some("out_of_memory") {
            self.code = Some("model_does_not_fit");
        }
        self
    }

    /// Names the field where the engine only knows that the context is too small.
    pub(super) fn in_field(mut self, param: &str) -> Self {
        if self.code == Some("context_length_exceeded") {
            self.message = format!("{param}: {}", self.message);
            self.param = Some(param.to_owned());
        }
        self
    }

    /// OpenAI's body.
    pub(super) fn body_json(&self) -> Value {
        json!({"error": {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
        }})
    }

    /// The answer.
    pub(super) fn into_answer(self) -> Answer {
        let mut answer = json(self.status, &self.body_json());
        let headers = answer.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // for the log and the metrics
        answer.extensions_mut().insert(self);
        answer
    }
}

impl axum::response::IntoResponse for Problem {
    fn into_response(self) -> Answer {
        self.into_answer()
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::InvalidRequest { field, what } => Self::field(field, what),
            Error::ContextOverflow { .. } => {
                Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", text)
                    .with_code("context_length_exceeded")
            }
            Error::Template { .. } => Self::field("messages", text),
            Error::UnknownModel { name, known } => Self::no_model(&name, &known),
            Error::DeadlineExceeded { .. } => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, "server_error", text).with_code("timeout")
            }
            Error::QueueFull { .. } => {
                let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", text);
                Self { retry_after: Some(1), ..problem }.with_code("queue_full")
            }
            Error::OutOfMemory { .. } => Self::unavailable(&text, "out_of_memory"),
            Error::Cancelled => Self::unavailable(&text, "cancelled"),
            Error::ShutDown => Self::unavailable("the model was unloaded", "model_unloaded"),
            Error::LoadCancelled => Self::unavailable(&text, "model_unloaded"),
            Error::Io { .. } | Error::InvalidGguf { .. } | Error::UnsupportedModel { .. } => {
                Self::internal(text).with_code("model_load_failed")
            }
            Error::DeviceWrong { .. } => Self::internal(text).with_code("device_wrong"),
            Error::ModelLoadFailed { .. } => Self::internal(text).with_code("model_load_failed"),
            _ => Self::internal(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_openais() {
        let problem = Problem::field("top_p", "2 is too much");
        assert_eq!(problem.status, StatusCode::BAD_REQUEST);
        assert_eq!(
            problem.body_json(),
            json!({"error": {"message": "top_p: 2 is too much", "type": "invalid_request_error", "param": "top_p",
                "code": null}})
        );
    }

    #[test]
    fn a_full_queue_says_when_to_come_back() {
        let answer = Problem::from(Error::QueueFull { running: 1, queued: 2 }).into_answer();
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(answer.headers()[header::RETRY_AFTER], "1");
    }

    #[test]
    fn what_overflows_the_context_names_the_field_that_asked() {
        let problem = Problem::from(Error::ContextOverflow { needed: 9, limit: 8 }).in_field("max_tokens");
        assert_eq!(problem.param.as_deref(), Some("max_tokens"));
        assert_eq!(problem.code, Some("context_length_exceeded"));
    }
}
