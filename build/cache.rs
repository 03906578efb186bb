//! Keeps compiled objects by the hash of everything that goes into them.
//!
//! The key is made of the source, all headers that it could include, the flags and the compiler. The directory is shared
//! between profiles (`INFERNO_BUILD_CACHE`, or `inferno-native` in cargo's target directory), so that a second profile
//! only links.

use sha2::{Digest, Sha256};
use std::{
    env, fs,
    path::{Path, PathBuf},
    rc::Rc,
};

/// Objects by the hash of everything that goes into them.
pub(crate) struct Cache {
    dir: PathBuf,
    /// Hash over the headers in the directories that the sources include from.
    headers: Vec<u8>,
    /// Sources that units include, by their path relative to `src`.
    models: PathBuf,
    /// Held until the build script ends, so that two builds do not compile the same objects twice.
    _lock: Rc<fs::File>,
}

impl Cache {
    pub(crate) fn open(out: &Path, staged: &Path) -> Result<Self, String> {
        println!("cargo::rerun-if-env-changed=INFERNO_BUILD_CACHE");
        let dir = match env::var_os("INFERNO_BUILD_CACHE") {
            Some(dir) => PathBuf::from(dir),
            // the root of cargo's target directory: it keeps facts about rustc there, and CACHEDIR.TAG where it made
            // the directory itself
            None => out
                .ancestors()
                .find(|dir| [".rustc_info.json", "CACHEDIR.TAG"].iter().any(|name| dir.join(name).is_file()))
                .unwrap_or(out)
                .join("inferno-native"),
        };
        let fail = |e: std::io::Error| format!("{}: {e}", dir.display());
        fs::create_dir_all(&dir).map_err(fail)?;
        let lock = fs::File::create(dir.join("lock")).map_err(fail)?;
        lock.lock().map_err(fail)?;

        // ggml's and llama.cpp's public headers, and ggml's own, which lie directly in ggml/src
        let public = [("ggml/include", true), ("include", true), ("ggml/src", false)];
        let mut headers = vec![];
        for (dir, recursive) in public {
            headers.extend(hash_headers(&staged.join(dir), recursive).map_err(fail)?);
        }
        Ok(Self { dir, headers, models: staged.join("src"), _lock: Rc::new(lock) })
    }

    /// The same cache for sources that also include headers of this directory, and of those in it where `recursive`.
    pub(crate) fn with_headers(&self, dir: &Path, recursive: bool) -> Result<Self, String> {
        let more = hash_headers(dir, recursive).map_err(|e| format!("{}: {e}", dir.display()))?;
        let headers = [self.headers.clone(), more].concat();
        Ok(Self {
            dir: self.dir.clone(),
            headers,
            models: self.models.clone(),
            _lock: Rc::clone(&self._lock),
        })
    }

    /// The objects of these files, compiled now where the cache does not hold them.
    pub(crate) fn compile(&self, mut build: cc::Build, files: Vec<PathBuf>) -> Result<Vec<PathBuf>, String> {
        let compiler = build.get_compiler();
        let mut common = Sha256::new();
        common.update(&self.headers);
        common.update(version_of(&compiler));
        for arg in compiler.args() {
            // flags that hold paths of one checkout do not change the code
            let text = arg.to_string_lossy();
            if !text.starts_with("-ffile-prefix-map") && !Path::new(arg).is_absolute() {
                common.update(text.as_bytes());
                common.update([0]);
            }
        }
        let mut objects = Vec::with_capacity(files.len());
        let mut missing = vec![];
        for file in files {
            let mut hash = common.clone();
            self.hash_source(&file, &mut hash)?;
            let key: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
            let object = self.dir.join(format!("{key}.o"));
            if !object.is_file() {
                missing.push((file, object.clone()));
            }
            objects.push(object);
        }
        if !missing.is_empty() {
            let made = build
                .files(missing.iter().map(|(file, _)| file))
                .try_compile_intermediates()
                .map_err(|e| format!("compiling: {e}"))?;
            for (made, (_, object)) in made.iter().zip(&missing) {
                // moved in one step: a build that is killed leaves no half object behind
                let partial = object.with_extension("partial");
                fs::copy(made, &partial)
                    .and_then(|_| fs::rename(&partial, object))
                    .map_err(|e| format!("{}: {e}", object.display()))?;
            }
        }
        Ok(objects)
    }

    /// The source, and the files that the build itself wrote into it by name: those of a unit, and what is embedded.
    fn hash_source(&self, file: &Path, hash: &mut Sha256) -> Result<(), String> {
        let read = |path: &Path| fs::read(path).map_err(|e| format!("{}: {e}", path.display()));
        let text = read(file)?;
        let beside = file.parent().unwrap_or(Path::new(""));
        for line in text.split(|b| *b == b'\n').filter_map(|line| std::str::from_utf8(line).ok()) {
            let quoted = |start: &str| line.strip_prefix(start).and_then(|rest| rest.strip_suffix('"'));
            if let Some(name) = quoted("#include \"models/") {
                hash.update(read(&self.models.join("models").join(name))?);
            } else if let Some(name) = quoted(".incbin \"") {
                hash.update(read(&beside.join(name))?);
            }
        }
        hash.update(&text);
        Ok(())
    }
}

fn version_of(compiler: &cc::Tool) -> Vec<u8> {
    let output = compiler.to_command().arg("--version").output();
    // -march=native means another thing on another machine
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpu.lines().find(|l| l.starts_with("flags") || l.starts_with("Features")).unwrap_or("");
    let mut version = output.map(|o| o.stdout).unwrap_or_default();
    version.extend(flags.as_bytes());
    version
}

fn hash_headers(root: &Path, recursive: bool) -> std::io::Result<Vec<u8>> {
    let mut headers = vec![];
    collect_headers(root, recursive, &mut headers)?;
    headers.sort();
    let mut hash = Sha256::new();
    for path in headers {
        hash.update(path.file_name().expect("a file").as_encoded_bytes());
        hash.update(fs::read(&path)?);
    }
    Ok(hash.finalize().to_vec())
}

fn collect_headers(dir: &Path, recursive: bool, into: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            if recursive {
                collect_headers(&path, true, into)?;
            }
        } else if path.extension().is_some_and(|x| x == "h" || x == "hpp" || x == "inc") {
            into.push(path);
        }
    }
    Ok(())
}
