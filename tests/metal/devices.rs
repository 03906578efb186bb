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
