//! `inferno tune`: measures how a model's products are best divided on a device, and keeps what it found.

use super::{
    args::{GlobalArgs, TuneArgs},
    failure::Failure,
    output::{self, Waiting},
    settings::Settings,
};
use inferno::{
    Device,
    config::Overrides,
    tune::{self, Measured, Tuned},
};
use serde_json::json;

pub(crate) fn run(args: &TuneArgs, global: &GlobalArgs) -> Result<(), Failure> {
    let settings = Settings::load(global, Overrides::default())?;
    let devices = chosen(args.device.as_deref())?;
    let mut all = vec![];
    for device in &devices {
        if args.reset {
            tune::forget(device)?;
            if !args.json {
                output::line(&format!("{}: forgotten", output::tame(&device.name)))?;
            }
            continue;
        }
        let mut waiting = Waiting::spinner(String::new(), settings.quiet);
        let name = output::tame(&device.name);
        let found = tune_one(args, device, &mut |what| waiting.says(format!("{name}: {what}")))?;
        waiting.clear();
        if !args.dry_run {
            tune::keep(device, &found)?;
        }
        if !args.json {
            show(&found)?;
        }
        all.push(found);
    }
    if args.json {
        let forgotten = devices.iter().map(|d| &d.name).filter(|_| args.reset).collect::<Vec<_>>();
        return output::json(
            &json!({"devices": all, "kept": !args.dry_run && !args.reset, "forgotten": forgotten}),
        );
    }
    match (args.reset, args.dry_run) {
        (true, _) => Ok(()),
        (_, true) => output::line("Nothing was kept (--dry-run)."),
        _ => output::line(
            "This is kept, and used from the next load on, if the model then passes its self-test; `inferno devices` shows \
             it, and --reset forgets it.",
        ),
    }
}

fn tune_one(args: &TuneArgs, device: &Device, says: &mut dyn FnMut(&str)) -> Result<Tuned, Failure> {
    match &args.model {
        Some(path) => tune::tune(device, path, says).map_err(Failure::model),
        #[cfg(feature = "builtin-model")]
        None => tune::tune_builtin(device, says).map_err(Failure::model),
        #[cfg(not(feature = "builtin-model"))]
        None => Err(Failure::usage("--model: name a GGUF file, as there is no model in this build")),
    }
}

/// The graphics devices that were asked for; all, where none was.
fn chosen(asked: Option<&str>) -> Result<Vec<Device>, Failure> {
    let devices = inferno::devices()?;
    let chosen: Vec<Device> = match asked {
        None => devices.into_iter().filter(|d| d.facts.is_some()).collect(),
        Some(asked) => {
            let select: inferno::DeviceSelect = asked.parse().unwrap_or_default();
            let names = select.names()?;
            devices.into_iter().filter(|d| names.contains(&d.name)).collect()
        }
    };
    match chosen.iter().find(|d| d.facts.is_none()) {
        Some(cpu) => Err(Failure::usage(format!("--device: {} is no graphics device", cpu.name))),
        None if chosen.is_empty() => Err(Failure::runtime("there is no graphics device to tune")),
        None => Ok(chosen),
    }
}

fn show(found: &Tuned) -> Result<(), Failure> {
    let tuning = &found.tuning;
    output::line(&format!("{}  {}", output::tame(&found.device), output::tame(&found.description)))?;
    if tuning.simulated {
        output::line(
            "  simulated: costs are bytes and threadgroups in place of time, and say nothing of a real card",
        )?;
    }
    let unit = |cost: f64| match tuning.simulated {
        true => format!("{:.0} kB", cost / 1000.0),
        false => format!("{:.1} µs", cost * 1e6),
    };
    for (at, b) in tuning.buffers.iter().enumerate() {
        let kind = b.buffers.to_string();
        let what = if tuning.simulated { " over the link to the host" } else { "" };
        let chosen = if at == 0 { "  (taken)" } else { "" };
        output::line(&format!("  {:28} {:>10}{what}{chosen}", format!("{kind} buffers"), unit(b.cost)))?;
    }
    for (kind, reason) in &found.refused_buffers {
        output::line(&format!("  {:28} refused: {}", format!("{kind} buffers"), output::tame(reason)))?;
    }
    found.products.iter().try_for_each(|product| output::line(&row(product, unit)))
}

fn row(measured: &Measured, unit: impl Fn(f64) -> String) -> String {
    let product = measured.product.to_string();
    let wrong = match measured.discarded {
        0 => String::new(),
        n => format!("; {n} of {} shapes were wrong or failed", measured.tried),
    };
    match (&measured.best, &measured.skipped) {
        (Some(best), _) => format!(
            "  {product:28} {:>10} to {:>10}, gain {:.2}: {}{wrong}",
            unit(best.before),
            unit(best.after),
            best.gain(),
            best.shape
        ),
        (None, Some(reason)) => format!("  {product:28} not measured: {reason}"),
        (None, None) => format!("  {product:28} the backend's own shape is the best{wrong}"),
    }
}
