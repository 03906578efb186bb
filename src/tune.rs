//! Tuning: how a model's products are divided on a device, and where buffers lie, are measured, and the best is kept.

use crate::{
    device::{
        self, Attention, Buffers, BuffersCost, Choice, Device, DevicePlan, DeviceSelect, Matrix, ModelFacts,
        Product, ProductShape, TunedProduct, Tuning, Wishes,
    },
    error::{Error, Result},
    gguf::Gguf,
    sys::{self, engine},
};
use serde::Serialize;
use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// Columns that are measured: a token, and requests that run together.
const COLUMNS: [u32; 3] = [1, 4, 8];
/// The mean square of the error that a product may have, by that of the result, as in llama.cpp's test of operations.
const LIMIT: f64 = 5e-4;
/// What another shape, or another kind of buffers, has to gain: less is noise.
const WORTH: f64 = 1.03;
/// How often two shapes are measured by turns.
const TURNS: usize = 7;
/// Of a simulated device a threadgroup counts as so many bytes that are moved.
const THREADGROUP: u64 = 1024;

/// A product that was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Measured {
    /// The product.
    #[serde(flatten)]
    pub product: Product,
    /// Shapes that were tried, beside the backend's own.
    pub tried: usize,
    /// Those of them whose result was wrong, or that ended with an error.
    pub discarded: usize,
    /// The one that is faster; none where the backend's own is the best.
    pub best: Option<TunedProduct>,
    /// Why it was not measured, where it was not.
    pub skipped: Option<String>,
}

/// What the tuning of one device came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Tuned {
    /// The device, by its short name.
    pub device: String,
    /// What the vendor calls it.
    pub description: String,
    /// Each product of the model.
    pub products: Vec<Measured>,
    /// Kinds of buffers that failed the self-test, and why.
    pub refused_buffers: Vec<(Buffers, String)>,
    /// What is used from now on, with what was known of other models.
    pub tuning: Tuning,
}

/// Measures the products of a model's matrices on a device. Nothing is kept: see [`keep`]. `says` is told what is done.
///
/// # Errors
/// [`Error::InvalidRequest`] for a device without a graphics backend that can be planned, and those of reading the file;
/// [`Error::DeviceLost`] where the device is gone.
pub fn tune(device: &Device, path: &Path, says: &mut dyn FnMut(&str)) -> Result<Tuned> {
    let gguf = Gguf::open(path)?;
    gguf.validate_for_llama()?;
    sys::probe_begin();
    // as if nothing was known: each measurement begins anew
    let bare = Device { tuning: None, ..device.clone() };
    let select = DeviceSelect::Named(device.name.clone());
    let mut placement = select.place(&gguf, Wishes::default())?;
    let facts = ModelFacts::of(&gguf);
    let plan = device::plan(&[&bare], &facts, Wishes::default());
    let Some(mut one) = plan.devices.first().cloned() else {
        return Err(Error::request("device", format!("{} is no graphics device", device.name)));
    };
    let mut buffers = vec![];
    let mut refused_buffers = vec![];
    if one.staging.value > 0 {
        for kind in [Buffers::Private, Buffers::Managed, Buffers::Shared] {
            says(&format!("{kind} buffers"));
            one.buffers = Choice { value: kind, reason: String::new() };
            placement.plan = device::Plan { devices: vec![one.clone()], ..plan.clone() };
            let test = device::Test {
                path,
                gguf: &gguf,
                attention: Attention::default(),
                largest: gguf.tensor_bytes(),
                trust_earlier: true,
            };
            let verdict = device::test(device, &placement.plan, &test)?;
            if !verdict.passed {
                refused_buffers.push((kind, verdict.reason()));
                continue;
            }
            match buffers_cost(device, &one, &facts)? {
                Some(cost) => buffers.push(BuffersCost { buffers: kind, cost }),
                None => refused_buffers.push((kind, "they failed, or gave a wrong product".into())),
            }
        }
        rank(&mut buffers);
        one.buffers.value = buffers.first().map_or(Buffers::Private, |best| best.buffers);
    }
    let mut products = vec![];
    let mut simulated = false;
    for matrix in &facts.matrices {
        for columns in COLUMNS {
            let product = Product {
                matrix: matrix.kind.name().to_owned(),
                row_length: matrix.row_length,
                rows: matrix.rows,
                columns,
                experts: matrix.experts,
            };
            says(&product.to_string());
            let (measured, counted) = measure(device, &one, &native(matrix, &facts, columns), product)?;
            simulated |= counted;
            products.push(measured);
        }
    }
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
    let found =
        Tuning { products: products.iter().filter_map(|p| p.best.clone()).collect(), buffers, simulated, at };
    let all: Vec<Product> = products.iter().map(|p| p.product.clone()).collect();
    Ok(Tuned {
        device: device.name.clone(),
        description: device.description.clone(),
        products,
        refused_buffers,
        tuning: device.tuning.clone().unwrap_or_default().merged(found, &all),
    })
}

