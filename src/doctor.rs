//! The examination of one device: its self-test, copies, memory, the speed of the built-in model and its text.

use crate::{
    device::{self, Attention, Device, DeviceSelect, Fallback, Plan, Verdict, Wishes},
    error::Result,
    gguf::Gguf,
    model::{LoadOptions, LoadedModel, ModelSource, Token, Tokenize},
    session::{ContextOptions, Session},
    sys::{self, engine},
};
use serde::Serialize;
use std::{ops::ControlFlow, path::Path, sync::Arc, time::Instant};

/// The text whose continuation is compared with the CPU's.
const PROMPT: &str = "Once upon a time, there was a little";
/// Tokens of the continuation.
const ANSWER: usize = 16;
/// Tokens of the prompt that is timed, and tokens that are generated.
const TIMED: (usize, usize) = (64, 16);
/// Bytes of each copy that is timed.
const COPY: usize = 16 << 20;
/// The first buffer that is tried; each next one is twice as large.
const FIRST_BUFFER: u64 = 64 << 20;
/// How much less probable, in nats, a token of the device may be for the CPU than the CPU's own: the CPU rounds
/// activations to 8 bits where weights are quantised, other devices do not.
const TIE: f32 = 0.25;

/// How fast copies are.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CopySpeed {
    /// Bytes a second to the device.
    pub to_device: f64,
    /// Bytes a second from the device.
    pub from_device: f64,
    /// Whether what came back is what was sent.
    pub same: bool,
}

/// How large a buffer may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MemorySteps {
    /// The largest buffer that was given, in bytes; 0 where none was.
    pub given: u64,
    /// The size that was refused, in bytes.
    pub refused: Option<u64>,
}

/// The built-in model on the device.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ModelRun {
    /// The devices that it ran on in the end, by name.
    pub devices: Vec<String>,
    /// Tokens of the prompt that was timed.
    pub prompt_tokens: usize,
    /// Tokens of it a second.
    pub prompt_tps: f64,
    /// Tokens that were generated.
    pub generated_tokens: usize,
    /// Tokens a second.
    pub generated_tps: f64,
    /// Whether its text is the CPU's, but for tokens that are almost equally probable.
    pub text_is_right: bool,
}

/// What one part of an examination came to: a result, or the error that it ended with.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Part<T> {
    /// It was done.
    Done(T),
    /// It ended with this error.
    Failed(String),
    /// There is nothing to do on this device, or nothing to do it with.
    Skipped,
}

/// Something that is not well, in words, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Complaint {
    /// What is not well.
    pub what: String,
    /// What to do next.
    pub advice: String,
}

/// What the examination of one device found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Examination {
    /// The device.
    pub device: Device,
    /// Whether the device is a simulated one, of which nothing says how a card behaves.
    pub simulated: bool,
    /// How it would be used, before the self-test.
    pub plan: Part<Plan>,
    /// The self-test with that plan.
    pub self_test: Part<Verdict>,
    /// What is done otherwise, as the self-test failed.
    pub fallbacks: Vec<Fallback>,
    /// How fast copies are.
    pub copies: Part<CopySpeed>,
    /// How large a buffer may be.
    pub memory: Part<MemorySteps>,
    /// The built-in model.
    pub model: Part<ModelRun>,
    /// What is not well; nothing where all is.
    pub complaints: Vec<Complaint>,
}

/// The operating system that devices are examined under: its name, version and processor.
pub fn system() -> String {
    device::system()
}

/// Examines a device with the model that is built in. Verdicts of earlier self-tests do not count. `says` is told what is
/// done next.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) where the model cannot be written to a temporary file. What fails on the device is a part of the result.
#[cfg(feature = "builtin-model")]
pub fn examine(device: &Device, says: &mut dyn FnMut(&str)) -> Result<Examination> {
    let file = crate::model::builtin_file()?;
    examine_with(device, file.path(), says)
}

