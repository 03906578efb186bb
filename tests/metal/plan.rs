//! That a model is run as its plan says: where weights lie, how they get there, and what is left with the host.

use super::command;
use inferno::{DeviceSelect, LoadOptions, LoadedModel};
use serde_json::Value;
use std::{fs, ops::ControlFlow, path::Path, process::Command};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/spark-7m-q8_0.gguf");

/// A short run on a simulated GPU, and what it asked of Metal.
fn trace(gpu: &str, name: &str, more: &[&str]) -> (String, Vec<Value>) {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{gpu}-{name}.trace"));
    let run =
        ["run", "Once upon a time", "--max-tokens", "3", "--temperature", "0", "--quiet", "--model", MODEL];
    let mut command = command(Some(gpu), &[&run as &[&str], more].concat());
    command.env("INFERNO_METAL_SIM_TRACE", &file).env("INFERNO_METAL_SIM_COUNT_BYTES", "1");
    let said = super::text(command.env("INFERNO_METAL_SIM_STRICT", "1"));
    let lines = fs::read_to_string(file).unwrap();
    (said, lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn of_kind<'a>(trace: &'a [Value], event: &str) -> Vec<&'a Value> {
    trace.iter().filter(|e| e["event"] == event).collect()
}

fn sum(events: &[&Value], key: &str) -> u64 {
    events.iter().map(|e| e[key].as_u64().unwrap()).sum()
}

#[test]
fn no_weight_is_read_over_the_host_link() {
    let (said, planned) = trace("amd-rdna1", "planned", &[]);
    let dispatches = of_kind(&planned, "dispatch");
    assert!(sum(&dispatches, "bytes_read") > 3 * 5_000_000, "weights are read for every token");
    assert_eq!(sum(&dispatches, "bytes_read_of_host"), 0);
    assert!(dispatches.iter().all(|d| d["encoder"] == "serial"));
    // one buffer for all copies, and no memory of the host's is wrapped; the backend's look at the width takes a few KiB
    let shared: Vec<_> =
        of_kind(&planned, "allocate").into_iter().filter(|a| a["storage"] != "private").collect();
    assert!(shared.iter().all(|a| a["copy"] == true), "{shared:?}");
    let large: Vec<_> = shared.iter().filter_map(|a| a["bytes"].as_u64()).filter(|n| *n > 1 << 16).collect();
    assert_eq!(large, [16 << 20]);
    assert!(of_kind(&planned, "copy").iter().all(|c| c["bytes"].as_u64().unwrap() <= 8 << 20));

    // the settings may ask for what is slow: then the same counts show it
    let (mapped_said, mapped) = trace("amd-rdna1", "mapped", &["--mmap"]);
    assert_eq!(said, mapped_said);
    assert!(sum(&of_kind(&mapped, "dispatch"), "bytes_read_of_host") > 3 * 5_000_000);
}

#[test]
fn apple_reads_the_mapped_file() {
    let (_, trace) = trace("apple-m1", "planned", &[]);
    assert!(of_kind(&trace, "dispatch").iter().all(|d| d["encoder"] == "concurrent"));
    assert!(of_kind(&trace, "allocate").iter().any(|a| a["copy"] == false));
    assert!(of_kind(&trace, "allocate").iter().all(|a| a["storage"] == "shared"));
}

/// Not a test of its own: what a process holds in memory of the host once a model is loaded, in bytes. The simulator's
/// own memory counts as shared, and is no part of it.
#[test]
#[ignore = "run by host_memory_is_less_by_the_weights, in a process of its own"]
fn memory_after_loading() {
    let resident = || -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap();
            line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
        };
        field("RssAnon:") + field("RssFile:")
    };
    let mut options = LoadOptions::default();
    options.self_test = false;
    options.device = DeviceSelect::Named("MTL0".into());
    options.mmap = std::env::var_os("MAPPED").map(|_| true);
    // the first load brings in what every load needs
    drop(LoadedModel::load(MODEL, &options, |_| ControlFlow::Continue(())).unwrap());
    let before = resident();
    let model = LoadedModel::load(MODEL, &options, |_| ControlFlow::Continue(())).unwrap();
    let held = resident().saturating_sub(before);
    std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("resident: {held}\n")).unwrap();
    drop(model);
}

#[test]
fn host_memory_is_less_by_the_weights() {
    let measure = |mapped: bool| -> u64 {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "plan::memory_after_loading", "--ignored", "--nocapture"]);
        command.env("INFERNO_METAL_SIM", "amd-rdna1");
        // else glibc serves a load from what the first one freed, which was counted before, and keeps what this one frees:
        // 12 to 13 % of the difference
        command.env("MALLOC_MMAP_THRESHOLD_", "65536");
        if mapped {
            command.env("MAPPED", "1");
        }
        let said = super::text(&mut command);
        said.lines().find_map(|l| l.split_once("resident: ")).unwrap().1.trim().parse().unwrap()
    };
    let gguf = inferno::gguf::Gguf::open(MODEL).unwrap();
    // llama.cpp looks tokens up in the host's memory: that tensor stays there in any case
    let on_device = gguf.tensor_bytes() - gguf.tensor("token_embd.weight").unwrap().size_bytes;
    let (mapped, planned) = (measure(true), measure(false));
    let saved = mapped.saturating_sub(planned);
    assert!(
        saved * 20 > on_device * 19,
        "{mapped} mapped, {planned} as planned; {on_device} are on the device"
    );
}
