//! The self-test: a device computes what a model will, and its results are held against the CPU's, before they are trusted.

use super::{
    Check, Device, Fallback, Finding, Placement, Plan, Tuning, Verdict, Wishes,
    policy::{self, Attention, ModelFacts},
    tuning,
    verdicts::{self, Key},
};
use crate::{
    error::{Error, Result},
    gguf::{Gguf, Value},
    sys, version,
};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{
    collections::VecDeque,
    path::Path,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// The smallest buffer that is tried as a large one: that of a small model's context.
const SMALL_BLOCK: u64 = 16 << 20;
/// The operation whose failure is cured by leaving flash attention out.
const FLASH_ATTENTION: &str = "FLASH_ATTN_EXT";
/// The first layers, of which attention is a part.
const CHAIN: &str = "CHAIN";

/// Of a test that did not come to an end: the backend did not start, or an assertion failed.
const START: &str = "START";

/// How a model is tested.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Test<'a> {
    pub(crate) path: &'a Path,
    pub(crate) gguf: &'a Gguf,
    pub(crate) attention: Attention,
    /// Bytes of the largest buffer that is tried; the plan may allow less.
    pub(crate) largest: u64,
    /// Whether verdicts that were reached before count.
    pub(crate) trust_earlier: bool,
}

/// Where a model goes after the self-test, and what that changed.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) placement: Placement,
    pub(crate) fallbacks: Vec<Fallback>,
}

/// Tests the plan, and where it fails the safer ones, down to the CPU. `go_on` is asked between tests.
pub(crate) fn settle(
    mut placement: Placement,
    wishes: Wishes,
    test: &Test<'_>,
    mut go_on: impl FnMut() -> bool,
) -> Result<Settled> {
    let mut fallbacks: Vec<Fallback> = vec![];
    while !placement.plan.devices.is_empty() {
        let failed = match try_candidates(&placement, test, &mut go_on)? {
            Ok((plan, mut more)) => {
                fallbacks.append(&mut more);
                placement.plan = plan;
                break;
            }
            Err(mut failed) => {
                let last = failed.pop().expect("the first candidate failed at least");
                fallbacks.append(&mut failed);
                last
            }
        };
        // without this device; the others share its part
        placement.chosen.retain(|d| d.name != failed.device);
        let rest: Vec<&Device> = placement.chosen.iter().filter(|d| d.facts.is_some()).collect();
        let names: Vec<&str> = rest.iter().map(|d| d.name.as_str()).collect();
        let then = match names.is_empty() {
            true => "the CPU does everything".to_owned(),
            false => format!("{} does its part", names.join(", ")),
        };
        let fallback = Fallback { then, ..failed };
        placement.plan = if rest.is_empty() {
            placement.plan.on_cpu(test.attention, &fallback.to_string())
        } else {
            policy::plan(&rest, &ModelFacts::of(test.gguf), wishes)
        };
        fallbacks.push(fallback);
    }
    for fallback in &fallbacks {
        tracing::warn!("{fallback}");
    }
    // those on the way to the last one are in the log
    if let Some(note) = fallbacks.last().map(ToString::to_string)
        && !placement.plan.notes.contains(&note)
    {
        placement.plan.notes.push(note);
    }
    Ok(Settled { placement, fallbacks })
}

/// The first candidate that passes, with the failures before it; or the failures of all.
type Tried = std::result::Result<(Plan, Vec<Fallback>), Vec<Fallback>>;

fn try_candidates(placement: &Placement, test: &Test<'_>, go_on: &mut dyn FnMut() -> bool) -> Result<Tried> {
    let mut queue: VecDeque<Plan> = placement.plan.candidates(test.attention).into();
    let mut tried: Vec<Plan> = vec![];
    let mut fallbacks: Vec<Fallback> = vec![];
    let mut attention: Option<String> = None;
    while let Some(mut candidate) = queue.pop_front() {
        if let Some(reason) = attention.as_deref().filter(|_| candidate.flash_attention.value) {
            candidate = candidate.without_flash_attention(reason);
        }
        if tried.contains(&candidate) {
            continue;
        }
        tried.push(candidate.clone());
        if !go_on() {
            return Err(Error::LoadCancelled);
        }
        if let Some(last) = fallbacks.last_mut() {
            last.then = difference(&placement.plan, &candidate);
        }
        let may_leave_out = candidate.flash_attention.value && test.attention.demand().is_none();
        let (device, verdict) = match examine(placement, &candidate, test)? {
            Examined::Passed { without_attention: Some(device) } if may_leave_out => {
                // llama.cpp would leave it out as well, but what it computes instead would not have been tested
                attention = Some(format!("{device} has no kernel for it"));
                queue.push_front(candidate);
                continue;
            }
            Examined::Passed { .. } => return Ok(Ok((candidate, fallbacks))),
            Examined::Failed { device, verdict } => (device, verdict),
        };
        if may_leave_out && is_attention_alone(&verdict) {
            attention = Some(format!("it failed the self-test of {device}: {}", verdict.reason()));
            queue.push_front(candidate);
        }
        fallbacks.push(Fallback { device, reason: verdict.reason(), then: String::new() });
        // what an assertion leaves behind on the device is unknown: commands that wait may never end
        if verdict.checks.iter().any(|check| check.operation == START) {
            break;
        }
    }
    Ok(Err(fallbacks))
}