/// The same with the model of a file; a small one is enough.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) and [`Error::InvalidGguf`](crate::Error::InvalidGguf) where the file is no model.
pub fn examine_with(device: &Device, path: &Path, says: &mut dyn FnMut(&str)) -> Result<Examination> {
    let gguf = Gguf::open(path)?;
    let mut found = Examination {
        device: device.clone(),
        simulated: cfg!(feature = "metal-sim") && device.facts.is_some(),
        plan: Part::Skipped,
        self_test: Part::Skipped,
        fallbacks: vec![],
        copies: Part::Skipped,
        memory: Part::Skipped,
        model: Part::Skipped,
        complaints: vec![],
    };
    if device.facts.is_some() {
        let select = DeviceSelect::Named(device.name.clone());
        match select.place(&gguf, Wishes::default()) {
            Ok(placement) => {
                says("the operations that a model needs");
                found.self_test = self_test(device, &placement.plan, path, &gguf);
                let native = placement.native().into_iter().next().map(|(_, plan)| plan);
                let block = placement.plan.devices.first().map_or(0, |d| d.block.value);
                found.plan = Part::Done(placement.plan);
                says("copies to the device and back");
                found.copies = match sys::probe_copies(device.index, native.as_ref(), COPY) {
                    Ok(c) => Part::Done(CopySpeed {
                        to_device: c.to_device,
                        from_device: c.from_device,
                        same: c.same,
                    }),
                    Err(failure) => Part::Failed(failure.to_string()),
                };
                says("buffers of growing size");
                found.memory = memory(device, native.as_ref(), block);
            }
            Err(error) => found.plan = Part::Failed(error.to_string()),
        }
    }
    says("the built-in model");
    match model(device, path) {
        Ok((run, fallbacks)) => {
            found.model = Part::Done(run);
            found.fallbacks = fallbacks;
        }
        Err(error) => found.model = Part::Failed(error.to_string()),
    }
    found.complaints = complaints(&found);
    Ok(found)
}

fn self_test(device: &Device, plan: &Plan, path: &Path, gguf: &Gguf) -> Part<Verdict> {
    let test = device::Test {
        path,
        gguf,
        attention: Attention::default(),
        largest: gguf.tensor_bytes(),
        trust_earlier: false,
    };
    match device::test(device, plan, &test) {
        Ok(verdict) => Part::Done(verdict),
        Err(error) => Part::Failed(error.to_string()),
    }
}

fn memory(device: &Device, plan: Option<&sys::DevicePlan>, block: u64) -> Part<MemorySteps> {
    let mut steps = MemorySteps { given: 0, refused: None };
    let most = block.min(device.memory_total / 2);
    let sizes = std::iter::successors(Some(FIRST_BUFFER), |bytes| bytes.checked_mul(2));
    for bytes in sizes.take_while(|bytes| *bytes <= most) {
        match sys::probe_memory(device.index, plan, usize::try_from(bytes).unwrap_or(usize::MAX)) {
            Ok(true) => steps.given = bytes,
            Ok(false) => {
                steps.refused = Some(bytes);
                break;
            }
            Err(failure) => return Part::Failed(failure.to_string()),
        }
    }
    Part::Done(steps)
}

/// The model, as it runs by default on this device.
fn model(device: &Device, path: &Path) -> Result<(ModelRun, Vec<Fallback>)> {
    let load = |select| {
        let options = LoadOptions { device: select, mmap: Some(false), ..LoadOptions::default() };
        let source = ModelSource::File(path.into());
        LoadedModel::load_source(&source, &options, Attention::default(), &mut |_| ControlFlow::Continue(()))
    };
    let model = load(DeviceSelect::Named(device.name.clone()))?;
    let reference = load(DeviceSelect::Cpu)?;
    let options = ContextOptions { context_size: Some(256), ..ContextOptions::default() };
    let mut session = Session::new(&model, &options)?;
    let prompt = model.tokenize(PROMPT, Tokenize { add_special: true, parse_special: false })?;

    let answer = continuation(&mut session, &prompt)?;
    let text_is_right = is_right(&reference, &options, &prompt, &answer)?;

    let tokens: Vec<Token> = prompt.iter().copied().cycle().take(TIMED.0).collect();
    session.rewind(0)?;
    let start = Instant::now();
    session.prefill(&tokens, |_| ControlFlow::Continue(()))?;
    session.logits()?;
    let for_prompt = start.elapsed().as_secs_f64();
    let start = Instant::now();
    for token in &tokens[..TIMED.1] {
        session.decode(*token)?;
        session.logits()?;
    }
    let run = ModelRun {
        devices: model.devices().to_vec(),
        prompt_tokens: TIMED.0,
        prompt_tps: TIMED.0 as f64 / for_prompt,
        generated_tokens: TIMED.1,
        generated_tps: TIMED.1 as f64 / start.elapsed().as_secs_f64(),
        text_is_right,
    };
    Ok((run, model.fallbacks().to_vec()))
}

