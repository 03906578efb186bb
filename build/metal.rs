//! Compiles llama.cpp's Metal backend and embeds its kernel sources, which Metal compiles at run time.
//!
//! On macOS that is all; with the feature `metal-sim` the same files are compiled against the simulated Metal framework.

use crate::{
    cache::Cache,
    compile,
    pin::Pin,
    target::{Metal, Target},
};
use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

/// The folder in OUT_DIR of the kernel sources as they are embedded.
const EMBEDDED: &str = "metal";

pub(crate) fn objects(
    target: &Target,
    pin: &Pin,
    staged: &Path,
    here: &Path,
    out: &Path,
    cache: &Cache,
) -> Result<Vec<PathBuf>, String> {
    let dir = staged.join("ggml/src/ggml-metal");
    // not the headers of the kernels: they are part of what is embedded
    let cache = cache.with_headers(&dir, false)?;
    let build = |cpp: bool| {
        let mut build = compile::base(target, staged, pin, cpp);
        build.define("GGML_METAL_EMBED_LIBRARY", "1");
        if !cpp {
            // the backend retains and releases by hand
            build.flag("-fno-objc-arc");
        }
        build
    };
    let embedded = compile::sources(&out.join(EMBEDDED), &["s"])?;
    let cpp = compile::sources(&dir, &["cpp"])?;
    let objc = compile::sources(&dir, &["m"])?;

    let mut objects = cache.compile(assembler(&out.join(EMBEDDED)), embedded)?;
    match target.metal {
        #[cfg(feature = "metal-sim")]
        Metal::Simulated => {
            let simulator = crate::simulator::Simulator::find(here)?;
            let cache = cache.with_headers(&simulator.framework(), true)?;
            objects.extend(cache.compile(simulator.dress(build(true)), cpp)?);
            objects.extend(cache.compile(simulator.dress(build(false)), objc)?);
            objects.extend(simulator.objects(target, staged, pin, out, &cache)?);
        }
        _ => {
            let _ = here;
            objects.extend(cache.compile(build(true), cpp)?);
            objects.extend(cache.compile(build(false), objc)?);
        }
    }
    Ok(objects)
}

pub(crate) fn link(target: &Target) {
    match target.metal {
        Metal::Absent | Metal::Simulated => {}
        Metal::Framework => {
            for framework in ["Foundation", "Metal", "MetalKit"] {
                println!("cargo::rustc-link-lib=framework={framework}");
            }
            link_clang_runtime();
        }
    }
}

/// `@available` calls a function of clang's runtime, which rustc does not link: its standard library has the function
/// too, but only in newer versions than we ask for.
fn link_clang_runtime() {
    let output = cc::Build::new().get_compiler().to_command().arg("--print-search-dirs").output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    let libraries = text.lines().find_map(|line| line.strip_prefix("libraries: ="));
    for dir in libraries.into_iter().flat_map(|dirs| dirs.split(':')) {
        let dir = Path::new(dir).join("lib/darwin");
        if dir.join("libclang_rt.osx.a").is_file() {
            println!("cargo::rustc-link-search=native={}", dir.display());
            println!("cargo::rustc-link-lib=static:-bundle=clang_rt.osx");
            return;
        }
    }
}

/// The compiler as an assembler that finds what it embeds in this directory.
fn assembler(dir: &Path) -> cc::Build {
    let mut build = cc::Build::new();
    build.warnings(false).extra_warnings(false).debug(false).include(dir);
    build
}

