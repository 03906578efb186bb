//! The tensor types of ggml, with their block sizes, and what a GGUF header says about one tensor.

use std::fmt;
use std::ops::Deref;

macro_rules! tensor_types {
    ($($variant:ident = $id:literal, $name:literal, $block:literal, $bytes:literal;)*) => {
        /// How the elements of a tensor are stored. Names, numbers and sizes are those of
        /// `enum ggml_type` (ggml.h) and `type_traits` (ggml.c) of the pinned tree.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        #[expect(non_camel_case_types, reason = "the names that the whole field uses")]
        pub enum TensorType {
            $(#[doc = concat!("`", $name, "`: ", $block, " elements in ", $bytes, " bytes.")] $variant = $id,)*
        }

        impl TensorType {
            /// All types that the pinned tree knows, in the order of their numbers.
            pub const ALL: &[TensorType] = &[$(TensorType::$variant),*];

            /// The number that stands for the type in a file.
            pub fn id(self) -> u32 {
                match self { $(TensorType::$variant => $id,)* }
            }

            /// The type with this number, if the pinned tree has one.
            pub fn from_id(id: u32) -> Option<TensorType> {
                match id { $($id => Some(TensorType::$variant),)* _ => None }
            }

            /// The name as ggml prints it, for example `q4_K`.
            pub fn name(self) -> &'static str {
                match self { $(TensorType::$variant => $name,)* }
            }

            /// Elements in one block. Rows are whole blocks.
            pub fn block_len(self) -> u64 {
                match self { $(TensorType::$variant => $block,)* }
            }

            /// Bytes of one block.
            pub fn block_bytes(self) -> u64 {
                match self { $(TensorType::$variant => $bytes,)* }
            }
        }
    };
}

tensor_types! {
    F32 = 0, "f32", 1, 4;
    F16 = 1, "f16", 1, 2;
    Q4_0 = 2, "q4_0", 32, 18;
    Q4_1 = 3, "q4_1", 32, 20;
    Q5_0 = 6, "q5_0", 32, 22;
    Q5_1 = 7, "q5_1", 32, 24;
    Q8_0 = 8, "q8_0", 32, 34;
    Q8_1 = 9, "q8_1", 32, 36;
    Q2_K = 10, "q2_K", 256, 84;
    Q3_K = 11, "q3_K", 256, 110;
    Q4_K = 12, "q4_K", 256, 144;
    Q5_K = 13, "q5_K", 256, 176;
    Q6_K = 14, "q6_K", 256, 210;
    Q8_K = 15, "q8_K", 256, 292;
    IQ2_XXS = 16, "iq2_xxs", 256, 66;
    IQ2_XS = 17, "iq2_xs", 256, 74;
    IQ3_XXS = 18, "iq3_xxs", 256, 98;
    IQ1_S = 19, "iq1_s", 256, 50;
    IQ4_NL = 20, "iq4_nl", 32, 18;
    IQ3_S = 21, "iq3_s", 256, 110;
    IQ2_S = 22, "iq2_s", 256, 82;
    IQ4_XS = 23, "iq4_xs", 256, 136;
    I8 = 24, "i8", 1, 1;
    I16 = 25, "i16", 1, 2;
    I32 = 26, "i32", 1, 4;
    I64 = 27, "i64", 1, 8;
    F64 = 28, "f64", 1, 8;
    IQ1_M = 29, "iq1_m", 256, 56;
    BF16 = 30, "bf16", 1, 2;
    TQ1_0 = 34, "tq1_0", 256, 54;
    TQ2_0 = 35, "tq2_0", 256, 66;
    MXFP4 = 39, "mxfp4", 32, 17;
    NVFP4 = 40, "nvfp4", 64, 36;
    Q1_0 = 41, "q1_0", 128, 18;
    Q2_0 = 42, "q2_0", 64, 18;
}

impl TensorType {
    /// The type with this name, as ggml prints it; upper and lower case are the same.
    pub fn from_name(name: &str) -> Option<TensorType> {
        TensorType::ALL.iter().copied().find(|t| t.name().eq_ignore_ascii_case(name))
    }

    /// Bytes of `elements` consecutive elements of one row, as `ggml_row_size`.
    /// `None` when they are not whole blocks, or when the size does not fit 64 bits.
    pub fn row_bytes(self, elements: u64) -> Option<u64> {
        if !elements.is_multiple_of(self.block_len()) {
            return None;
        }
        (elements / self.block_len()).checked_mul(self.block_bytes())
    }

    /// The name and the successor of a type that ggml has removed, where `id` is one.
    pub(crate) fn removed(id: u32) -> Option<&'static str> {
        Some(match id {
            4 => "Q4_2, which was removed from ggml in 2023; convert the model again",
            5 => "Q4_3, which was removed from ggml in 2023; convert the model again",
            31 => {
                "Q4_0_4_4, which was removed from ggml: take the Q4_0 file, it is repacked when it is loaded"
            }
            32 => {
                "Q4_0_4_8, which was removed from ggml: take the Q4_0 file, it is repacked when it is loaded"
            }
            33 => {
                "Q4_0_8_8, which was removed from ggml: take the Q4_0 file, it is repacked when it is loaded"
            }
            36 => {
                "IQ4_NL_4_4, which was removed from ggml: take the IQ4_NL file, it is repacked when it is loaded"
            }
            37 => {
                "IQ4_NL_4_8, which was removed from ggml: take the IQ4_NL file, it is repacked when it is loaded"
            }
            38 => {
                "IQ4_NL_8_8, which was removed from ggml: take the IQ4_NL file, it is repacked when it is loaded"
            }
            _ => return None,
        })
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The shape of a tensor, at most four dimensions, the fastest-running first, as ggml orders them:
/// a weight of `[n_in, n_out]` has rows of `n_in` elements. Derefs to a slice.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dims {
    ne: [u64; 4],
    n: u8,
}

