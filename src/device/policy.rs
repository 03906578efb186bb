//! How a model is run on the devices that it is given: a pure function of facts, model and settings.

use super::{Device, DeviceKind, Facts, Product, TunedProduct, Tuning, Vendor, split};
use crate::{
    gguf::{Gguf, TensorInfo, TensorType},
    sys,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

/// What was decided, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Choice<T> {
    /// What was decided.
    pub value: T,
    /// Why, in words.
    pub reason: String,
}

impl<T> Choice<T> {
    pub(super) fn new(value: T, reason: impl Into<String>) -> Self {
        Self { value, reason: reason.into() }
    }
}

/// How the operations of a graph are ordered on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Encoder {
    /// Those that do not depend on each other may overlap; barriers order the others.
    Concurrent,
    /// One after the other.
    Serial,
}

/// Where the buffers of a GPU lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Buffers {
    /// In the memory of the host.
    Shared,
    /// A copy in the memory of each, kept equal by the driver.
    Managed,
    /// In the memory of the GPU.
    Private,
}

impl fmt::Display for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Encoder::Concurrent => "concurrent",
            Encoder::Serial => "serial",
        })
    }
}

impl fmt::Display for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Buffers::Shared => "shared",
            Buffers::Managed => "managed",
            Buffers::Private => "private",
        })
    }
}

/// How one graphics device is used.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DevicePlan {
    /// The device, by its short name.
    pub device: String,
    /// Layers of the model, the output counting as one.
    pub layers: Choice<u32>,
    /// The order of operations.
    pub encoder: Choice<Encoder>,
    /// Where weights, KV cache and intermediate results lie.
    pub buffers: Choice<Buffers>,
    /// Whether weights are read where the host has mapped their file.
    pub maps_file: Choice<bool>,
    /// Bytes of the buffer that is kept for copies, which are made in halves of it; 0: each copy wraps the host's memory.
    pub staging: Choice<u32>,
    /// The most bytes of one allocation, but for a tensor that is larger.
    pub block: Choice<u64>,
    /// Parts into which a graph is cut, beside its beginning.
    pub command_buffers: Choice<u32>,
    /// Products of the model's matrices that are divided otherwise than the backend does by itself.
    pub shapes: Choice<Vec<TunedProduct>>,
}

/// How a model is run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Plan {
    /// The graphics devices; none where the CPU does everything.
    pub devices: Vec<DevicePlan>,
    /// Layers that the CPU computes.
    pub cpu_layers: u32,
    /// Whether the file is mapped into memory rather than read.
    pub mmap: Choice<bool>,
    /// Whether attention may be computed without storing its matrix, where a context leaves it open.
    pub flash_attention: Choice<bool>,
    /// What else is to be known.
    pub notes: Vec<String>,
}

/// What the policy needs to know of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModelFacts {
    /// Bytes of each layer, the last one being the output.
    pub(crate) layers: Vec<u64>,
    /// Whether weights have the type bf16.
    pub(crate) bf16: bool,
    /// Its matrices, each kind once.
    pub(crate) matrices: BTreeSet<Matrix>,
    /// Experts that a token chooses.
    pub(crate) experts_used: u64,
}

/// A kind of matrix that tokens are multiplied with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Matrix {
    pub(crate) kind: TensorType,
    pub(crate) row_length: u64,
    pub(crate) rows: u64,
    /// Experts that have one each; 0: it is no expert's.
    pub(crate) experts: u64,
}

impl ModelFacts {
    pub(crate) fn of(gguf: &Gguf) -> Self {
        Self {
            layers: split::layer_bytes(gguf),
            bf16: gguf.tensors().iter().any(|t| t.kind == TensorType::BF16),
            matrices: matrices(gguf),
            experts_used: gguf
                .architecture()
                .and_then(|a| gguf.get_u64(&format!("{a}.expert_used_count")))
                .unwrap_or(0),
        }
    }
}

fn matrices(gguf: &Gguf) -> BTreeSet<Matrix> {
    // the embedding is looked up, and multiplied only where there is no output of its own
    let multiplied = |name: &str| name != "token_embd.weight" || gguf.tensor("output.weight").is_none();
    let matrix = |t: &TensorInfo| {
        let (row_length, rows, experts) = match t.dims[..] {
            [row_length, rows] | [row_length, rows, 1] | [row_length, rows, 1, 1] => (row_length, rows, 0),
            [row_length, rows, experts] | [row_length, rows, experts, 1] if t.name.contains("_exps.") => {
                (row_length, rows, experts)
            }
            _ => return None,
        };
        (rows > 1).then_some(Matrix { kind: t.kind, row_length, rows, experts })
    };
    let all = gguf.tensors().iter().filter(|t| t.name.ends_with(".weight") && multiplied(&t.name));
    all.filter_map(matrix).collect()
}

