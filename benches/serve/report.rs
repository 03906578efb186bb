//! What came of it: rates, latencies, ratios.

use crate::{client::Answer, load::Point};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};

/// One round with one server.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    answers: Vec<Answer>,
    failures: BTreeMap<String, usize>,
    wall: Duration,
    resident: Option<u64>,
}

impl Sample {
    pub(crate) fn new(results: Vec<Result<Answer, String>>, wall: Duration, resident: Option<u64>) -> Self {
        let (mut answers, mut failures) = (vec![], BTreeMap::new());
        for result in results {
            match result {
                Ok(answer) => answers.push(answer),
                Err(error) => *failures.entry(error).or_default() += 1,
            }
        }
        Self { answers, failures, wall, resident }
    }

    /// Tokens of all answers, a second.
    fn rate(&self) -> f64 {
        let tokens: u64 = self.answers.iter().map(|answer| answer.tokens).sum();
        tokens as f64 / self.wall.as_secs_f64()
    }
}

/// All rounds of a point with one server.
struct Summary {
    rate: f64,
    /// Time to the first text, in ms: p50, p95, p99.
    first: [f64; 3],
    /// From one part of a text to the next, in ms: p50, p95, p99.
    gap: [f64; 3],
    failed: usize,
    resident: Option<u64>,
}

impl Summary {
    fn new(samples: &[Sample]) -> Self {
        let answers = || samples.iter().flat_map(|sample| &sample.answers);
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        let first = answers().filter_map(|answer| answer.parts.first()).map(|first| ms(*first)).collect();
        let gaps = answers().flat_map(|answer| answer.parts.windows(2).map(|w| ms(w[1] - w[0]))).collect();
        Self {
            rate: quantiles(samples.iter().map(Sample::rate).collect(), [0.5])[0],
            first: quantiles(first, [0.5, 0.95, 0.99]),
            gap: quantiles(gaps, [0.5, 0.95, 0.99]),
            failed: samples.iter().flat_map(|sample| sample.failures.values()).sum(),
            resident: samples.iter().filter_map(|sample| sample.resident).max(),
        }
    }
}

/// The values at these shares of the sorted list; NaN where it is empty.
fn quantiles<const N: usize>(mut values: Vec<f64>, shares: [f64; N]) -> [f64; N] {
    values.sort_by(f64::total_cmp);
    shares.map(|share| {
        // the smallest value that so many are not above
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the length"
        )]
        let index = ((values.len() as f64 * share).ceil() as usize).saturating_sub(1);
        values.get(index).copied().unwrap_or(f64::NAN)
    })
}

/// The lines that are printed.
#[derive(Debug)]
pub(crate) struct Table {
    json: bool,
    begun: bool,
}

impl Table {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, begun: false }
    }

    /// Prints what each server did at one point; ratios are to the last one, and medians over the rounds.
    pub(crate) fn point(&mut self, point: Point, names: &[&str], samples: &[Vec<Sample>]) {
        if !self.json && !std::mem::replace(&mut self.begun, true) {
            println!(
                "| load | server | tokens/s | ratio | TTFT p50, p95, p99 ms | between parts p50, p95, p99 ms | MiB | failed |"
            );
            println!("|---|---|---|---|---|---|---|---|");
        }
        let last = samples.last().expect("at least one server");
        for (name, of_server) in names.iter().zip(samples) {
            let summary = Summary::new(of_server);
            let ratios = of_server.iter().zip(last).map(|(ours, theirs)| ours.rate() / theirs.rate());
            let [ratio] = quantiles(ratios.collect(), [0.5]);
            if self.json {
                println!("{}", summary.json(point, name, ratio, of_server));
            } else {
                println!("{}", summary.row(point, name, ratio));
                for (error, times) in of_server.iter().flat_map(|sample| &sample.failures) {
                    println!("  {name}, {times} times: {error}");
                }
            }
        }
    }
}

impl Summary {
    fn row(&self, point: Point, name: &str, ratio: f64) -> String {
        let times = |[a, b, c]: [f64; 3]| format!("{a:.0}, {b:.0}, {c:.0}");
        let memory = self.resident.map_or_else(|| "-".into(), |bytes| (bytes >> 20).to_string());
        format!(
            "| {point} | {name} | {:.1} | {ratio:.2} | {} | {} | {memory} | {} |",
            self.rate,
            times(self.first),
            times(self.gap),
            self.failed
        )
    }

    fn json(&self, point: Point, name: &str, ratio: f64, samples: &[Sample]) -> serde_json::Value {
        json!({
            "load": point.to_string(),
            "server": name,
            "tokens_per_second": self.rate,
            "ratio": ratio,
            "rounds": samples.iter().map(Sample::rate).collect::<Vec<_>>(),
            "ttft_ms": self.first,
            "gap_ms": self.gap,
            "resident_bytes": self.resident,
            "failed": self.failed,
        })
    }
}