/// Writes one assembly file for each kernel library, which holds the library's source between the two symbols that
/// ggml-metal-device.m looks for.
pub(crate) fn embed(target: &Target, staged: &Path, out: &Path) -> Result<(), String> {
    let (dir, out) = (staged.join("ggml/src/ggml-metal"), out.join(EMBEDDED));
    let fail = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    if out.is_dir() {
        // a library that is gone must not be compiled again
        fs::remove_dir_all(&out).map_err(|e| fail(&out, e))?;
    }
    fs::create_dir_all(&out).map_err(|e| fail(&out, e))?;
    let list = dir.join("ggml-metal-device.m");
    for name in libraries(&fs::read_to_string(&list).map_err(|e| fail(&list, e))?)? {
        let source = flatten(&dir, &dir.join("kernels").join(format!("{name}.metal")))?;
        let (flat, assembly) = (out.join(format!("{name}.metal")), out.join(format!("{name}.s")));
        fs::write(&flat, source).map_err(|e| fail(&flat, e))?;
        fs::write(&assembly, assembly_of(target, &name)).map_err(|e| fail(&assembly, e))?;
    }
    Ok(())
}

/// The names of the kernel libraries, from the list that the backend itself is made from, so that a patch which adds a
/// library adds it in one place:
/// ```c
/// #define GGML_METAL_LIBS \
///     X(FA_AUX, fa_aux) \
///     X(MISC,   misc)
/// ```
fn libraries(source: &str) -> Result<Vec<String>, String> {
    let mut lines = source.lines().skip_while(|line| !line.starts_with("#define GGML_METAL_LIBS"));
    let mut names = vec![];
    for line in lines.by_ref() {
        let entry = line.split_once("X(").and_then(|(_, rest)| rest.split_once(')'));
        if let Some((_, name)) = entry.and_then(|(entry, _)| entry.split_once(',')) {
            names.push(name.trim().to_owned());
        }
        if !line.trim_end().ends_with('\\') {
            break;
        }
    }
    match names.is_empty() {
        true => Err("ggml-metal-device.m has no list GGML_METAL_LIBS".into()),
        false => Ok(names),
    }
}

/// A kernel source with all that it includes from the tree, as Metal's compiler finds no files. Upstream's cmake makes
/// the same text from lists of the shared headers; here each header stands where it is first included.
fn flatten(dir: &Path, source: &Path) -> Result<String, String> {
    let mut text = String::new();
    inline(dir, source, &mut HashSet::new(), &mut text)?;
    Ok(text)
}

fn inline(dir: &Path, file: &Path, seen: &mut HashSet<PathBuf>, into: &mut String) -> Result<(), String> {
    let text = fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    for line in text.lines() {
        let included = line.trim_start().strip_prefix("#include \"").and_then(|rest| rest.split('"').next());
        match included {
            // the other branch of an #if: the embedded source has the mark
            Some("ggml-common.h") => {}
            Some(name) => {
                let place = [dir.join("kernels"), dir.to_owned()]
                    .iter()
                    .map(|place| place.join(name))
                    .find(|path| path.is_file())
                    .ok_or_else(|| format!("{}: there is no {name:?} to include", file.display()))?;
                if seen.insert(place.clone()) {
                    inline(dir, &place, seen, into)?;
                }
            }
            None if line.contains("__embed_ggml-common.h__") => {
                inline(dir, &dir.with_file_name("ggml-common.h"), seen, into)?;
            }
            None if line.trim() == "#pragma once" => {}
            None => {
                into.push_str(line);
                into.push('\n');
            }
        }
    }
    Ok(())
}

/// The library's source between two symbols, named as C names them on the target.
fn assembly_of(target: &Target, name: &str) -> String {
    let (section, prefix, note) = match target.os.as_str() {
        "macos" => ("__DATA,__ggml_metallib", "_", ""),
        // without the note the linker would make the stack executable
        _ => (".rodata", "", ".section .note.GNU-stack,\"\",@progbits\n"),
    };
    let (start, end) =
        (format!("{prefix}ggml_metallib_{name}_start"), format!("{prefix}ggml_metallib_{name}_end"));
    format!(
        ".section {section}\n.globl {start}\n{start}:\n.incbin \"{name}.metal\"\n.globl {end}\n{end}:\n{note}"
    )
}