/// The most probable continuation.
fn continuation(session: &mut Session, prompt: &[Token]) -> Result<Vec<Token>> {
    session.prefill(prompt, |_| ControlFlow::Continue(()))?;
    let mut answer = vec![];
    for _ in 0..ANSWER {
        let token = most_probable(session.logits()?)
            .ok_or_else(|| engine("logits", &sys::Failure::Refused("none of them is a number".into())))?;
        answer.push(token);
        session.decode(token)?;
    }
    Ok(answer)
}

fn most_probable(logits: &[f32]) -> Option<Token> {
    let best = logits.iter().enumerate().filter(|(_, l)| l.is_finite()).max_by(|a, b| a.1.total_cmp(b.1))?.0;
    Token::try_from(best).ok()
}

/// Whether the CPU could have said the same: each token is its own choice, or almost as probable.
fn is_right(
    model: &Arc<LoadedModel>,
    options: &ContextOptions,
    prompt: &[Token],
    answer: &[Token],
) -> Result<bool> {
    let mut session = Session::new(model, options)?;
    session.prefill(prompt, |_| ControlFlow::Continue(()))?;
    for token in answer {
        let logits = session.logits()?;
        let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let ours =
            usize::try_from(*token).ok().and_then(|at| logits.get(at)).copied().unwrap_or(f32::NEG_INFINITY);
        if best - ours > TIE || ours.is_nan() {
            return Ok(false);
        }
        session.decode(*token)?;
    }
    Ok(true)
}

fn complaints(found: &Examination) -> Vec<Complaint> {
    const REPORT: &str = "write a report with `inferno doctor --report FILE` and attach it to an issue";
    let mut complaints = vec![];
    let mut complain =
        |what: String, advice: &str| complaints.push(Complaint { what, advice: advice.to_owned() });
    if let Part::Failed(error) = &found.plan {
        complain(
            format!("it cannot be used: {error}"),
            "choose another device with --device, or restart the machine",
        );
    }
    match &found.self_test {
        Part::Done(verdict) if !verdict.passed => {
            let then = found.fallbacks.last().map_or("models are run in a safer way", |f| f.then.as_str());
            complain(
                format!("its self-test failed: {}", verdict.reason()),
                &format!(
                    "nothing has to be done: {then}. A newer version of the system may bring a better driver; {REPORT}"
                ),
            );
        }
        Part::Failed(error) => complain(format!("its self-test ended with an error: {error}"), REPORT),
        _ => {}
    }
    match &found.copies {
        Part::Done(copies) if !copies.same => complain(
            "what is copied to it comes back changed".into(),
            "do not use it: choose another device with --device",
        ),
        Part::Failed(error) => complain(format!("copies failed: {error}"), REPORT),
        _ => {}
    }
    match &found.memory {
        Part::Done(MemorySteps { given, refused: Some(refused) }) => {
            let mib = |bytes: &u64| format!("{} MiB", bytes >> 20);
            let largest = if *given == 0 { "none".into() } else { mib(given) };
            complain(
                format!("it refuses a buffer of {}; the largest that it gave is {largest}", mib(refused)),
                "close programs that use the graphics memory, or take a smaller model or context",
            );
        }
        Part::Failed(error) => complain(format!("its memory could not be tried: {error}"), REPORT),
        _ => {}
    }
    match &found.model {
        Part::Done(run) if !run.text_is_right => {
            complain(
                "the built-in model's text differs from the CPU's".into(),
                &format!("choose --device cpu, and {REPORT}"),
            );
        }
        Part::Failed(error) => complain(
            format!("the built-in model failed: {error}"),
            &format!("choose --device cpu, and {REPORT}"),
        ),
        _ => {}
    }
    complaints
}
