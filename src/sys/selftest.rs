//! An owned `inf_selftest`: what a model computes, on a device and on the CPU.

use super::{
    backend::{self, DevicePlan},
    bindings as ffi,
    call::{Failure, call},
    context::CacheKind,
};
use std::{
    ffi::{CStr, CString, c_char},
    path::Path,
    ptr::{self, NonNull},
    slice,
};

/// What is tested.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SelfTestOptions {
    pub(crate) cache_k: CacheKind,
    pub(crate) cache_v: CacheKind,
    pub(crate) flash_attention: bool,
    /// Of the CPU.
    pub(crate) threads: i32,
    /// The most that a graph may have.
    pub(crate) columns: u32,
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    Right,
    Wrong,
    Failed,
    OnCpu,
    Unjudged,
}

/// `inf_check`, in which the members are explained.
#[derive(Debug, Clone)]
pub(crate) struct NativeCheck {
    pub(crate) name: String,
    pub(crate) what: String,
    pub(crate) reason: String,
    pub(crate) finding: Finding,
    pub(crate) error: f64,
    pub(crate) limit: f64,
}

/// Where the values that are drawn begin. Any number would do.
const SEED: u64 = 1;

/// A self-test with one model. Freed on drop, or leaked after an assertion.
#[derive(Debug)]
pub(crate) struct SelfTest {
    ptr: NonNull<ffi::inf_selftest>,
    broken: bool,
}

impl SelfTest {
    /// Takes down what the model will compute. Its weights are not loaded.
    pub(crate) fn new(path: &Path, options: &SelfTestOptions) -> Result<Self, Failure> {
        backend::init()?;
        let path = CString::new(path.as_os_str().as_encoded_bytes())
            .map_err(|_| Failure::Refused("the path holds a NUL byte".into()))?;
        let native = ffi::inf_selftest_options {
            seed: SEED,
            type_k: options.cache_k.native(),
            type_v: options.cache_v.native(),
            flash_attention: options.flash_attention,
            threads: options.threads,
            columns: options.columns,
        };
        let mut test = ptr::null_mut();
        // SAFETY: path and options outlive the call, and test is a place for the result.
        call(|error| unsafe {
            ffi::inf_selftest_new(path.as_ptr(), &raw const native, &raw mut test, error)
        })?;
        let ptr = NonNull::new(test).ok_or_else(|| Failure::from_log("the self-test gave no reason"))?;
        Ok(Self { ptr, broken: false })
    }

    /// Tests the device of this index while these plans are in effect. `block`: bytes of the largest buffer that is tried.
    pub(crate) fn run(
        &mut self,
        device: usize,
        block: u64,
        plans: &[(usize, DevicePlan)],
    ) -> Result<Vec<NativeCheck>, Failure> {
        if self.broken {
            return Err(Failure::Refused("an assertion failed in this self-test".into()));
        }
        let _plans = backend::put_into_effect(plans);
        // SAFETY: takes nothing; devices live as long as the process.
        let count = unsafe { ffi::ggml_backend_dev_count() };
        assert!(device < count, "the indices of plans are those of devices");
        // SAFETY: the index was just checked.
        let device = unsafe { ffi::ggml_backend_dev_get(device) };
        // SAFETY: the test is alive and lent exclusively; the device is one of the registry.
        let result = call(|error| unsafe { ffi::inf_selftest_run(self.ptr.as_ptr(), device, block, error) });
        if matches!(result, Err(Failure::Assertion(_))) {
            self.broken = true;
        }
        result?;
        let mut checks = ptr::null();
        // SAFETY: the test is alive, and checks is a place for the pointer.
        let n = unsafe { ffi::inf_selftest_checks(self.ptr.as_ptr(), &raw mut checks) };
        if checks.is_null() || n == 0 {
            return Ok(vec![]);
        }
        // SAFETY: n checks, which live until the next run, and runs need `&mut self`.
        Ok(unsafe { slice::from_raw_parts(checks, n) }.iter().map(check).collect())
    }

    /// About how many multiplications one run is.
    pub(crate) fn work(&self) -> f64 {
        // SAFETY: the test is alive.
        unsafe { ffi::inf_selftest_work(self.ptr.as_ptr()) }
    }
}

impl Drop for SelfTest {
    fn drop(&mut self) {
        if self.broken {
            return;
        }
        // SAFETY: the only handle.
        if let Err(failure) = call(|error| unsafe { ffi::inf_selftest_free(self.ptr.as_ptr(), error) }) {
            tracing::error!("freeing the self-test failed: {failure}");
        }
    }
}

fn check(native: &ffi::inf_check) -> NativeCheck {
    NativeCheck {
        name: text(native.name),
        what: text(native.what),
        reason: text(native.reason),
        finding: match native.verdict {
            ffi::inf_verdict::INF_VERDICT_RIGHT => Finding::Right,
            ffi::inf_verdict::INF_VERDICT_WRONG => Finding::Wrong,
            ffi::inf_verdict::INF_VERDICT_ON_CPU => Finding::OnCpu,
            ffi::inf_verdict::INF_VERDICT_UNJUDGED => Finding::Unjudged,
            _ => Finding::Failed,
        },
        error: native.error,
        limit: native.limit,
    }
}

fn text(chars: *const c_char) -> String {
    // SAFETY: the strings of a check are terminated and alive until the next run.
    unsafe { CStr::from_ptr(chars) }.to_string_lossy().into_owned()
}

/// The system and its version, on which drivers depend.
pub(crate) fn system() -> String {
    let mut buffer = [0u8; 256];
    // SAFETY: there is room for as many bytes as it says, and the text is terminated within them.
    unsafe { ffi::inf_system(buffer.as_mut_ptr().cast(), buffer.len()) };
    CStr::from_bytes_until_nul(&buffer).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
}