/// The same with the model that is built in.
///
/// # Errors
/// As [`tune`].
#[cfg(feature = "builtin-model")]
pub fn tune_builtin(device: &Device, says: &mut dyn FnMut(&str)) -> Result<Tuned> {
    let file = crate::model::builtin_file()?;
    tune(device, file.path(), says)
}

/// From now on models are run on this device as it was tuned, if that passes their self-test.
///
/// # Errors
/// [`Error::Io`] where the user's cache directory cannot be written.
pub fn keep(device: &Device, tuned: &Tuned) -> Result<()> {
    device::keep_tuning(device, Some(&tuned.tuning))
}

/// From now on models are run on this device as if it had never been tuned.
///
/// # Errors
/// [`Error::Io`] where the file is there and cannot be removed.
pub fn forget(device: &Device) -> Result<()> {
    device::keep_tuning(device, None)
}

/// The best first. The order in which they were measured stands, unless a later one is better by more than noise.
fn rank(buffers: &mut [BuffersCost]) {
    let Some(first) = buffers.first().map(|b| b.cost) else { return };
    let best = buffers.iter().enumerate().min_by(|a, b| a.1.cost.total_cmp(&b.1.cost));
    if let Some((at, best)) = best
        && best.cost * WORTH < first
    {
        buffers[..=at].rotate_right(1);
    }
}

/// What a product costs in one shape.
#[derive(Debug, Clone, Copy)]
enum Cost {
    /// Of a simulated device: the same each time.
    Counted(f64),
    /// Of a real one: seconds of each run.
    Timed([f64; 7]),
}

impl Cost {
    fn of(cost: &sys::ProductCost, counted: impl Fn(sys::Counted) -> u64) -> Self {
        cost.counted.map_or(Self::Timed(cost.seconds), |c| Self::Counted(counted(c) as f64))
    }

    /// A few runs that something else delayed, or that were luckily fast, change nothing of it.
    fn value(&self) -> f64 {
        match self {
            Self::Counted(cost) => *cost,
            Self::Timed(seconds) => median(seconds),
        }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::INFINITY)
}

/// What a model's product is to the backend.
fn native(matrix: &Matrix, facts: &ModelFacts, columns: u32) -> sys::Product {
    sys::Product {
        kind: matrix.kind.id(),
        row_length: matrix.row_length,
        rows: matrix.rows,
        columns: columns.into(),
        experts: matrix.experts,
        used: facts.experts_used.clamp(1, matrix.experts.max(1)),
    }
}

/// What the model's largest matrix costs with one column; of a simulated device the bytes that it reads of the host's memory.
fn buffers_cost(device: &Device, plan: &DevicePlan, facts: &ModelFacts) -> Result<Option<f64>> {
    let plain = facts.matrices.iter().filter(|m| m.experts == 0);
    let Some(largest) = plain.max_by_key(|m| m.row_length * m.rows) else { return Ok(None) };
    match sys::probe_product(device.index, &plan.native(), &native(largest, facts, 1)) {
        Ok(Some(cost)) if cost.error <= LIMIT => Ok(Some(Cost::of(&cost, |c| c.host_bytes).value())),
        Ok(_) => Ok(None),
        Err(failure) => lost_or(device, &failure).map(|()| None),
    }
}

