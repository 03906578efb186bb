//! `inferno devices`: what models can run on, what is known of it, and how a model would be run there.

use super::{args::DevicesArgs, failure::Failure, numbers, output};
use inferno::{
    Choice, Device, DeviceKind, DeviceSelect, Error, Facts, Location, Model, ModelBuilder, Plan, Vendor,
};
use serde_json::{Value, json};

/// A device, how the model would be run on it, and whether it is the one that is taken by itself.
struct Row<'a> {
    device: &'a Device,
    plan: inferno::Result<Option<Plan>>,
    taken: bool,
}

pub(crate) fn run(args: &DevicesArgs) -> Result<(), Failure> {
    let devices = inferno::devices()?;
    let plan = |select| model(args).map(|builder| builder.with_device(select).plan()).transpose();
    let by_itself = match plan(DeviceSelect::Auto) {
        // a model that is too large for a device is no failure of the list
        Err(Error::OutOfMemory { .. }) => None,
        plan => plan.map_err(Failure::model)?,
    };
    let rows: Vec<Row<'_>> = devices
        .iter()
        .map(|device| Row {
            device,
            plan: match device.kind {
                DeviceKind::Accelerator => Ok(None),
                DeviceKind::Cpu => plan(DeviceSelect::Cpu),
                _ => plan(DeviceSelect::Named(device.name.clone())),
            },
            taken: by_itself.as_ref().is_some_and(|plan| match &plan.devices[..] {
                [] => device.kind == DeviceKind::Cpu,
                devices => devices.iter().any(|d| d.device == device.name),
            }),
        })
        .collect();
    if args.json {
        return output::json(&rows.iter().map(to_json).collect::<Vec<_>>());
    }
    rows.iter().try_for_each(show)
}

fn model(args: &DevicesArgs) -> Option<ModelBuilder> {
    match &args.model {
        Some(path) => Some(Model::builder(path)),
        #[cfg(feature = "builtin-model")]
        None => Some(Model::builtin()),
        #[cfg(not(feature = "builtin-model"))]
        None => None,
    }
}

fn to_json(row: &Row<'_>) -> Value {
    let mut value = json!(row.device);
    value["chosen_by_itself"] = json!(row.taken);
    value["provenance"] = json!(row.device.facts.as_ref().map(Facts::provenance));
    value["plan"] = json!(row.plan.as_ref().ok());
    value["problem"] = json!(row.plan.as_ref().err().map(ToString::to_string));
    value
}

fn show(row: &Row<'_>) -> Result<(), Failure> {
    let device = row.device;
    let kind = match device.kind {
        DeviceKind::Cpu => "CPU",
        DeviceKind::Gpu => "graphics card",
        DeviceKind::IntegratedGpu => "integrated graphics",
        DeviceKind::Accelerator => "accelerator",
        _ => "other",
    };
    let memory = match device.memory_total {
        0 => "memory unknown".into(),
        total => format!("{} free of {}", numbers::bytes(device.memory_free), numbers::bytes(total)),
    };
    output::line(&format!(
        "{}  {}  {kind}, {memory}  {}{}",
        device.index,
        output::tame(&device.name),
        output::tame(&device.description),
        if row.taken { "  (taken by itself)" } else { "" },
    ))?;
    for (name, fact) in device.facts.as_ref().map(facts_of).unwrap_or_default() {
        output::line(&format!("     {name:15} {fact}"))?;
    }
    if device.facts.is_some() {
        let verdict = match &device.verdict {
            None => "not done yet; `inferno doctor` does it".into(),
            Some(v) if v.passed => format!("passed with {} ({}), {} checks", v.model, v.plan, v.checks.len()),
            Some(v) => format!("FAILED with {} ({}): {}", v.model, v.plan, v.reason()),
        };
        output::line(&format!("     {:15} {}", "self-test", output::tame(&verdict)))?;
    }
    if device.kind == DeviceKind::Cpu {
        output::line(&format!("     {:15} {}", "weights", inferno::cpu_weights(true, true)?))?;
    }
    match &row.plan {
        Ok(Some(plan)) => show_plan(plan),
        Ok(None) => Ok(()),
        Err(problem) => {
            output::line(&format!("     {:15} {}", "no plan", output::tame(&problem.to_string())))
        }
    }
}

