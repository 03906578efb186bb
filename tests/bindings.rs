//! Holds `src/sys/bindings.rs` equal to what bindgen makes of the staged headers.
//!
//! `INFERNO_BLESS=1 cargo test --test bindings` writes the file anew. Needs libclang, which a build does not.

use std::{env, fs, path::Path};

/// What the sys layer calls; types follow from these.
const FUNCTIONS: &[&str] = &[
    "inf_.*",
    "llama_model_default_params",
    "llama_context_default_params",
    "llama_max_devices",
    "llama_model_get_vocab",
    "llama_model_(n_ctx_train|n_embd_out|n_params|size|desc|has_encoder|has_decoder|is_recurrent|is_hybrid|n_swa)",
    "llama_vocab_(n_tokens|is_eog|is_control|bos|eos|get_add_bos|get_suppress_tokens|type)",
    "llama_sampler_free",
    "ggml_backend_dev_(count|get|name|description|memory|type)",
];

#[test]
fn bindings_are_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let staged = Path::new(env!("NATIVE_STAGED_TREE"));
    let mut builder = bindgen::Builder::default()
        .header(root.join("src/sys/shim.h").display().to_string())
        .clang_args(["include", "ggml/include"].map(|dir| format!("-I{}", staged.join(dir).display())))
        // the same file on every platform: nothing from the system's headers
        .use_core()
        .generate_comments(false)
        .disable_header_comment()
        .default_enum_style(bindgen::EnumVariation::ModuleConsts)
        .merge_extern_blocks(true)
        .derive_debug(false)
        .layout_tests(true)
        .rustfmt_configuration_file(Some(root.join("rustfmt.toml")))
        .raw_line("//! Made by tests/bindings.rs from src/sys/shim.h; do not edit.");
    for function in FUNCTIONS {
        builder = builder.allowlist_function(function);
    }
    let made = builder.generate().expect("bindgen reads the headers").to_string();

    let path = root.join("src/sys/bindings.rs");
    if env::var_os("INFERNO_BLESS").is_some() {
        fs::write(&path, &made).expect("bindings.rs can be written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    // bindgen runs rustfmt with the settings of this package, so this is exact
    assert!(
        committed == made,
        "src/sys/bindings.rs is not what bindgen makes of the headers: INFERNO_BLESS=1 cargo test --test bindings"
    );
}
