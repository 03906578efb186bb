//! Which devices there are, and that a model runs on them.

use super::{command, events, text};

const STORY: &str = "Once upon a time";

#[test]
fn without_a_gpu_there_is_the_cpu() {
    let devices = events(&mut command(None, &["devices", "--json"])).remove(0);
    let names: Vec<_> = devices.as_array().unwrap().iter().map(|d| d["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["CPU"]);
    let run = ["run", STORY, "--max-tokens", "4", "--temperature", "0", "--quiet"];
    assert!(!text(&mut command(None, &run)).is_empty());
}

#[test]
fn each_profile_is_a_graphics_card() {
    for (profile, name) in [("amd-rdna1", "AMD Radeon Pro 5300M"), ("apple-m1", "Apple M1")] {
        let devices = events(&mut command(Some(profile), &["devices", "--json"])).remove(0);
        let gpu = devices.as_array().unwrap().iter().find(|d| d["name"] == "MTL0").unwrap();
        assert_eq!((gpu["description"].as_str().unwrap(), gpu["kind"].as_str().unwrap()), (name, "gpu"));
    }
}

/// The devices of a profile or a machine, as `inferno devices --json` lists them.
fn list(gpu: &str) -> Vec<serde_json::Value> {
    let listed = events(&mut command(Some(gpu), &["devices", "--json"])).remove(0);
    listed.as_array().unwrap().clone()
}

#[test]
fn the_facts_are_those_of_the_profile() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/device/profiles");
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        let profile: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        let id = path.file_stem().unwrap().to_str().unwrap();
        let devices = list(id);
        let facts = &devices.iter().find(|d| d["name"] == "MTL0").unwrap()["facts"];
        for (key, fact) in [
            ("registry_id", "registry_id"),
            ("location", "location"),
            ("architecture", "architecture"),
            ("low_power", "low_power"),
            ("removable", "removable"),
            ("headless", "headless"),
            ("unified_memory", "unified_memory"),
            ("memory_bandwidth", "memory_bandwidth"),
            ("max_buffer_size", "max_buffer_length"),
            ("max_working_set", "recommended_max_working_set"),
            ("threadgroup_memory", "threadgroup_memory"),
            ("simdgroup_width", "simdgroup_width"),
            ("simdgroup_matrix", "simdgroup_matrix"),
        ] {
            let expected = serde_json::to_value(&profile[fact]["value"]).unwrap();
            assert_eq!(facts[key], expected, "{id}: {key}");
        }
        for family in ["apple", "mac", "common", "metal"] {
            let expected = serde_json::to_value(&profile[&format!("family_{family}")]["value"]).unwrap();
            assert_eq!(facts["families"][family], expected, "{id}: {family}");
        }
        assert_eq!(facts["profile"], id);
        assert_eq!(facts["simdgroup_width_probed"], facts["vendor"] != "apple", "{id}");
    }
}