/// What a context is asked for, as far as it decides which operations its attention is made of, and which kernels they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attention {
    pub(crate) cache_k: sys::CacheKind,
    pub(crate) cache_v: sys::CacheKind,
    pub(crate) flash: sys::FlashAttention,
    /// The most columns that a graph may have.
    pub(crate) columns: u32,
}

impl Default for Attention {
    fn default() -> Self {
        Self {
            cache_k: sys::CacheKind::F16,
            cache_v: sys::CacheKind::F16,
            flash: sys::FlashAttention::Auto,
            columns: Self::COLUMNS,
        }
    }
}

impl Attention {
    /// Those of a ubatch by default. Contexts with a smaller one are not told apart.
    const COLUMNS: u32 = 512;

    /// With ubatches of so many tokens.
    pub(crate) fn with_ubatch(self, tokens: usize) -> Self {
        let columns = u32::try_from(tokens).ok().and_then(u32::checked_next_power_of_two).unwrap_or(u32::MAX);
        Self { columns: columns.max(Self::COLUMNS), ..self }
    }

    /// Whether flash attention is used, where that is not left to the plan, and why.
    pub(super) fn demand(&self) -> Option<Choice<bool>> {
        match self.flash {
            sys::FlashAttention::On => Some(Choice::new(true, "the settings say so")),
            sys::FlashAttention::Off => Some(Choice::new(false, "the settings say so")),
            sys::FlashAttention::Auto if self.cache_v.is_quantised() => {
                Some(Choice::new(true, "a quantised V cache needs it"))
            }
            sys::FlashAttention::Auto => None,
        }
    }
}

/// What the settings say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wishes {
    pub(crate) mmap: Option<bool>,
    pub(crate) attention: Attention,
}

/// Two halves: one is filled while the other is copied from.
const STAGING: u32 = 16 << 20;
/// Some cards refuse a buffer of 4 GiB although they say that they take it; blocks of this size were as fast.
const BLOCK: u64 = 1 << 30;
/// The most parts that the backend can cut a graph into: it has room for eight command buffers.
const PARTS: u32 = 7;

/// Decides how these devices, at least one, run the model.
pub(crate) fn plan(devices: &[&Device], model: &ModelFacts, wishes: Wishes) -> Plan {
    let graphics: Vec<(&Device, &Facts)> =
        devices.iter().filter_map(|d| Some((*d, d.facts.as_ref()?))).collect();
    let all = u32::try_from(model.layers.len()).unwrap_or(u32::MAX);
    let (counts, reason) = split::layers(&graphics, &model.layers);
    let on_devices: u32 = counts.iter().sum();
    let plans = graphics
        .iter()
        .zip(&counts)
        .map(|((device, facts), layers)| one(device, facts, model, Choice::new(*layers, &reason), wishes))
        .collect::<Vec<_>>();
    Plan {
        cpu_layers: all - on_devices,
        mmap: mmap(&graphics, wishes),
        flash_attention: wishes.attention.demand().unwrap_or_else(|| flash_attention(&graphics)),
        notes: notes(&graphics, model),
        devices: plans,
    }
}

