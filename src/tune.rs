//! Tuning: how a model's products are divided on a device, and where buffers lie, are measured, and the best is kept.

use crate::{
    device::{
        self, Attention, Buffers, BuffersCost, Choice, Device, DevicePlan, DeviceSelect, ModelFacts, Product,
        ProductShape, TunedProduct, Tuning, Wishes,
    },
    error::{Error, Result},
    gguf::{Gguf, TensorType},
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
    let plan = device::plan(&[&bare], &ModelFacts::of(&gguf), Wishes::default());
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
            match buffers_cost(device, &one, &gguf)? {
                Some(cost) => buffers.push(BuffersCost { buffers: kind, cost }),
                None => refused_buffers.push((kind, "they failed, or gave a wrong product".into())),
            }
        }
        rank(&mut buffers);
        one.buffers.value = buffers.first().map_or(Buffers::Private, |best| best.buffers);
    }
    let mut products = vec![];
    let mut simulated = false;
    for (kind, row_length, rows) in ModelFacts::of(&gguf).matrices {
        for columns in COLUMNS {
            let product = Product { matrix: kind.name().to_owned(), row_length, rows, columns };
            says(&product.to_string());
            let (measured, counted) = measure(device, &one, kind, product)?;
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

/// What the model's largest matrix costs with one column; of a simulated device the bytes that it reads of the host's memory.
fn buffers_cost(device: &Device, plan: &DevicePlan, gguf: &Gguf) -> Result<Option<f64>> {
    let largest = ModelFacts::of(gguf).matrices.into_iter().max_by_key(|(_, length, rows)| length * rows);
    let Some((kind, row_length, rows)) = largest else { return Ok(None) };
    match sys::probe_product(device.index, &plan.native(), kind.id(), [row_length, rows, 1]) {
        Ok(Some(cost)) if cost.error <= LIMIT => {
            Ok(Some(cost.counted.map_or(cost.seconds, |counted| counted.host_bytes as f64)))
        }
        Ok(_) => Ok(None),
        Err(failure) => lost_or(device, &failure).map(|()| None),
    }
}

/// Measures a product in the backend's own shape and in others. Whether the device is simulated, too.
fn measure(
    device: &Device,
    plan: &DevicePlan,
    kind: TensorType,
    product: Product,
) -> Result<(Measured, bool)> {
    let size = [product.row_length, product.rows, u64::from(product.columns)];
    let run = |shape: ProductShape| -> Result<Option<sys::ProductCost>> {
        let tuned = TunedProduct { product: product.clone(), shape, before: 0.0, after: 0.0 };
        let shapes = if shape == ProductShape::default() { vec![] } else { vec![tuned] };
        let plan = DevicePlan { shapes: Choice { value: shapes, reason: String::new() }, ..plan.clone() };
        match sys::probe_product(device.index, &plan.native(), kind.id(), size) {
            Ok(cost) => Ok(cost.filter(|cost| cost.error <= LIMIT)),
            Err(failure) => {
                lost_or(device, &failure)?;
                tracing::debug!(%product, %shape, "discarded: {failure}");
                Ok(None)
            }
        }
    };
    let mut measured =
        Measured { product: product.clone(), tried: 0, discarded: 0, best: None, skipped: None };
    let Some(own) = run(ProductShape::default())? else {
        measured.skipped = Some("the device does not compute it, or not rightly".into());
        return Ok((measured, false));
    };
    let mut before = cost_of(&own);
    let mut best: Option<(ProductShape, f64)> = None;
    for shape in shapes(&product) {
        measured.tried += 1;
        let Some(cost) = run(shape)? else {
            measured.discarded += 1;
            continue;
        };
        let cost = cost_of(&cost);
        if best.is_none_or(|(_, least)| cost < least) {
            best = Some((shape, cost));
        }
    }
    if let Some((shape, mut after)) = best.filter(|(_, after)| after * WORTH < before) {
        if own.counted.is_none() {
            // once more: the least of many measurements may be luck
            for (shape, least) in [(ProductShape::default(), &mut before), (shape, &mut after)] {
                if let Some(cost) = run(shape)? {
                    *least = cost_of(&cost);
                }
            }
        }
        if after * WORTH < before {
            measured.best = Some(TunedProduct { product, shape, before, after });
        }
    }
    Ok((measured, own.counted.is_some()))
}

fn cost_of(cost: &sys::ProductCost) -> f64 {
    cost.counted.map_or(cost.seconds, |counted| (counted.bytes + THREADGROUP * counted.threadgroups) as f64)
}

/// The few shapes that may be sensible.
fn shapes(product: &Product) -> Vec<ProductShape> {
    let mut all = vec![];
    for simdgroups in [1, 2, 4] {
        if product.columns == 1 {
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

    #[test]
    fn a_product_has_few_shapes() {
        let product = |columns| Product { matrix: "q4_K".into(), row_length: 256, rows: 64, columns };
        assert_eq!(shapes(&product(1)).len(), 9);
        assert_eq!(shapes(&product(4)).len(), 12);
        assert!(shapes(&product(4)).iter().all(|s| s.rows_per_simdgroup == 0 && s.threads_per_row > 0));
    }
}