/// What a plan does otherwise, in words.
fn difference(from: &Plan, to: &Plan) -> String {
    let mut words = vec![];
    for (from, to) in from.devices.iter().zip(&to.devices) {
        if from.encoder.value != to.encoder.value {
            words.push(format!("a {} encoder", to.encoder.value));
        }
        if from.buffers.value != to.buffers.value {
            words.push(format!("{} buffers", to.buffers.value));
        }
        if from.shapes.value != to.shapes.value {
            words.push("the backend's own shapes of products".into());
        }
        if from.maps_file.value != to.maps_file.value {
            words.push("no mapped file".into());
        }
        if from.block.value != to.block.value {
            words.push(format!("blocks of {} MiB", to.block.value >> 20));
        }
        if from.command_buffers.value != to.command_buffers.value {
            words.push("shorter command buffers".into());
        }
    }
    if from.flash_attention.value != to.flash_attention.value {
        words.push("no flash attention".into());
    }
    words.dedup();
    format!("tried in its place: {}", words.join(", "))
}

/// What the devices of a plan came to.
enum Examined {
    /// All are right; this one, if any, leaves flash attention to the CPU.
    Passed { without_attention: Option<String> },
    /// The first that is not.
    Failed { device: String, verdict: Verdict },
}

fn examine(placement: &Placement, plan: &Plan, test: &Test<'_>) -> Result<Examined> {
    let mut without_attention = None;
    for one in &plan.devices {
        let Some(device) = placement.chosen.iter().find(|d| d.name == one.device) else { continue };
        let verdict = verdict(device, plan, test)?;
        if !verdict.passed {
            return Ok(Examined::Failed { device: device.name.clone(), verdict });
        }
        let mut checks = verdict.checks.iter();
        if checks.any(|check| check.operation == FLASH_ATTENTION && check.finding == Finding::OnCpu) {
            without_attention.get_or_insert_with(|| device.name.clone());
        }
    }
    Ok(Examined::Passed { without_attention })
}

/// Whether flash attention is wrong, and nothing else but what it is a part of.
fn is_attention_alone(verdict: &Verdict) -> bool {
    verdict.failures().any(|check| check.operation == FLASH_ATTENTION)
        && verdict.failures().all(|check| [FLASH_ATTENTION, CHAIN].contains(&check.operation.as_str()))
}

/// Whether a context with this attention may be made of a model that was loaded with another, and whether it may use flash
/// attention.
///
/// # Errors
/// [`Error::DeviceWrong`] where a device fails its self-test with it; [`Error::DeviceLost`] where one is gone.
pub(crate) fn attend(placement: &Placement, test: &Test<'_>) -> Result<bool> {
    let demand = test.attention.demand();
    let mut plan = placement.plan.clone();
    if let Some(demand) = &demand {
        plan.flash_attention = demand.clone();
    }
    loop {
        let may_leave_out = plan.flash_attention.value && demand.is_none();
        match examine(placement, &plan, test)? {
            Examined::Passed { without_attention: Some(_) } if may_leave_out => {}
            Examined::Passed { .. } => return Ok(plan.flash_attention.value),
            Examined::Failed { verdict, .. } if may_leave_out && is_attention_alone(&verdict) => {}
            Examined::Failed { device, verdict } => {
                tracing::warn!(
                    "{device} failed its self-test with {:?}: {}",
                    test.attention,
                    verdict.reason()
                );
                return Err(Error::DeviceWrong { device, what: verdict.reason() });
            }
        }
        plan.flash_attention.value = false;
    }
}

