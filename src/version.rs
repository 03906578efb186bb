//! What is below: the versions of llama.cpp and ggml, the patches applied, how they were compiled.

/// The native engine in this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct NativeVersion {
    /// Version of llama.cpp.
    pub llama_cpp: &'static str,
    /// Version of ggml.
    pub ggml: &'static str,
    /// Names of the patches applied, in order.
    pub patches: &'static str,
    /// Instruction set and threading library that it was compiled for.
    pub flags: &'static str,
}

/// The native engine in this build.
pub fn native_version() -> NativeVersion {
    NativeVersion {
        llama_cpp: env!("NATIVE_LLAMA_VERSION"),
        ggml: env!("NATIVE_GGML_VERSION"),
        patches: env!("NATIVE_PATCHES"),
        flags: env!("NATIVE_FLAGS"),
    }
}

impl std::fmt::Display for NativeVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "llama.cpp {}, ggml {}, patches: {}", self.llama_cpp, self.ggml, self.patches)
    }
}