fn one(
    device: &Device,
    facts: &Facts,
    model: &ModelFacts,
    layers: Choice<u32>,
    wishes: Wishes,
) -> DevicePlan {
    let apple = facts.vendor == Vendor::Apple;
    let encoder = if apple {
        Choice::new(Encoder::Concurrent, "Apple's GPUs order memory on barriers")
    } else if facts.unified_memory {
        Choice::new(
            Encoder::Serial,
            "nobody has shown that this GPU orders memory on the barriers of a concurrent encoder",
        )
    } else {
        Choice::new(
            Encoder::Serial,
            "drivers of GPUs with their own memory do not order memory on the barriers of a concurrent encoder \
             (llama.cpp 19563, 25866)",
        )
    };
    let (buffers, maps_file) = match (facts.unified_memory, wishes.mmap) {
        (true, mmap) => (
            Choice::new(Buffers::Shared, "it has one memory with the CPU, so that a copy would gain nothing"),
            match mmap {
                Some(false) => Choice::new(false, "the settings say so"),
                _ => Choice::new(true, "it reads the same memory as the CPU"),
            },
        ),
        (false, Some(true)) => (
            Choice::new(Buffers::Private, "what is computed stays in the card's own memory"),
            Choice::new(
                true,
                "the settings say so; weights are read over the link to the host for every token, which was measured \
                 to be about ten times slower",
            ),
        ),
        (false, _) => (
            measured_buffers(device).unwrap_or_else(|| Choice::new(Buffers::Private, private_reason(facts))),
            Choice::new(false, "a mapped file would be read over the link to the host for every token"),
        ),
    };
    let (staging, block) = if facts.unified_memory {
        (
            Choice::new(0, "nothing is copied between memories"),
            Choice::new(facts.max_buffer_size, "the most that the driver allows"),
        )
    } else {
        (
            Choice::new(
                STAGING,
                "a new wrap of the host's memory for each copy uses up what the system has for them",
            ),
            Choice::new(
                facts.max_buffer_size.min(BLOCK),
                "some cards refuse a buffer of 4 GiB although they say that they take it",
            ),
        )
    };
    let command_buffers = if apple {
        Choice::new(1, "few are fastest, and Apple's drivers do not stop long ones")
    } else {
        Choice::new(PARTS, "the driver stops command buffers that take long")
    };
    DevicePlan {
        device: device.name.clone(),
        layers,
        encoder,
        buffers,
        maps_file,
        staging,
        block,
        command_buffers,
        shapes: shapes(device.tuning.as_ref(), model),
    }
}

fn measured_buffers(device: &Device) -> Option<Choice<Buffers>> {
    let tuning = device.tuning.as_ref()?;
    let best = tuning.buffers.first()?;
    let others: Vec<_> = tuning.buffers[1..].iter().map(|b| b.buffers.to_string()).collect();
    let over = if others.is_empty() { String::new() } else { format!(", over {}", others.join(" and ")) };
    let by =
        if tuning.simulated { "read the fewest bytes over the link to the host" } else { "were the fastest" };
    Some(Choice::new(
        best.buffers,
        format!("of those that pass the self-test they {by}{over}: `inferno tune`"),
    ))
}

fn shapes(tuning: Option<&Tuning>, model: &ModelFacts) -> Choice<Vec<TunedProduct>> {
    let Some(tuning) = tuning else {
        return Choice::new(vec![], "the backend's own; `inferno tune` measures others");
    };
    let is_ours = |p: &Product| {
        model.matrices.iter().any(|m| {
            (m.kind.name(), m.row_length, m.rows, m.experts)
                == (p.matrix.as_str(), p.row_length, p.rows, p.experts)
        })
    };
    let ours: Vec<_> = tuning.products.iter().filter(|p| is_ours(&p.product)).cloned().collect();
    if ours.is_empty() {
        return Choice::new(vec![], "`inferno tune` found none that is faster for this model");
    }
    let sum = |cost: fn(&TunedProduct) -> f64| ours.iter().map(cost).sum::<f64>();
    let gain = sum(|p| p.before) / sum(|p| p.after);
    let what = if tuning.simulated { "fewer bytes and threadgroups, simulated" } else { "faster" };
    let reason = format!("`inferno tune`: {what}, with a gain of {gain:.2} over the backend's own");
    Choice::new(ours, reason)
}

fn private_reason(facts: &Facts) -> &'static str {
    if facts.location == super::Location::External {
        "weights belong into the card's own memory; one report has shared buffers a little faster on an external card"
    } else {
        "weights belong into the card's own memory: else each token reads them over the link to the host"
    }
}

const MAPPED: &str = "weights that are not packed are used where the system has cached the file";

fn mmap(graphics: &[(&Device, &Facts)], wishes: Wishes) -> Choice<bool> {
    match wishes.mmap {
        Some(mmap) => Choice::new(mmap, "the settings say so"),
        None if graphics.iter().any(|(_, facts)| !facts.unified_memory) => Choice::new(
            false,
            "weights are copied to the card, and pages of a mapped file would stay in the host's memory beside them",
        ),
        None => Choice::new(true, MAPPED),
    }
}

fn flash_attention(graphics: &[(&Device, &Facts)]) -> Choice<bool> {
    // llama.cpp has the last word: it asks the device about the very operation
    let reason = if graphics.is_empty() {
        "the CPU has it"
    } else if graphics.iter().all(|(_, facts)| facts.simdgroup_matrix) {
        "there are kernels for matrix units"
    } else if graphics.iter().all(|(_, facts)| facts.simdgroup_reduction) {
        "there are kernels that need no matrix units"
    } else {
        "there are kernels that need neither matrix units nor reductions over a simdgroup"
    };
    Choice::new(true, reason)
}

