//! `inferno doctor`: examines every device, and says what is well, what is not, and what to do.

use super::{
    args::{DoctorArgs, GlobalArgs},
    failure::Failure,
    numbers,
    output::{self, Waiting},
    settings::Settings,
};
use inferno::{
    Check, Device, Error, Finding, Verdict,
    config::Overrides,
    doctor::{self, Examination, Part},
};
use serde_json::json;
use std::{collections::BTreeMap, env, fmt::Write, fs, path::Path, process::ExitCode};

pub(crate) fn run(args: &DoctorArgs, global: &GlobalArgs) -> Result<ExitCode, Failure> {
    let settings = Settings::load(global, Overrides::default())?;
    let devices = chosen(args.device.as_deref())?;
    if let Some(file) = &args.report {
        // not after minutes of work
        write(file, "")?;
    }
    let mut all = vec![];
    for device in &devices {
        let mut waiting = Waiting::spinner(String::new(), settings.quiet);
        let name = output::tame(&device.name);
        let found = doctor::examine(device, &mut |what| waiting.says(format!("{name}: {what}")))?;
        waiting.clear();
        if !args.json {
            output::print(&in_words(&found, true))?;
        }
        all.push(found);
    }
    let well = all.iter().all(|found| found.complaints.is_empty());
    if args.json {
        output::json(&json!({"well": well, "system": doctor::system(), "build": build(), "devices": all}))?;
    } else {
        output::line(if well { "All is well." } else { "Not all is well; what to do is said above." })?;
    }
    if let Some(file) = &args.report {
        write(file, &report(&all))?;
        if !args.json {
            output::line(&format!(
                "The report is in {}. {CONTENTS} Read it before you send it.",
                output::tame(&file.display().to_string())
            ))?;
        }
    }
    Ok(if well { ExitCode::SUCCESS } else { Failure::unwell() })
}

fn chosen(asked: Option<&str>) -> Result<Vec<Device>, Failure> {
    let devices = inferno::devices()?;
    let Some(asked) = asked else { return Ok(devices) };
    let select: inferno::DeviceSelect = asked.parse().unwrap_or_default();
    let names = select.names()?;
    Ok(devices.into_iter().filter(|d| names.contains(&d.name)).collect())
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    fs::write(file, text).map_err(|source| Error::Io { action: "write", path: file.into(), source }.into())
}

fn build() -> serde_json::Value {
    json!({"inferno": env!("CARGO_PKG_VERSION"), "native": inferno::native_version()})
}

/// Said of a report, in it and beside it.
const CONTENTS: &str = "It holds the versions of inferno, of the system and of its kernel, the names and properties of the \
                        devices, and what was found; no names of users, computers or files.";

/// What is found, for an issue.
fn report(all: &[Examination]) -> String {
    let mut text = format!("# inferno doctor\n\n{CONTENTS}\n\n```\n");
    for found in all {
        text.push_str(&in_words(found, false));
    }
    let data = json!({"system": doctor::system(), "build": build(), "devices": all});
    let data = serde_json::to_string_pretty(&data).unwrap_or_default();
    let _ = write!(text, "```\n\n```json\n{data}\n```\n");
    without_places(&text)
}

/// Messages of errors may quote where a temporary file was.
fn without_places(text: &str) -> String {
    let places = [(env::temp_dir(), "TEMPORARY"), (env::home_dir().unwrap_or_default(), "HOME")];
    places.iter().fold(text.to_owned(), |text, (place, word)| {
        let place = place.to_string_lossy();
        let place = place.trim_end_matches('/');
        if place.len() > 1 { text.replace(place, word) } else { text }
    })
}

