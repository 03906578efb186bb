//! Turns the shim's statuses into Rust errors.

use super::{bindings as ffi, log};
use crate::error::Error;
use std::{ffi::CStr, mem::MaybeUninit};

/// Why a call into llama.cpp failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A C++ exception, or a refusal that the log explains. The object is still consistent.
    Refused(String),
    /// An assertion of ggml. The object concerned is in an unknown state and must be leaked.
    Assertion(String),
    /// An allocation that failed.
    OutOfMemory,
}

/// What llama.cpp's and ggml's messages say where an allocation failed, from a grep of the pinned tree: they catch the
/// exception themselves, log these words and return null.
const NO_MEMORY: [&str; 4] =
    ["unable to allocate", "failed to allocate", "Cannot allocate memory", "std::bad_alloc"];

impl Failure {
    /// A refusal without an exception: llama.cpp returned null, and its log holds the reason.
    pub(super) fn from_log(otherwise: &str) -> Self {
        let said = log::take_errors();
        if NO_MEMORY.iter().any(|words| said.contains(words)) {
            return Failure::OutOfMemory;
        }
        Failure::Refused(if said.is_empty() { otherwise.to_owned() } else { said })
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Refused(what) => f.write_str(what),
            Failure::Assertion(what) => write!(f, "assertion failed: {what}"),
            Failure::OutOfMemory => f.write_str("out of memory"),
        }
    }
}

/// The error of an operation that failed below.
pub(crate) fn engine(call: &'static str, failure: &Failure) -> Error {
    Error::Engine { call, what: failure.to_string() }
}

/// Runs one shim call. `body` gets the place for the error's message and returns the shim's status.
pub(super) fn call(body: impl FnOnce(*mut ffi::inf_error) -> ffi::inf_status::Type) -> Result<(), Failure> {
    log::forget_errors();
    let mut error = MaybeUninit::<ffi::inf_error>::zeroed();
    let status = body(error.as_mut_ptr());
    if status == ffi::inf_status::INF_OK {
        return Ok(());
    }
    // SAFETY: all zeroes is a valid inf_error, and the shim only writes a string into it.
    let error = unsafe { error.assume_init_ref() };
    // SAFETY: the shim terminates the message within the array (snprintf), and zeroes terminate it before that.
    let message = unsafe { CStr::from_ptr(error.message.as_ptr()) }.to_string_lossy().into_owned();
    Err(match status {
        ffi::inf_status::INF_ASSERTION => Failure::Assertion(message),
        ffi::inf_status::INF_OUT_OF_MEMORY => Failure::OutOfMemory,
        _ => Failure::Refused(message),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(how: i32) -> Failure {
        crate::sys::backend::init().unwrap();
        // SAFETY: inf_fail takes any number.
        call(|error| unsafe { ffi::inf_fail(how, error) }).unwrap_err()
    }

    #[test]
    fn exceptions_and_assertions_end_in_the_shim() {
        assert_eq!(fail(0), Failure::Refused("thrown on purpose".into()));
        assert!(
            matches!(fail(1), Failure::Assertion(m) if m.contains("asserted on purpose") && m.contains("shim.cpp"))
        );
        assert_eq!(fail(2), Failure::OutOfMemory);
        assert!(matches!(fail(3), Failure::Refused(m) if m.contains("not a std::exception")));
    }
}