fn notes(graphics: &[(&Device, &Facts)], model: &ModelFacts) -> Vec<String> {
    let mut notes = vec![];
    for (device, facts) in graphics {
        if model.bf16 && !facts.bfloat {
            notes.push(format!(
                "{} has no bf16: the products with weights of that type run on the CPU",
                device.name
            ));
        }
        if device.kind == DeviceKind::IntegratedGpu {
            notes.push(format!(
                "{} is an integrated GPU, which may be slower than the CPU beside it",
                device.name
            ));
        }
        if facts.vendor != Vendor::Apple {
            let known = facts.profile.unwrap_or("no profile");
            notes.push(format!("{}: nothing was confirmed on hardware yet ({known})", device.name));
        }
    }
    notes
}

impl Plan {
    /// The plans to try, the best first: this one; then, where reports disagree, those with other buffers; last the safest,
    /// which gives up what is fast for what has gone wrong on no card. After all of them comes the CPU.
    pub(crate) fn candidates(&self, attention: Attention) -> Vec<Plan> {
        let mut plain = self.clone();
        for device in plain.devices.iter_mut().filter(|d| !d.shapes.value.is_empty()) {
            device.shapes = Choice::new(vec![], "the measured ones failed the self-test");
        }
        // there is a choice where the card has memory of its own, and hence a buffer for copies
        let with = |buffers: Buffers, reason: &str| {
            let mut plan = plain.clone();
            for device in
                plan.devices.iter_mut().filter(|d| d.staging.value > 0 && d.buffers.value != buffers)
            {
                device.buffers = Choice::new(buffers, reason);
            }
            plan
        };
        let mut serial = plain.clone();
        for device in serial.devices.iter_mut().filter(|d| d.encoder.value == Encoder::Concurrent) {
            device.encoder = Choice::new(Encoder::Serial, "a concurrent encoder failed the self-test");
        }
        let mut safest = plain.clone();
        for device in &mut safest.devices {
            let reason = "the plan before this one failed the self-test";
            device.encoder = Choice::new(Encoder::Serial, reason);
            device.maps_file = Choice::new(false, reason);
            device.block = Choice::new(device.block.value.min(BLOCK / 4), reason);
            device.command_buffers = Choice::new(PARTS, reason);
        }
        safest.mmap = Choice::new(false, "the plan before this one failed the self-test");
        if attention.demand().is_none() {
            safest.flash_attention = Choice::new(false, "the plan before this one failed the self-test");
        }
        let all = vec![
            self.clone(),
            plain.clone(),
            with(Buffers::Private, "the measured ones failed the self-test"),
            with(
                Buffers::Managed,
                "private buffers failed the self-test, and managed ones won on a Radeon Pro 5300M",
            ),
            with(Buffers::Shared, "private and managed buffers failed the self-test"),
            serial,
            safest,
        ];
        // what is the same as one before it was tried by then
        let mut distinct: Vec<Plan> = vec![];
        for plan in all {
            if !distinct.contains(&plan) {
                distinct.push(plan);
            }
        }
        distinct
    }

    /// This plan with everything on the CPU.
    pub(crate) fn on_cpu(&self, attention: Attention, reason: &str) -> Plan {
        Plan {
            devices: vec![],
            cpu_layers: self.cpu_layers + self.devices.iter().map(|d| d.layers.value).sum::<u32>(),
            mmap: Choice::new(true, MAPPED),
            flash_attention: attention.demand().unwrap_or_else(|| flash_attention(&[])),
            notes: vec![reason.to_owned()],
        }
    }
}

impl DevicePlan {
    pub(crate) fn native(&self) -> sys::DevicePlan {
        sys::DevicePlan {
            concurrent: self.encoder.value == Encoder::Concurrent,
            buffers: match self.buffers.value {
                Buffers::Shared => sys::DeviceBuffers::Shared,
                Buffers::Managed => sys::DeviceBuffers::Managed,
                Buffers::Private => sys::DeviceBuffers::Private,
            },
            shapes: self.shapes.value.iter().filter_map(TunedProduct::native).collect(),
            map_host_memory: self.maps_file.value,
            staging: self.staging.value,
            block: self.block.value,
            command_buffers: self.command_buffers.value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Location, tests::of_profile},
        *,
    };

