//! Sizes, speeds and times for people.

use inferno::{FinishReason, Usage};
use std::time::Duration;

/// `1.5 GiB`
pub(crate) fn bytes(n: u64) -> String {
    scaled(n, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// `7.2 B`, as parameters are counted.
pub(crate) fn parameters(n: u64) -> String {
    scaled(n, 1000.0, &["", "K", "M", "B", "T", "P", "E"]).trim_end().to_owned()
}

fn scaled(n: u64, base: f64, units: &[&str]) -> String {
    let mut value = n as f64;
    let mut unit = 0;
    // 1023.99 would be shown as 1024.0
    while value >= base - 0.05 && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    if unit == 0 { format!("{n} {}", units[0]) } else { format!("{value:.1} {}", units[unit]) }
}

/// `12 tokens`, `1 token`
pub(crate) fn tokens(n: usize) -> String {
    if n == 1 { "1 token".into() } else { format!("{n} tokens") }
}

/// `45 ms`, `2.31 s`
pub(crate) fn time(duration: Duration) -> String {
    match duration.as_secs_f64() {
        s if s < 0.9995 => format!("{:.0} ms", s * 1000.0),
        s => format!("{s:.2} s"),
    }
}

/// What a request took, in one line.
pub(crate) fn usage(usage: &Usage) -> String {
    let mut parts = vec![format!("prompt: {}", tokens(usage.prompt_tokens))];
    if usage.cached_tokens > 0 {
        parts.push(format!("{} from the cache", usage.cached_tokens));
    }
    if usage.prefill_tps() > 0.0 {
        parts.push(format!("{:.1} tok/s", usage.prefill_tps()));
    }
    if !usage.first_token.is_zero() {
        parts.push(format!("first token after {}", time(usage.first_token)));
    }
    let mut line = parts.join(", ");
    line.push_str(&format!("; generated: {}", tokens(usage.completion_tokens)));
    if usage.decode_tps() > 0.0 {
        line.push_str(&format!(", {:.1} tok/s", usage.decode_tps()));
    }
    line.push_str(&format!("; ended by {}; seed {}", finish(&usage.finish), usage.seed));
    line
}

fn finish(reason: &FinishReason) -> String {
    match reason {
        FinishReason::EndOfText => "the model".into(),
        FinishReason::Stop(stop) => format!("the stop string {stop:?}"),
        FinishReason::MaxTokens => "--max-tokens".into(),
        FinishReason::ContextFull => "a full context (raise --context-size)".into(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes((1 << 20) - 1), "1.0 MiB");
        assert_eq!(bytes(8_500_000), "8.1 MiB");
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
        assert_eq!(parameters(7_241_732_096), "7.2 B");
        assert_eq!(parameters(12), "12");
    }

    #[test]
    fn times_have_units() {
        assert_eq!(time(Duration::from_millis(45)), "45 ms");
        assert_eq!(time(Duration::from_micros(999_700)), "1.00 s");
        assert_eq!(time(Duration::from_millis(2310)), "2.31 s");
    }
}