#[test]
fn a_machine_with_two_gpus_lists_both() {
    let devices = list("macbook-pro-16-2019");
    let named: Vec<_> = devices
        .iter()
        .map(|d| [&d["name"], &d["description"], &d["kind"]].map(|v| v.as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(named[0], ["MTL0", "AMD Radeon Pro 5300M", "gpu"]);
    assert_eq!(named[1], ["MTL1", "Intel(R) UHD Graphics 630", "integrated_gpu"]);
    assert_eq!((named.len(), named[2][2].as_str()), (3, "cpu"));
}

#[test]
fn the_list_says_who_says_so_and_what_would_be_done_and_why() {
    let devices = list("macbook-pro-16-2019");
    let source = |device: usize, fact: &str| {
        let all = devices[device]["provenance"].as_array().unwrap();
        all.iter().find(|p| p["fact"] == fact).unwrap()["source"].as_str().unwrap().to_owned()
    };
    assert_eq!(source(0, "registry_id"), "the driver");
    assert_eq!(source(0, "simdgroup_width"), "a pipeline made for the question");
    assert_eq!(source(0, "memory_bandwidth"), "profile amd-rdna1: AMD");
    let known: std::collections::BTreeSet<_> =
        devices[0]["provenance"].as_array().unwrap().iter().map(|p| p["fact"].as_str().unwrap()).collect();
    let not_facts = ["simdgroup_width_probed", "profile", "lost"];
    for fact in devices[0]["facts"].as_object().unwrap().keys() {
        assert!(not_facts.contains(&fact.as_str()) || known.contains(fact.as_str()), "{fact} has no source");
    }
    let plan = |device: usize| &devices[device]["plan"]["devices"][0];
    assert_eq!(plan(0)["encoder"]["value"], "serial");
    assert!(plan(0)["encoder"]["reason"].as_str().unwrap().contains("19563"));
    assert_eq!(plan(0)["buffers"]["value"], "private");
    assert_eq!(plan(1)["buffers"]["value"], "shared");
    let taken: Vec<_> = devices.iter().map(|d| d["chosen_by_itself"].as_bool().unwrap()).collect();
    assert_eq!(taken, [true, false, false]);

    let said = text(&mut command(Some("macbook-pro-16-2019"), &["devices"]));
    for part in
        ["(taken by itself)", "0x100000380, built in", "19563", "rdna1 (profile amd-rdna1: AMD)", "192 GB/s"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let no_model = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let output = command(None, &["devices", "--model", no_model]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("not a valid GGUF file"), "{output:?}");
    let alone = events(&mut command(None, &["devices", "--json"])).remove(0);
    assert_eq!(
        (&alone[0]["chosen_by_itself"], &alone[0]["plan"]["mmap"]["value"]),
        (&true.into(), &true.into())
    );
}

/// Greedy text, and on which devices the matrix products ran, in the order of the names.
fn said_on(gpu: &str, device: &str) -> (String, Vec<(String, u64)>) {
    let run = [
        "run",
        STORY,
        "--max-tokens",
        "4",
        "--temperature",
        "0",
        "--json",
        "--operations",
        "--device",
        device,
    ];
    let events = events(command(Some(gpu), &run).env("INFERNO_METAL_SIM_STRICT", "1"));
    let said = events.iter().filter_map(|e| e["text"].as_str()).collect();
    let operations = events.last().unwrap()["operations"].clone();
    let products = operations.as_array().unwrap().iter().filter(|o| o["operation"] == "MUL_MAT");
    (
        said,
        products.map(|o| (o["device"].as_str().unwrap().to_owned(), o["count"].as_u64().unwrap())).collect(),
    )
}

#[test]
fn one_gpu_of_two_is_chosen_by_any_of_its_names_or_both_together() {
    let machine = "macbook-pro-16-2019";
    let (expected, _) = said_on(machine, "cpu");
    let devices_of = |device: &str| {
        let (said, products) = said_on(machine, device);
        assert_eq!(said, expected, "{device}");
        products.into_iter().map(|(device, _)| device).collect::<Vec<_>>()
    };
    for device in ["MTL1", "1", "intel(r) uhd graphics 630", "4294968832", "0x100000600"] {
        assert_eq!(devices_of(device), ["MTL1"], "{device}");
    }
    // the card is taken by itself, the integrated unit is not, not even where there is no other
    assert_eq!(devices_of("auto"), ["MTL0"]);
    assert_eq!(said_on("intel-uhd630", "auto").1.remove(0).0, "CPU");
    assert_eq!(said_on("apple-m1", "auto").1.remove(0).0, "MTL0");
    // both together: most of the layers where the memory is fastest
    let (said, products) = said_on(machine, "MTL0,MTL1");
    assert_eq!(said, expected);
    let [(first, on_card), (second, on_unit)] = &products[..] else { panic!("{products:?}") };
    assert_eq!((first.as_str(), second.as_str()), ("MTL0", "MTL1"));
    assert!(on_card > on_unit && *on_unit > 0, "{products:?}");
}

#[test]
fn a_card_that_is_unplugged_is_an_error() {
    // while it is loaded, before the first token, and in the middle of the text; the first command buffer is the probe's
    for number in ["2", "6", "21"] {
        let run = ["run", STORY, "--max-tokens", "12", "--temperature", "0", "--quiet"];
        let mut command = command(Some("amd-rdna2-egpu"), &run);
        let output = command.env("INFERNO_METAL_SIM_FAULTS", format!("unplug={number}")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{number}: {said}");
        assert!(said.contains("the device MTL0 is gone"), "{number}: {said}");
    }
}

#[test]
fn a_model_says_on_the_gpu_what_it_says_on_the_cpu() {
    let run = |gpu, device| {
        let arguments = [
            "run",
            STORY,
            "--max-tokens",
            "4",
            "--temperature",
            "0",
            "--json",
            "--operations",
            "--device",
            device,
        ];
        let events = events(&mut command(gpu, &arguments));
        let said: String = events.iter().filter_map(|e| e["text"].as_str()).collect();
        (said, events.last().unwrap()["operations"].clone())
    };
    let (on_cpu, _) = run(None, "cpu");
    let (on_gpu, operations) = run(Some("amd-rdna1"), "MTL0");
    assert_eq!(on_cpu, on_gpu);
    let products: Vec<_> =
        operations.as_array().unwrap().iter().filter(|o| o["operation"] == "MUL_MAT").collect();
    assert!(products.len() == 1 && products[0]["device"] == "MTL0", "{operations}");
}