impl Dims {
    /// The shape, or `None` when there are more than four dimensions.
    pub fn new(dims: &[u64]) -> Option<Dims> {
        let mut ne = [1; 4];
        ne.get_mut(..dims.len())?.copy_from_slice(dims);
        Some(Dims { ne, n: u8::try_from(dims.len()).ok()? })
    }

    /// All four extents as ggml has them: those that the file leaves out are 1.
    pub fn padded(&self) -> [u64; 4] {
        self.ne
    }

    /// The number of elements, or `None` when ggml would not take the shape. `ggml_new_tensor_impl`
    /// (ggml.c) asserts a little less than 2^63 elements, also where a dimension of 0 follows; we
    /// count 0 as 1, so that it hides no overflow.
    pub fn elements(&self) -> Option<u64> {
        let limit = i64::MAX.unsigned_abs();
        let [first, rest @ ..] = self.ne.map(|d| d.max(1));
        let n = rest.iter().filter(|&&d| d > 1).try_fold(first, |n, &d| (limit / d > n).then(|| n * d));
        n.filter(|&n| n <= limit).map(|n| if self.ne.contains(&0) { 0 } else { n })
    }
}

impl Deref for Dims {
    type Target = [u64];
    fn deref(&self) -> &[u64] {
        &self.ne[..usize::from(self.n)]
    }
}

impl fmt::Debug for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// One tensor as the header describes it. Its data lies wholly inside the file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorInfo {
    /// The name, for example `blk.0.attn_q.weight`: less than 64 bytes.
    pub name: String,
    /// The shape, fastest-running dimension first.
    pub dims: Dims,
    /// How the elements are stored.
    pub kind: TensorType,
    /// Where the data starts, in bytes from the start of the *file*.
    pub offset: u64,
    /// Bytes of the data, without the padding that follows.
    pub size_bytes: u64,
}

impl TensorInfo {
    /// The number of elements.
    pub fn elements(&self) -> u64 {
        self.dims.iter().product()
    }
}

/// Bytes of a tensor of this type and shape.
///
/// # Errors
/// Says what is wrong: too many elements, or rows that are not whole blocks.
pub(crate) fn tensor_bytes(kind: TensorType, dims: &Dims) -> Result<u64, String> {
    let [row, ..] = dims.padded();
    let elements =
        dims.elements().ok_or_else(|| format!("shape {dims:?} has more elements than 2^63 - 1"))?;
    if !row.is_multiple_of(kind.block_len()) {
        return Err(format!(
            "rows of {row} elements are not whole blocks of {} elements, as type {kind} needs",
            kind.block_len()
        ));
    }
    (elements / kind.block_len())
        .checked_mul(kind.block_bytes())
        .ok_or_else(|| format!("shape {dims:?} of type {kind} takes more than 2^64 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_names_and_sizes_are_consistent() {
        let mut last = None;
        for &t in TensorType::ALL {
            assert!(last < Some(t.id()), "ids ascend: {t}");
            last = Some(t.id());
            assert_eq!(TensorType::from_id(t.id()), Some(t));
            assert_eq!(TensorType::from_name(&t.name().to_uppercase()), Some(t));
            assert_eq!(TensorType::removed(t.id()), None);
            assert_eq!(t.row_bytes(t.block_len() * 3), Some(t.block_bytes() * 3));
        }
        // Every number below GGML_TYPE_COUNT is either a type or a removed one.
        for id in 0..43 {
            assert!(TensorType::from_id(id).is_some() != TensorType::removed(id).is_some(), "id {id}");
        }
        assert_eq!(TensorType::from_id(43), None);
    }

    #[test]
    fn sizes_of_tensors() {
        let size = |kind, dims: &[u64]| tensor_bytes(kind, &Dims::new(dims).unwrap());
        assert_eq!(size(TensorType::Q4_K, &[512, 3]), Ok(2 * 3 * 144));
        assert_eq!(size(TensorType::F32, &[]), Ok(4));
        assert_eq!(size(TensorType::F32, &[0, 5]), Ok(0));
        assert!(size(TensorType::Q4_K, &[255]).unwrap_err().contains("256"));
        assert!(size(TensorType::F32, &[1 << 32, 1 << 31]).unwrap_err().contains("2^63"));
        assert!(size(TensorType::F64, &[1 << 31, 1 << 31]).unwrap_err().contains("2^64"));
        assert!(size(TensorType::F32, &[u64::MAX, 0, u64::MAX]).is_err(), "overflow that a zero would hide");
        assert_eq!(Dims::new(&[1; 5]), None);
    }

    /// Found by comparing with gguf.cpp on mutated files: it lets this shape through, and
    /// `ggml_new_tensor_impl` then asserts `INT64_MAX / ne[i] > current_nelements`.
    #[test]
    fn regression_shapes_at_the_limit_of_ggml() {
        let half = i64::MAX.unsigned_abs() / 2;
        let size = |dims: &[u64]| tensor_bytes(TensorType::I8, &Dims::new(dims).unwrap());
        assert!(size(&[half, 2, 0]).is_err());
        assert!(size(&[half, 2]).is_err());
        assert_eq!(size(&[half - 1, 2, 0]), Ok(0));
        assert_eq!(size(&[half - 1, 2]), Ok(2 * (half - 1)));
        assert!(size(&[u64::MAX]).is_err());
    }
}