/// The verdict on one device of a plan, reached before or now. One of which nothing can be said has failed: what is not
/// tested is not trusted.
///
/// # Errors
/// [`Error::DeviceLost`] where the device is gone.
pub(crate) fn verdict(device: &Device, plan: &Plan, test: &Test<'_>) -> Result<Verdict> {
    let one = plan
        .devices
        .iter()
        .find(|d| d.device == device.name)
        .expect("the plan's own devices are asked about");
    let block = one.block.value.min(test.largest.max(SMALL_BLOCK));
    let key = key(device, plan, block, test);
    let directory = verdicts::directory();
    if test.trust_earlier
        && let Some(verdict) = directory.as_deref().and_then(|dir| verdicts::find(dir, &key))
    {
        tracing::debug!(device = %device.name, passed = verdict.passed, "the self-test was done before");
        return Ok(verdict);
    }
    let start = Instant::now();
    let options = sys::SelfTestOptions {
        cache_k: test.attention.cache_k,
        cache_v: test.attention.cache_v,
        flash_attention: plan.flash_attention.value,
        threads: 2,
        columns: test.attention.columns,
    };
    let failed = |reason: String| {
        vec![Check {
            operation: START.into(),
            what: device.description.clone(),
            finding: Finding::Failed,
            reason,
            error: None,
            limit: 0.0,
        }]
    };
    let (checks, multiplications) = match sys::SelfTest::new(test.path, &options) {
        Ok(mut native) => {
            let checks = match native.run(device.index, block, &[(device.index, one.native())]) {
                Ok(checks) => checks.into_iter().map(Check::new).collect(),
                // of a backend that does not start, or an assertion
                Err(failure) => failed(failure.to_string()),
            };
            (checks, native.work())
        }
        // what stops the test most often stops the load, or the context, as well, and is told then
        Err(failure) => (failed(format!("there is no self-test of this model: {failure}")), 0.0),
    };
    if let Some(lost) = super::lost(std::slice::from_ref(&device.name)) {
        return Err(lost);
    }
    let verdict = Verdict {
        passed: !checks.iter().any(Check::is_failure),
        model: model_in_words(test.gguf),
        plan: plan.in_words(one),
        multiplications,
        seconds: start.elapsed().as_secs_f64(),
        at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs()),
        checks,
    };
    tracing::info!(
        device = %device.name,
        passed = verdict.passed,
        checks = verdict.checks.len(),
        seconds = verdict.seconds,
        reason = verdict.reason(),
        "self-test"
    );
    // an error of the device may be of the moment: a buffer that was refused, a command that took too long
    if !verdict.checks.iter().any(|check| check.finding == Finding::Failed)
        && let Some(dir) = directory
        && let Err(error) = verdicts::keep(&dir, &key, &verdict)
    {
        tracing::warn!("the verdict of the self-test cannot be kept: {error}");
    }
    Ok(verdict)
}

fn tuning_key(device: &Device) -> tuning::Key {
    tuning::Key { device: device_key(device), system: system(), build: build() }
}

/// What was measured on a device, where that was kept.
pub(super) fn tuned(device: &Device) -> Option<Tuning> {
    device.facts.as_ref()?;
    tuning::find(&tuning_key(device))
}

/// Keeps what was measured on a device; none: forgets it.
pub(crate) fn keep_tuning(device: &Device, tuning: Option<&Tuning>) -> Result<()> {
    let key = tuning_key(device);
    let result = match tuning {
        Some(tuning) => tuning::keep(&key, tuning),
        None => tuning::forget(&key).map(|_| ()),
    };
    result.map_err(|e| Error::io("write", verdicts::cache("tuning").unwrap_or_default(), e))
}

/// The latest verdict on a device that was kept, with any model and plan.
pub(super) fn latest(device: &Device) -> Option<Verdict> {
    device.facts.as_ref()?;
    verdicts::latest(&verdicts::directory()?, &device_key(device), &system(), &build())
}

fn model_in_words(gguf: &Gguf) -> String {
    let architecture = gguf.architecture().unwrap_or("unknown architecture");
    match gguf.quantisation() {
        Some(quantisation) => format!("{architecture}, {quantisation}"),
        None => architecture.to_owned(),
    }
}

fn key(device: &Device, plan: &Plan, block: u64, test: &Test<'_>) -> Key {
    let one = plan.devices.iter().find(|d| d.device == device.name).map(super::DevicePlan::native);
    Key {
        device: device_key(device),
        system: system(),
        build: build(),
        model: model_hash(test.gguf),
        plan: format!(
            "{one:?}, flash attention {}, cache {:?} {:?}, buffer of {block}, up to {} columns",
            plan.flash_attention.value,
            test.attention.cache_k,
            test.attention.cache_v,
            test.attention.columns
        ),
    }
}

fn device_key(device: &Device) -> String {
    let mut facts = device.facts.clone();
    if let Some(facts) = &mut facts {
        facts.registry_id = 0; // another one after each restart
    }
    json!({"name": device.description, "memory": device.memory_total, "facts": facts}).to_string()
}

/// The system; with a simulated device also what that was told to do wrong.
pub(crate) fn system() -> String {
    let mut text = sys::system();
    if cfg!(feature = "metal-sim") {
        let told = std::env::vars().filter(|(name, _)| {
            ["FAULTS", "SEED", "MODE"].iter().any(|end| name.strip_prefix("INFERNO_METAL_SIM_") == Some(end))
        });
        let mut told: Vec<String> = told.map(|(name, value)| format!(" {name}={value}")).collect();
        told.sort();
        text.push_str(" simulated");
        text.extend(told);
    }
    text
}

fn build() -> String {
    let native = version::native_version();
    format!("{} {} {} {}", env!("CARGO_PKG_VERSION"), native, native.flags, env!("NATIVE_OBJECTS"))
}

/// What decides which operations a model needs: numbers and switches of its header, and its tensors.
fn model_hash(gguf: &Gguf) -> String {
    let mut hash = Sha256::new();
    for (key, value) in
        gguf.metadata().filter(|(key, _)| !key.starts_with("general.") && !key.starts_with("tokenizer."))
    {
        if !matches!(value, Value::Array(_)) {
            hash.update(format!("{key}={value:?};"));
        }
    }
    for tensor in gguf.tensors() {
        hash.update(format!("{} {:?} {:?};", tensor.name, tensor.kind, tensor.dims));
    }
    hash.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect()
}
