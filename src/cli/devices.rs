//! `inferno devices`: what models can run on.

use super::{args::DevicesArgs, failure::Failure, numbers, output};
use inferno::DeviceKind;

pub(crate) fn run(args: &DevicesArgs) -> Result<(), Failure> {
    let devices = inferno::devices()?;
    if args.json {
        return output::json(&devices);
    }
    let name = devices.iter().map(|d| d.name.len()).max().unwrap_or(0);
    for device in &devices {
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
        let weights = match device.kind {
            DeviceKind::Cpu => format!(", weights {}", inferno::cpu_weights(true, true)?),
            _ => String::new(),
        };
        output::line(&format!(
            "{}  {:name$}  {kind}, {memory}  {}{weights}",
            device.index,
            output::tame(&device.name),
            output::tame(&device.description),
        ))?;
    }
    Ok(())
}