fn facts_of(facts: &Facts) -> Vec<(&'static str, String)> {
    let vendor = match facts.vendor {
        Vendor::Amd => "AMD",
        Vendor::Apple => "Apple",
        Vendor::Intel => "Intel",
        Vendor::Nvidia => "NVIDIA",
        _ => "unknown maker",
    };
    let source = |fact: &str| {
        facts.provenance().into_iter().find(|p| p.fact == fact).map_or_else(|| "nobody".into(), |p| p.source)
    };
    let architecture = match &facts.architecture {
        Some(architecture) => format!("{vendor} {architecture} ({})", source("architecture")),
        None => format!("{vendor}; there is no profile of its kind"),
    };
    let memory = format!(
        "{}; working set {}, buffers up to {}",
        if facts.unified_memory { "the host's" } else { "its own" },
        numbers::bytes(facts.max_working_set),
        numbers::bytes(facts.max_buffer_size)
    );
    let mut rows = vec![("registry id", place_of(facts)), ("architecture", architecture), ("memory", memory)];
    if let Some(bandwidth) = facts.memory_bandwidth {
        rows.push((
            "bandwidth",
            format!("{} GB/s ({})", bandwidth / 1_000_000_000, source("memory_bandwidth")),
        ));
    }
    let with = |has: bool, what: &str| format!("{} {what}", if has { "with" } else { "without" });
    rows.push((
        "simdgroups",
        format!(
            "{} ({}), {}, {}, {}",
            facts.simdgroup_width.map_or("unknown width".into(), |width| format!("{width} threads")),
            source("simdgroup_width"),
            with(facts.simdgroup_reduction, "reductions"),
            with(facts.simdgroup_matrix, "matrix units"),
            with(facts.bfloat, "bf16")
        ),
    ));
    rows.push(("threadgroups", format!("{} of memory", numbers::bytes(u64::from(facts.threadgroup_memory)))));
    rows.push(("families", families_of(facts)));
    if facts.lost {
        rows.push(("lost", "it was unplugged".into()));
    }
    rows
}

fn place_of(facts: &Facts) -> String {
    let location = match facts.location {
        Location::BuiltIn => "built in",
        Location::Slot => "in a slot",
        Location::External => "external",
        _ => "in an unknown place",
    };
    let marks =
        [(facts.low_power, "low power"), (facts.removable, "removable"), (facts.headless, "no display")];
    let marks: String = marks.iter().filter(|mark| mark.0).map(|mark| format!(", {}", mark.1)).collect();
    format!("{:#x}, {location}{marks}", facts.registry_id)
}

fn families_of(facts: &Facts) -> String {
    let all = facts.families;
    let all = [("apple", all.apple), ("mac", all.mac), ("common", all.common), ("metal", all.metal)];
    let names: Vec<_> =
        all.iter().filter(|family| family.1 > 0).map(|(name, member)| format!("{name}{member}")).collect();
    names.join(" ")
}

fn show_plan(plan: &Plan) -> Result<(), Failure> {
    fn size(bytes: u64) -> String {
        if bytes == 0 { "none".into() } else { numbers::bytes(bytes) }
    }
    fn yes(value: bool) -> String {
        if value { "yes" } else { "no" }.into()
    }
    fn choice<T: Copy>(name: &str, choice: &Choice<T>, value: impl Fn(T) -> String) -> Result<(), Failure> {
        let value = value(choice.value);
        output::line(&format!("     {name:15} {value:10} {}", output::tame(&choice.reason)))
    }
    for device in &plan.devices {
        choice("layers", &device.layers, |layers| layers.to_string())?;
        choice("encoder", &device.encoder, |encoder| encoder.to_string())?;
        choice("buffers", &device.buffers, |buffers| buffers.to_string())?;
        choice("mapped weights", &device.maps_file, yes)?;
        choice("staging buffer", &device.staging, |bytes| size(u64::from(bytes)))?;
        choice("allocations", &device.block, size)?;
        choice("command buffers", &device.command_buffers, |parts| parts.to_string())?;
        let shapes = match device.shapes.value.len() {
            0 => "own".into(),
            n => format!("{n} tuned"),
        };
        output::line(&format!(
            "     {:15} {shapes:10} {}",
            "product shapes",
            output::tame(&device.shapes.reason)
        ))?;
        for tuned in &device.shapes.value {
            let words = format!("{}: {}; gain {:.2}", tuned.product, tuned.shape, tuned.gain());
            output::line(&format!("     {:15} {:10} {}", "", "", output::tame(&words)))?;
        }
    }
    choice("file mapped", &plan.mmap, yes)?;
    choice("flash attention", &plan.flash_attention, yes)?;
    plan.notes.iter().try_for_each(|note| output::line(&format!("     {:15} {}", "note", output::tame(note))))
}