/// Measures a product in the backend's own shape and in others. Whether the device is simulated, too.
fn measure(
    device: &Device,
    plan: &DevicePlan,
    asked: &sys::Product,
    product: Product,
) -> Result<(Measured, bool)> {
    let mut simulated = false;
    let ours = product.clone();
    let measured = choose(product, &mut |shape| {
        let tuned = TunedProduct { product: ours.clone(), shape, before: 0.0, after: 0.0 };
        let shapes = if shape == ProductShape::default() { vec![] } else { vec![tuned] };
        let plan = DevicePlan { shapes: Choice { value: shapes, reason: String::new() }, ..plan.clone() };
        match sys::probe_product(device.index, &plan.native(), asked) {
            Ok(cost) => Ok(cost.filter(|cost| cost.error <= LIMIT).map(|cost| {
                simulated |= cost.counted.is_some();
                Cost::of(&cost, |c| c.bytes + THREADGROUP * c.threadgroups)
            })),
            Err(failure) => {
                lost_or(device, &failure)?;
                tracing::debug!(product = %ours, %shape, "discarded: {failure}");
                Ok(None)
            }
        }
    })?;
    Ok((measured, simulated))
}

/// Chooses a shape. `run` tells what a product costs in one; nothing where its result is wrong, or there is none.
fn choose(product: Product, run: &mut dyn FnMut(ProductShape) -> Result<Option<Cost>>) -> Result<Measured> {
    let mut measured =
        Measured { product: product.clone(), tried: 0, discarded: 0, best: None, skipped: None };
    let Some(own) = run(ProductShape::default())? else {
        measured.skipped = Some("the device does not compute it, or not rightly".into());
        return Ok(measured);
    };
    let mut best: Option<(ProductShape, f64)> = None;
    for shape in shapes(&product) {
        measured.tried += 1;
        let Some(cost) = run(shape)? else {
            measured.discarded += 1;
            continue;
        };
        let cost = cost.value();
        if best.is_none_or(|(_, least)| cost < least) {
            best = Some((shape, cost));
        }
    }
    if let Some((shape, after)) = best.filter(|(_, after)| after * WORTH < own.value()) {
        let sure = match own {
            Cost::Counted(before) => Some((before, after)),
            Cost::Timed(_) => once_more(shape, run)?,
        };
        measured.best = sure.map(|(before, after)| TunedProduct { product, shape, before, after });
    }
    Ok(measured)
}

/// Measures the backend's own shape and another one by turns: the least of many may have been luck, and the device may have
/// become slower or faster meanwhile. What both cost, if the other one is faster by enough, and nearly each time.
fn once_more(
    shape: ProductShape,
    run: &mut dyn FnMut(ProductShape) -> Result<Option<Cost>>,
) -> Result<Option<(f64, f64)>> {
    let (mut before, mut after) = (vec![], vec![]);
    for _ in 0..TURNS {
        let (Some(own), Some(other)) = (run(ProductShape::default())?, run(shape)?) else { return Ok(None) };
        before.push(own.value());
        after.push(other.value());
    }
    let gains: Vec<f64> = before.iter().zip(&after).map(|(before, after)| before / after).collect();
    let faster = gains.iter().filter(|gain| **gain > 1.0).count();
    Ok((median(&gains) > WORTH && faster + 1 >= TURNS).then(|| (median(&before), median(&after))))
}

/// The few shapes that may be sensible.
fn shapes(product: &Product) -> Vec<ProductShape> {
    let mut all = vec![];
    for simdgroups in [1, 2, 4] {
        if product.columns == 1 || product.experts > 0 {
            for rows_per_simdgroup in [1, 2, 4] {
                all.push(ProductShape { simdgroups, rows_per_simdgroup, ..ProductShape::default() });
            }
        } else if simdgroups > 1 {
            for threads_per_row in [4, 8, 16] {
                for columns_per_threadgroup in [2, 4] {
                    all.push(ProductShape {
                        simdgroups,
                        threads_per_row,
                        columns_per_threadgroup,
                        ..ProductShape::default()
                    });
                }
            }
        }
    }
    all
}

