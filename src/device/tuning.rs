//! What `inferno tune` measured on a device: the fastest shapes of products, and where buffers are best. Kept in the user's
//! cache directory beside the verdicts of self-tests; a file counts only for the same device, system and build.

use super::{Buffers, verdicts};
use crate::{gguf::TensorType, sys};
use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf};

/// How a product of a matrix with few columns is divided on a GPU. 0: as the backend divides it by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProductShape {
    /// Simdgroups of a threadgroup.
    pub simdgroups: u16,
    /// Rows of the matrix that a simdgroup has, where there is one column, or where columns choose experts.
    pub rows_per_simdgroup: u16,
    /// Threads that share a row, where there are more columns.
    pub threads_per_row: u16,
    /// Columns of a threadgroup, where there are more.
    pub columns_per_threadgroup: u16,
}

impl fmt::Display for ProductShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.simdgroups, "simdgroups"),
            (self.rows_per_simdgroup, "rows each"),
            (self.threads_per_row, "threads a row"),
            (self.columns_per_threadgroup, "columns"),
        ];
        let words: Vec<_> = parts.iter().filter(|p| p.0 > 0).map(|(n, what)| format!("{n} {what}")).collect();
        f.write_str(if words.is_empty() { "the backend's own" } else { "" })?;
        f.write_str(&words.join(", "))
    }
}

/// A matrix, or the matrices of experts, and the number of columns that they are multiplied with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Product {
    /// The type of the matrix, by ggml's name.
    pub matrix: String,
    /// Elements of one of its rows.
    pub row_length: u64,
    /// Its rows.
    pub rows: u64,
    /// Columns of the other operand: tokens that are computed at once. What is measured for a number holds for more than
    /// half as many, too.
    pub columns: u32,
    /// Experts that have such a matrix each, of which a column chooses some; 0: it is one matrix.
    pub experts: u64,
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.experts {
            0 => write!(f, "{} {}x{} by {}", self.matrix, self.rows, self.row_length, self.columns),
            n => write!(f, "{} {}x{} of {n} by {}", self.matrix, self.rows, self.row_length, self.columns),
        }
    }
}

/// A product, and the shape that was the fastest of those that gave the right result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TunedProduct {
    /// The product.
    #[serde(flatten)]
    pub product: Product,
    /// Its shape.
    #[serde(flatten)]
    pub shape: ProductShape,
    /// What it costs as the backend divides it by itself: seconds, or what is counted of a simulated device.
    pub before: f64,
    /// What it costs in this shape.
    pub after: f64,
}

impl TunedProduct {
    /// How many times as fast it is in this shape.
    pub fn gain(&self) -> f64 {
        self.before / self.after
    }

    pub(super) fn native(&self) -> Option<sys::ProductShape> {
        let small = |n: u64| u32::try_from(n).ok();
        Some(sys::ProductShape {
            kind: TensorType::ALL.iter().find(|t| t.name() == self.product.matrix)?.id(),
            row_length: small(self.product.row_length)?,
            rows: small(self.product.rows)?,
            columns: self.product.columns,
            experts: small(self.product.experts)?,
            simdgroups: self.shape.simdgroups,
            rows_per_simdgroup: self.shape.rows_per_simdgroup,
            threads_per_row: self.shape.threads_per_row,
            columns_per_threadgroup: self.shape.columns_per_threadgroup,
        })
    }
}

/// What a kind of buffers costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BuffersCost {
    /// Where the buffers lie.
    pub buffers: Buffers,
    /// Of a product with one column: seconds, or the bytes that a simulated device read over the link to the host.
    pub cost: f64,
}

/// What was measured on a device.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tuning {
    /// Products that are faster in another shape than the backend's own.
    pub products: Vec<TunedProduct>,
    /// The kinds of buffers that passed the self-test, the best first; none where the device has one memory with the host.
    pub buffers: Vec<BuffersCost>,
    /// Whether the device is simulated: then costs are bytes and threadgroups, and say nothing of a real card.
    pub simulated: bool,
    /// When it was, in seconds since 1970.
    pub at: u64,
}

impl Tuning {
    /// With what another measurement found; that one counts where both know a product.
    pub(crate) fn merged(self, newer: Tuning, measured: &[Product]) -> Tuning {
        let mut products = self.products;
        products.retain(|p| !measured.contains(&p.product));
        products.extend(newer.products);
        products.sort_by(|a, b| a.product.cmp(&b.product));
        Tuning { products, ..newer }
    }
}

/// What it holds for. All of it is compared, not only its hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) device: String,
    pub(super) system: String,
    pub(super) build: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    key: Key,
    tuning: Tuning,
}

fn file(key: &Key) -> Option<PathBuf> {
    Some(verdicts::cache("tuning")?.join(verdicts::file_name(key)))
}

/// What was kept for this key, if anything.
pub(super) fn find(key: &Key) -> Option<Tuning> {
    let entry: Entry = verdicts::read(&file(key)?)?;
    (entry.key == *key).then_some(entry.tuning)
}

/// Keeps it. All or nothing is written.
pub(super) fn keep(key: &Key, tuning: &Tuning) -> std::io::Result<()> {
    let file = file(key).ok_or_else(|| std::io::Error::other("this user has no cache directory"))?;
    verdicts::write(&file, &Entry { key: key.clone(), tuning: tuning.clone() })
}

/// Forgets it. Whether there was anything.
pub(super) fn forget(key: &Key) -> std::io::Result<bool> {
    match file(key).map(std::fs::remove_file) {
        None => Ok(false),
        Some(Err(e)) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Some(result) => result.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuned(rows: u64, after: f64) -> TunedProduct {
        TunedProduct {
            product: Product { matrix: "q4_K".into(), row_length: 256, rows, columns: 1, experts: 0 },
            shape: ProductShape { simdgroups: 4, ..ProductShape::default() },
            before: 2.0,
            after,
        }
    }

    #[test]
    fn what_is_measured_again_replaces_what_was_known() {
        let of = |products| Tuning { products, at: 1, ..Tuning::default() };
        let old = of(vec![tuned(64, 1.0), tuned(128, 1.0), tuned(256, 1.0)]);
        // 256 has no better shape any more
        let measured = [tuned(128, 1.0).product, tuned(256, 1.0).product];
        let merged = old.merged(Tuning { at: 2, ..of(vec![tuned(128, 0.5)]) }, &measured);
        assert_eq!(merged.products, [tuned(64, 1.0), tuned(128, 0.5)]);
        assert_eq!(merged.at, 2);
    }

    #[test]
    fn a_shape_is_said_in_words_and_handed_down_by_number() {
        assert_eq!(tuned(64, 1.0).shape.to_string(), "4 simdgroups");
        assert_eq!(ProductShape::default().to_string(), "the backend's own");
        assert_eq!(tuned(64, 1.0).native().map(|n| (n.kind, n.rows)), Some((TensorType::Q4_K.id(), 64)));
        let unknown = Product { matrix: "q99".into(), ..tuned(64, 1.0).product };
        assert!(TunedProduct { product: unknown, ..tuned(64, 1.0) }.native().is_none());
    }
}