    const MIB: u64 = 1 << 20;

    fn model() -> ModelFacts {
        let matrices =
            BTreeSet::from([Matrix { kind: TensorType::Q4_K, row_length: 2048, rows: 2048, experts: 0 }]);
        ModelFacts { layers: vec![100 * MIB; 17], bf16: false, matrices, experts_used: 0 }
    }

    fn of(profile: &str, wishes: Wishes) -> Plan {
        plan(&[&of_profile(0, profile)], &model(), wishes)
    }

    #[test]
    fn every_profile_has_a_plan_with_reasons() {
        for profile in super::super::profile::all() {
            let device = of_profile(0, profile.id);
            let facts = device.facts.clone().unwrap();
            let plan = of(profile.id, Wishes::default());
            let [one] = &plan.devices[..] else { panic!("{}: one device", profile.id) };
            let apple = profile.id.starts_with("apple");
            assert_eq!(one.encoder.value == Encoder::Concurrent, apple, "{}", profile.id);
            assert_eq!(one.buffers.value == Buffers::Shared, facts.unified_memory, "{}", profile.id);
            assert_eq!(one.maps_file.value, facts.unified_memory, "{}", profile.id);
            assert_eq!(plan.mmap.value, facts.unified_memory, "{}", profile.id);
            assert_eq!(one.staging.value > 0, !facts.unified_memory, "{}", profile.id);
            assert!(one.staging.value <= 16 << 20, "{}", profile.id);
            assert!(one.block.value <= facts.max_buffer_size, "{}", profile.id);
            assert!(facts.unified_memory || one.block.value <= 1 << 30, "{}", profile.id);
            assert_eq!(one.command_buffers.value, if apple { 1 } else { 7 }, "{}", profile.id);
            assert_eq!(plan.cpu_layers + one.layers.value, 17, "{}", profile.id);
            for reason in [
                &one.encoder.reason,
                &one.buffers.reason,
                &one.maps_file.reason,
                &one.staging.reason,
                &one.block.reason,
                &one.command_buffers.reason,
                &one.layers.reason,
                &plan.mmap.reason,
                &plan.flash_attention.reason,
            ] {
                assert!(reason.split_whitespace().count() >= 3, "{}: {reason:?} is no reason", profile.id);
            }
            // the kernels reduce through threadgroup memory where simdgroups cannot
            assert!(plan.flash_attention.value, "{}", profile.id);
            assert_eq!(plan.notes.is_empty(), apple, "{}: {:?}", profile.id, plan.notes);
        }
    }

    #[test]
    fn settings_win() {
        let mapped = of("amd-rdna1", Wishes { mmap: Some(true), ..Wishes::default() });
        assert!(mapped.mmap.value && mapped.devices[0].maps_file.value);
        assert!(mapped.devices[0].maps_file.reason.contains("ten times slower"));
        let read = of("apple-m1", Wishes { mmap: Some(false), ..Wishes::default() });
        assert!(!read.mmap.value && !read.devices[0].maps_file.value);
    }

    #[test]
    fn what_does_not_fit_stays_on_the_cpu() {
        // 1.5 GiB, of which weights may take four fifths
        let plan = of("intel-uhd630", Wishes::default());
        assert_eq!((plan.devices[0].layers.value, plan.cpu_layers), (12, 5));
        assert!(plan.devices[0].layers.reason.contains("the CPU"), "{:?}", plan.devices[0].layers);
        assert_eq!(of("amd-rdna1", Wishes::default()).cpu_layers, 0);
    }

    #[test]
    fn plans_to_try_end_with_the_safest() {
        let all = of("amd-rdna1", Wishes::default()).candidates(Attention::default());
        let buffers: Vec<_> = all.iter().map(|p| p.devices[0].buffers.value).collect();
        assert_eq!(buffers, [Buffers::Private, Buffers::Managed, Buffers::Shared, Buffers::Private]);
        let all = of("apple-m1", Wishes::default()).candidates(Attention::default());
        assert_eq!(all.len(), 3);
        assert_eq!(all[1].devices[0].encoder.value, Encoder::Serial);
        assert!(all[1].flash_attention.value && all[1].devices[0].maps_file.value);
        let safest = &all[2];
        assert_eq!(
            (safest.devices[0].encoder.value, safest.devices[0].maps_file.value),
            (Encoder::Serial, false)
        );
        assert!(!safest.flash_attention.value && !safest.mmap.value);
        let cpu = safest.on_cpu(Attention::default(), "it failed");
        assert!(cpu.devices.is_empty() && cpu.cpu_layers == 17 && cpu.mmap.value);
    }

