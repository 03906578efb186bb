//! llama.cpp's log, as `tracing` events of the target `inferno::native`; nothing reaches stderr.

use super::bindings as ffi;
use std::{
    cell::RefCell,
    ffi::{CStr, c_char},
    panic::catch_unwind,
};

/// Kept of the errors of one call, in bytes: enough for the reason, bounded against a flood.
const KEPT: usize = 4096;

#[derive(Default)]
struct Lines {
    /// The line being assembled: llama.cpp logs parts of lines.
    partial: String,
    level: ffi::ggml_log_level::Type,
    /// Error lines since the call began.
    errors: String,
}

thread_local! {
    static LINES: RefCell<Lines> = RefCell::default();
}

/// Called by the shim, from any thread.
pub(super) extern "C" fn on_line(level: ffi::ggml_log_level::Type, text: *const c_char) {
    // Nothing may unwind into C++: a panic in a subscriber is dropped here, and that line with it.
    let _ = catch_unwind(|| {
        // SAFETY: the shim passes on llama.cpp's own terminated string, alive during the call.
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        LINES.with(|lines| {
            // a subscriber that calls back into us while a line is emitted must not find the cell borrowed
            let complete =
                lines.try_borrow_mut().map(|mut lines| lines.push(level, &text)).unwrap_or_default();
            for (level, line) in complete {
                emit(level, &line);
            }
        });
    });
}

impl Lines {
    fn push(
        &mut self,
        level: ffi::ggml_log_level::Type,
        text: &str,
    ) -> Vec<(ffi::ggml_log_level::Type, String)> {
        if level != ffi::ggml_log_level::GGML_LOG_LEVEL_CONT {
            self.level = level;
        }
        let mut complete = vec![];
        for part in text.split_inclusive('\n') {
            self.partial.push_str(part.trim_end_matches('\n'));
            if !part.ends_with('\n') {
                break;
            }
            let line = std::mem::take(&mut self.partial);
            if line.trim_matches(['.', ' ']).is_empty() {
                continue; // llama.cpp's progress dots
            }
            if self.level == ffi::ggml_log_level::GGML_LOG_LEVEL_ERROR
                && self.errors.len() + line.len() < KEPT
            {
                if !self.errors.is_empty() {
                    self.errors.push_str("; ");
                }
                self.errors.push_str(line.trim());
            }
            complete.push((self.level, line));
        }
        complete
    }
}

fn emit(level: ffi::ggml_log_level::Type, line: &str) {
    match level {
        ffi::ggml_log_level::GGML_LOG_LEVEL_ERROR => tracing::error!(target: "inferno::native", "{line}"),
        ffi::ggml_log_level::GGML_LOG_LEVEL_WARN => tracing::warn!(target: "inferno::native", "{line}"),
        ffi::ggml_log_level::GGML_LOG_LEVEL_INFO => tracing::debug!(target: "inferno::native", "{line}"),
        _ => tracing::trace!(target: "inferno::native", "{line}"),
    }
}

/// Starts a call: errors logged before it are not its own.
pub(super) fn forget_errors() {
    LINES.with(|lines| lines.borrow_mut().errors.clear());
}

/// The errors that this thread logged since [`forget_errors`], joined by "; ".
pub(super) fn take_errors() -> String {
    LINES.with(|lines| std::mem::take(&mut lines.borrow_mut().errors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_become_lines_and_errors_are_kept() {
        let (info, error, cont) = (
            ffi::ggml_log_level::GGML_LOG_LEVEL_INFO,
            ffi::ggml_log_level::GGML_LOG_LEVEL_ERROR,
            ffi::ggml_log_level::GGML_LOG_LEVEL_CONT,
        );
        let mut lines = Lines::default();
        assert_eq!(lines.push(info, "one"), []);
        assert_eq!(lines.push(cont, " line\ntwo\n"), [(info, "one line".into()), (info, "two".into())]);
        assert_eq!(lines.push(info, "....\n"), []);
        lines.push(error, "it broke\n");
        lines.push(error, "badly\n");
        assert_eq!(lines.errors, "it broke; badly");
    }
}