/// One device, for people. `short` leaves out what is right of the self-test.
fn in_words(found: &Examination, short: bool) -> String {
    let mut text = String::new();
    let device = &found.device;
    let simulated = if found.simulated { " (simulated: this says nothing of a real card)" } else { "" };
    let _ =
        writeln!(text, "{}  {}{simulated}", output::tame(&device.name), output::tame(&device.description));
    let mut row = |name: &str, verdict: &str, what: String| {
        let _ = writeln!(text, "  {name:<10} {verdict:<8} {}", output::tame(&what));
    };
    if let Some(facts) = &device.facts {
        let width = facts.simdgroup_width.map_or("unknown".into(), |w| w.to_string());
        let known = facts.profile.unwrap_or("none");
        row(
            "facts",
            "",
            format!(
                "{}, {} memory of {}, simdgroups of {width}, {}, known as {known}",
                facts.architecture.as_deref().unwrap_or("unknown architecture"),
                if facts.unified_memory { "shared" } else { "own" },
                numbers::bytes(device.memory_total),
                if facts.simdgroup_matrix { "matrix units" } else { "no matrix units" },
            ),
        );
    }
    match &found.self_test {
        Part::Done(verdict) => {
            row("self-test", if verdict.passed { "right" } else { "WRONG" }, self_test(verdict));
            for (operation, what) in by_operation(verdict, short) {
                row("", "", format!("{operation:<16} {what}"));
            }
        }
        Part::Failed(error) => row("self-test", "FAILED", error.clone()),
        _ => {}
    }
    for fallback in &found.fallbacks {
        row("then", "", fallback.then.clone());
    }
    match &found.copies {
        Part::Done(c) => row(
            "copies",
            if c.same { "right" } else { "WRONG" },
            format!("{}/s to the device, {}/s from it", bytes(c.to_device), bytes(c.from_device)),
        ),
        Part::Failed(error) => row("copies", "FAILED", error.clone()),
        _ => {}
    }
    match &found.memory {
        Part::Done(m) => {
            let largest = format!("buffers up to {}", numbers::bytes(m.given));
            match m.refused {
                None => row("memory", "right", largest),
                Some(refused) => {
                    row("memory", "REFUSED", format!("{largest}, but not {}", numbers::bytes(refused)));
                }
            }
        }
        Part::Failed(error) => row("memory", "FAILED", error.clone()),
        _ => {}
    }
    match &found.model {
        Part::Done(run) => row(
            "model",
            if run.text_is_right { "right" } else { "WRONG" },
            format!(
                "on {}: pp{} {:.1} t/s, tg{} {:.1} t/s; its text {} the CPU's",
                run.devices.join(", "),
                run.prompt_tokens,
                run.prompt_tps,
                run.generated_tokens,
                run.generated_tps,
                if run.text_is_right { "is" } else { "is not" },
            ),
        ),
        Part::Failed(error) => row("model", "FAILED", error.clone()),
        _ => {}
    }
    for complaint in &found.complaints {
        row("not well:", "", complaint.what.clone());
        row("  do this:", "", complaint.advice.clone());
    }
    text.push('\n');
    text
}

fn bytes(n: f64) -> String {
    // a rate is far below 2^53
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rates are positive and small"
    )]
    numbers::bytes(n as u64)
}

fn self_test(verdict: &Verdict) -> String {
    let on_cpu = verdict.checks.iter().filter(|c| c.finding == Finding::OnCpu).count();
    let left = if on_cpu > 0 { format!(", {on_cpu} of them left to the CPU") } else { String::new() };
    format!("{} checks{left}; {}; {:.1} s", verdict.checks.len(), verdict.plan, verdict.seconds)
}

/// Each operation: how many checks, and the worst of them. `short` leaves out those that are all right.
fn by_operation(verdict: &Verdict, short: bool) -> Vec<(&str, String)> {
    let mut all: BTreeMap<&str, Vec<&Check>> = BTreeMap::new();
    for check in &verdict.checks {
        all.entry(&check.operation).or_default().push(check);
    }
    let in_words = |checks: &[&Check]| {
        if let Some(failure) = checks.iter().find(|c| c.is_failure()) {
            return format!("{}: {}", failure.what, failure.reason);
        }
        if checks.iter().all(|c| c.finding == Finding::OnCpu) {
            return "left to the CPU".into();
        }
        let worst = checks.iter().filter_map(|c| c.error).fold(0.0, f64::max);
        let s = if checks.len() == 1 { "" } else { "s" };
        format!("right, {} check{s}, error at most {worst:.1e}", checks.len())
    };
    all.iter()
        .filter(|(_, checks)| !short || !checks.iter().all(|c| c.finding == Finding::Right))
        .map(|(operation, checks)| (*operation, in_words(checks)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_no_place() {
        let temporary = env::temp_dir().join("inferno-x.gguf");
        let text = without_places(&format!("loading {} failed", temporary.display()));
        assert!(text.starts_with("loading TEMPORARY"), "{text}");
        if let Some(home) = env::home_dir().filter(|home| home.as_os_str().len() > 1) {
            assert_eq!(without_places(&format!("{}/a", home.display())), "HOME/a");
        }
    }
}