    #[test]
    fn what_is_asked_of_attention_is_not_given_up() {
        use sys::{CacheKind, FlashAttention};
        let plans = |flash, cache_v| {
            let attention = Attention { flash, cache_v, ..Attention::default() };
            let wishes = Wishes { attention, ..Wishes::default() };
            let mut all = of("apple-m1", wishes).candidates(attention);
            all.push(all[0].on_cpu(attention, "it failed"));
            all.iter().map(|p| p.flash_attention.value).collect::<Vec<_>>()
        };
        assert_eq!(plans(FlashAttention::Auto, CacheKind::F16), [true, true, false, true]);
        assert_eq!(plans(FlashAttention::On, CacheKind::F16), [true; 4]);
        assert_eq!(plans(FlashAttention::Off, CacheKind::F16), [false; 4]);
        assert_eq!(plans(FlashAttention::Auto, CacheKind::Q4_0), [true; 4]);
    }

    #[test]
    fn what_was_measured_is_used_and_given_up_first() {
        use super::super::{BuffersCost, ProductShape};
        let product =
            |rows| Product { matrix: "q4_K".into(), row_length: 2048, rows, columns: 1, experts: 0 };
        let tuned = |rows| TunedProduct {
            product: product(rows),
            shape: ProductShape { rows_per_simdgroup: 4, ..ProductShape::default() },
            before: 3.0,
            after: 2.0,
        };
        let cost = |buffers, cost| BuffersCost { buffers, cost };
        let mut device = of_profile(0, "amd-rdna2-egpu");
        device.tuning = Some(Tuning {
            products: vec![tuned(2048), tuned(512)],
            buffers: vec![cost(Buffers::Shared, 1.0), cost(Buffers::Private, 1.2)],
            simulated: false,
            at: 1,
        });
        let plan = plan(&[&device], &model(), Wishes::default());
        let one = &plan.devices[0];
        // the other matrix is not this model's
        assert_eq!(one.shapes.value, [tuned(2048)]);
        assert!(one.shapes.reason.contains("a gain of 1.50"), "{}", one.shapes.reason);
        assert_eq!(one.native().shapes.len(), 1);
        assert_eq!(one.buffers.value, Buffers::Shared);
        assert!(one.buffers.reason.contains("over private"), "{}", one.buffers.reason);
        let all = plan.candidates(Attention::default());
        let ways: Vec<_> =
            all.iter().map(|p| (p.devices[0].shapes.value.len(), p.devices[0].buffers.value)).collect();
        use Buffers::{Managed, Private, Shared};
        assert_eq!(ways, [(1, Shared), (0, Shared), (0, Private), (0, Managed), (0, Shared)]);
    }

    #[test]
    fn two_gpus_share_by_bandwidth() {
        let (card, unit) = (of_profile(0, "amd-rdna1"), of_profile(1, "intel-uhd630"));
        let plan = plan(&[&card, &unit], &model(), Wishes::default());
        let layers: Vec<u32> = plan.devices.iter().map(|d| d.layers.value).collect();
        // 192 and 41.8 GB/s
        assert_eq!(layers, [14, 3]);
        assert!(!plan.mmap.value && plan.devices[1].maps_file.value);
    }

    #[test]
    fn the_cpu_alone_maps_and_has_no_plan_of_a_device() {
        let cpu = super::super::tests::device(0, "CPU", DeviceKind::Cpu, 0);
        let plan = plan(&[&cpu], &model(), Wishes::default());
        assert!(plan.devices.is_empty() && plan.mmap.value && plan.cpu_layers == 17);
    }

    #[test]
    fn a_type_that_a_gpu_lacks_is_noted() {
        let device = of_profile(0, "intel-uhd630");
        let plan = plan(&[&device], &ModelFacts { bf16: true, ..model() }, Wishes::default());
        assert!(plan.notes.iter().any(|n| n.contains("bf16")), "{:?}", plan.notes);
    }

    #[test]
    fn an_external_card_is_told_of_the_report_that_disagrees() {
        let device = of_profile(0, "amd-rdna2-egpu");
        assert_eq!(device.facts.as_ref().unwrap().location, Location::External);
        assert!(
            plan(&[&device], &model(), Wishes::default()).devices[0].buffers.reason.contains("one report")
        );
    }
}