/// An error where the device is gone.
fn lost_or(device: &Device, failure: &sys::Failure) -> Result<()> {
    match device::lost(std::slice::from_ref(&device.name)) {
        Some(lost) => Err(lost),
        // what an assertion leaves behind is unknown
        None if matches!(failure, sys::Failure::Assertion(_)) => Err(engine("a product", failure)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_that_are_hardly_better_change_nothing() {
        let order = |costs: [f64; 3]| {
            let kinds = [Buffers::Private, Buffers::Managed, Buffers::Shared];
            let mut all: Vec<_> =
                kinds.into_iter().zip(costs).map(|(buffers, cost)| BuffersCost { buffers, cost }).collect();
            rank(&mut all);
            all.into_iter().map(|b| b.buffers).collect::<Vec<_>>()
        };
        use Buffers::{Managed, Private, Shared};
        assert_eq!(order([1.0, 0.99, 2.0]), [Private, Managed, Shared]);
        assert_eq!(order([1.0, 0.9, 0.5]), [Shared, Private, Managed]);
        assert_eq!(order([0.0, 0.0, 9.0]), [Private, Managed, Shared]);
    }

    fn product(columns: u32, experts: u64) -> Product {
        Product { matrix: "q4_K".into(), row_length: 256, rows: 64, columns, experts }
    }

    /// A device that takes a millisecond for a product, and a part of that in one shape; its clock is off by up to so much
    /// of the time, each tenth run takes three times as long, and it grows slower all the time.
    fn on_clock(seed: u64, part: f64, noise: f64) -> impl FnMut(ProductShape) -> Result<Option<Cost>> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            f64::from(u32::try_from(state >> 40).unwrap()) / f64::from(1 << 24)
        };
        let mut slower = 1.0;
        move |shape| {
            let fast = shape.simdgroups == 4 && shape.rows_per_simdgroup == 4;
            slower *= 1.002;
            Ok(Some(Cost::Timed(std::array::from_fn(|_| {
                let delay = if random() < 0.1 { 3.0 } else { 1.0 };
                1e-3 * slower
                    * delay
                    * (if fast { part } else { 1.0 })
                    * (1.0 + noise * (2.0 * random() - 1.0))
            }))))
        }
    }

    #[test]
    fn a_noisy_clock_finds_what_is_faster_and_nothing_else() {
        let best = |seed, part, noise| choose(product(1, 0), &mut on_clock(seed, part, noise)).unwrap().best;
        let mut missed = 0;
        for seed in 1..=200 {
            match best(seed, 0.85, 0.05) {
                Some(found) => {
                    assert_eq!((found.shape.simdgroups, found.shape.rows_per_simdgroup), (4, 4));
                    assert!((1.1..1.3).contains(&found.gain()), "{found:?}");
                }
                // four of seven runs were delayed when it was first measured
                None => missed += 1,
            }
            assert_eq!(best(seed, 0.99, 0.005), None, "one per cent is not worth a change");
        }
        assert!(missed <= 4, "{missed} of 200");
        // no shape is faster, but some look so: of two hundred a few are taken
        let taken = (1..=200).filter(|seed| best(*seed, 1.0, 0.1).is_some()).count();
        assert!(taken <= 4, "{taken} of 200");
    }

    #[test]
    fn a_shape_that_fails_when_it_is_tried_again_is_not_taken() {
        let mut runs = 0;
        let mut device = on_clock(1, 0.5, 0.0);
        let found = choose(product(1, 0), &mut |shape| {
            runs += 1;
            if runs > 12 { Ok(None) } else { device(shape) }
        });
        assert_eq!(found.unwrap().best, None);
        let counted = choose(product(1, 4), &mut |shape| {
            Ok(Some(Cost::Counted(if shape.rows_per_simdgroup == 4 { 50.0 } else { 100.0 })))
        });
        assert_eq!(counted.unwrap().best.map(|b| (b.before, b.after)), Some((100.0, 50.0)));
        let none = choose(product(1, 0), &mut |_| Ok(None)).unwrap();
        assert!(none.skipped.is_some() && none.tried == 0);
    }

    #[test]
    fn a_product_has_few_shapes() {
        let product = |columns| product(columns, 0);
        assert_eq!(shapes(&product(1)).len(), 9);
        assert_eq!(shapes(&product(4)).len(), 12);
        assert!(shapes(&product(4)).iter().all(|s| s.rows_per_simdgroup == 0 && s.threads_per_row > 0));
    }
}
