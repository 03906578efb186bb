//! A loaded model on the blocking floor: weights, vocabulary and metadata, shared read-only.

use crate::{
    device::{self, Attention, DeviceSelect, Fallback, Placement, Plan, Wishes},
    error::{Error, Result},
    gguf::Gguf,
    sys::{self, engine},
    template::ChatTemplate,
};
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::{Read, Seek, SeekFrom},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// A token's id: its row in the vocabulary, from 0.
pub type Token = i32;

/// Texts longer than this, in bytes, are tokenised on a thread with a stack in proportion: llama.cpp splits the words of
/// some vocabularies with `std::regex`, which recurses once a character. At [`STACK_PER_BYTE`] this is 1 MiB, half of
/// what a blocking thread of tokio has.
const SHORT_TEXT: usize = 1024;
/// Stack for each byte of such a text. The matcher of libstdc++ 12 (-O3, x86-64) takes 320 bytes a character in all 20
/// vocabularies that use it, and a character has at least one byte: the high-water mark of 100 KB of one letter, digit,
/// space or sign. Three times that is for other standard libraries. Pages that are not touched cost nothing.
const STACK_PER_BYTE: usize = 1024;

/// How a model is loaded.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LoadOptions {
    /// Where it runs.
    pub device: DeviceSelect,
    /// Map the file into memory instead of reading it; `None`: as is best for the devices. Mapped weights are shared
    /// between processes and can be dropped by the system; read weights stay usable when the file is overwritten. A
    /// graphics card with memory of its own reads mapped weights over the link to the host, for every token.
    pub mmap: Option<bool>,
    /// Hold each graphics device against the CPU before it is trusted, as far as that was not done before with this version,
    /// system, device and kind of model. Without it, a device that computes wrongly gives wrong text.
    pub self_test: bool,
    /// Pack the weights that the CPU computes with into the layout of its fastest kernels: faster prompts and
    /// generation, a load that takes as long as copying them, and a copy of those weights in memory in place of the
    /// mapped file. [`cpu_weights`](crate::cpu_weights) tells which layout.
    pub repack: bool,
}

/// The header of the built-in model.
#[cfg(feature = "builtin-model")]
pub(crate) fn builtin_header() -> Result<Gguf> {
    Gguf::from_bytes(crate::builtin::MODEL, crate::builtin::NAME)
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { device: DeviceSelect::Auto, mmap: None, self_test: true, repack: true }
    }
}

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ModelSource {
    /// A GGUF file.
    File(PathBuf),
    /// The model that is built into the crate.
    #[cfg(feature = "builtin-model")]
    Builtin,
}

/// A loaded model: `Arc` it and share it. [`Session`](crate::Session)s run it, each with a context of its own.
#[derive(Debug)]
pub struct LoadedModel {
    native: Arc<sys::Model>,
    gguf: Gguf,
    path: PathBuf,
    devices: Vec<String>,
    placement: Placement,
    fallbacks: Vec<Fallback>,
    /// The kinds of attention that the devices were tested with, and whether flash attention is used; none where devices
    /// are trusted, or the CPU does everything.
    attention: Option<Mutex<Vec<(Attention, bool)>>>,
    fingerprint: OnceLock<Result<String, String>>,
}

impl ModelSource {
    /// How the model would be run with these options; nothing is loaded.
    pub(crate) fn plan(&self, options: &LoadOptions, attention: Attention) -> Result<Plan> {
        let gguf = match self {
            ModelSource::File(path) => Gguf::open(path)?,
            #[cfg(feature = "builtin-model")]
            ModelSource::Builtin => builtin_header()?,
        };
        gguf.validate_for_llama()?;
        Ok(options.device.place(&gguf, Wishes { mmap: options.mmap, attention })?.plan)
    }
}

impl LoadedModel {
    /// Checks the file's header, then loads it. `progress` is told the fraction done, from 0 to 1, a few hundred times;
    /// when it breaks, everything loaded so far is freed and the error is [`Error::LoadCancelled`].
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::InvalidGguf`] and [`Error::UnsupportedModel`] from the header's validation;
    /// [`Error::OutOfMemory`] where the weights cannot fit; [`Error::DeviceLost`] where a device is gone; [`Error::ModelLoadFailed`] with llama.cpp's reason.
    pub fn load(
        path: impl AsRef<Path>,
        options: &LoadOptions,
        mut progress: impl FnMut(f32) -> ControlFlow<()>,
    ) -> Result<Arc<Self>> {
        Self::load_file(path.as_ref(), options, Attention::default(), &mut progress).map(Arc::new)
    }

    /// The same for contexts that will mostly be asked for this attention.
    pub(crate) fn load_source(
        source: &ModelSource,
        options: &LoadOptions,
        attention: Attention,
        progress: &mut dyn FnMut(f32) -> ControlFlow<()>,
    ) -> Result<Arc<Self>> {
        match source {
            ModelSource::File(path) => Self::load_file(path, options, attention, progress).map(Arc::new),
            #[cfg(feature = "builtin-model")]
            ModelSource::Builtin => {
                let file = builtin_file()?;
                let options = LoadOptions { mmap: Some(false), ..options.clone() };
                let mut model = Self::load_file(file.path(), &options, attention, progress)?;
                model.fingerprint()?;
                model.path = crate::builtin::NAME.into();
                let reason = "the built-in model goes through a file that is deleted once it is read";
                let plan = &mut model.placement.plan;
                plan.mmap.reason = reason.into();
                for device in plan.devices.iter_mut().filter(|d| d.buffers.value == device::Buffers::Shared) {
                    device.maps_file.reason = reason.into();
                }
                Ok(Arc::new(model))
            }
        }
    }

    fn load_file(
        path: &Path,
        options: &LoadOptions,
        attention: Attention,
        progress: &mut dyn FnMut(f32) -> ControlFlow<()>,
    ) -> Result<Self> {
        let gguf = Gguf::open(path)?;
        gguf.validate_for_llama()?;
        let wishes = Wishes { mmap: options.mmap, attention };
        let mut placement = options.device.place(&gguf, wishes)?;
        let mut fallbacks = vec![];
        if options.self_test {
            let test = device::Test {
                path,
                gguf: &gguf,
                attention,
                largest: gguf.tensor_bytes(),
                trust_earlier: true,
            };
            let settled = device::settle(placement, wishes, &test, || progress(0.0).is_continue())?;
            (placement, fallbacks) = (settled.placement, settled.fallbacks);
        }
        let (names, devices, plan) = (placement.names(), placement.native(), &placement.plan);
        log_plan(plan);
        let params = sys::ModelParams {
            devices,
            layers: plan.devices.iter().map(|d| d.layers.value).collect(),
            mmap: plan.mmap.value,
            repack: options.repack,
        };
        // the CPU holds at least the embedding, and all that no graphics device takes
        let weights = device::cpu_weights(options.repack, params.mmap)?;
        tracing::info!(%weights, "weights on the CPU");
        let native = sys::Model::load(path, &params, &mut |done| progress(done).is_continue())
            .map_err(|failure| {
                device::lost(&names).unwrap_or_else(|| match failure {
                    sys::Failure::OutOfMemory => Error::OutOfMemory {
                        device: names.join(", "),
                        needed: gguf.tensor_bytes(),
                        free: None,
                    },
                    other => Error::ModelLoadFailed { path: path.into(), what: other.to_string() },
                })
            })?
            .ok_or(Error::LoadCancelled)?;
        let unsupported = |what: &str| Error::UnsupportedModel { path: path.into(), what: what.into() };
        if !native.is_decoder_only() {
            return Err(unsupported(
                "it is an encoder model; inferno generates text with decoder-only models",
            ));
        }
        if !native.has_tokenizer() {
            return Err(unsupported("it holds no tokenizer (tokenizer.ggml.model is \"none\")"));
        }
        Ok(Self {
            native: Arc::new(native),
            gguf,
            path: path.into(),
            devices: names,
            attention: (options.self_test && !plan.devices.is_empty())
                .then(|| Mutex::new(vec![(attention, plan.flash_attention.value)])),
            placement,
            fallbacks,
            fingerprint: OnceLock::new(),
        })
    }

    /// The file it was loaded from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's header: metadata and tensors.
    pub fn gguf(&self) -> &Gguf {
        &self.gguf
    }

    /// The model's chat template, compiled; ChatML where it brings none.
    ///
    /// # Errors
    /// [`Error::Template`] where it is no Jinja.
    pub fn chat_template(&self) -> Result<ChatTemplate> {
        let text = |token: Option<Token>| -> Result<String> {
            Ok(String::from_utf8_lossy(&token.map_or(Ok(vec![]), |t| self.token_bytes(t, true))?)
                .into_owned())
        };
        ChatTemplate::new(self.gguf.chat_template(), &text(self.bos())?, &text(self.eos())?)
    }

    /// The devices it runs on, by name; at least one.
    pub fn devices(&self) -> &[String] {
        &self.devices
    }

    /// How its devices are used, and why.
    pub fn plan(&self) -> &Plan {
        &self.placement.plan
    }

    /// How a context with this attention is made. What the devices were not tested with yet, they are tested with now.
    ///
    /// # Errors
    /// [`Error::DeviceWrong`] where a device fails.
    pub(crate) fn tested_attention(&self, attention: Attention) -> Result<sys::FlashAttention> {
        let Some(known) = &self.attention else {
            return Ok(match attention.flash {
                sys::FlashAttention::Auto if !self.plan().flash_attention.value => sys::FlashAttention::Off,
                flash => flash,
            });
        };
        // held during the test: who else asks for the same need not repeat it
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let flash = match known.iter().find(|(a, _)| *a == attention) {
            Some((_, flash)) => *flash,
            None => {
                let flash = self.test_attention(attention)?;
                known.push((attention, flash));
                flash
            }
        };
        Ok(if flash { sys::FlashAttention::On } else { sys::FlashAttention::Off })
    }

    fn test_attention(&self, attention: Attention) -> Result<bool> {
        let run = |path: &Path| {
            // the weights have their memory by now
            let test = device::Test { path, gguf: &self.gguf, attention, largest: 0, trust_earlier: true };
            device::attend(&self.placement, &test)
        };
        #[cfg(feature = "builtin-model")]
        if self.path == Path::new(crate::builtin::NAME) {
            return run(builtin_file()?.path());
        }
        run(&self.path)
    }

    /// What was decided otherwise than planned, as a device failed its self-test.
    pub fn fallbacks(&self) -> &[Fallback] {
        &self.fallbacks
    }

    /// llama.cpp's own description: architecture, size class and quantisation.
    pub fn description(&self) -> String {
        self.native.description()
    }

    /// Number of parameters.
    pub fn parameters(&self) -> u64 {
        self.native.parameters()
    }

    /// Size of the weights in bytes.
    pub fn tensor_bytes(&self) -> u64 {
        self.native.tensor_bytes()
    }

    /// Context length that the model was trained for, in tokens.
    pub fn trained_context(&self) -> usize {
        usize::try_from(self.native.trained_context()).unwrap_or(0)
    }

    /// Number of tokens in the vocabulary.
    pub fn vocab_size(&self) -> usize {
        usize::try_from(self.native.vocab_size()).unwrap_or(0)
    }

    /// The beginning-of-text token, if there is one.
    pub fn bos(&self) -> Option<Token> {
        self.native.bos()
    }

    /// Whether the model wants [`bos`](Self::bos) before a text.
    pub fn adds_bos(&self) -> bool {
        self.native.adds_bos()
    }

    /// The end-of-text token, if there is one.
    pub fn eos(&self) -> Option<Token> {
        self.native.eos()
    }

    /// Whether generation ends at this token (end of text, end of turn).
    pub fn is_end(&self, token: Token) -> bool {
        self.native.is_end(token)
    }

    /// Whether this is a control token, which has no text of its own.
    pub fn is_control(&self, token: Token) -> bool {
        self.native.is_control(token)
    }

    /// Text to tokens, as the model's own tokenizer makes them.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] for texts of 2 GiB and more, [`Error::Engine`] where the tokenizer fails.
    pub fn tokenize(&self, text: &str, options: Tokenize) -> Result<Vec<Token>> {
        let run = || self.native.tokenize(text, options.add_special, options.parse_special);
        let result = if text.len() <= SHORT_TEXT {
            run()
        } else {
            let stack = text.len().saturating_mul(STACK_PER_BYTE).saturating_add(8 << 20);
            std::thread::scope(|scope| {
                let thread = std::thread::Builder::new().name("inferno-tokenize".into()).stack_size(stack);
                match thread.spawn_scoped(scope, run) {
                    Ok(handle) => handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                    Err(_) => Err(sys::Failure::OutOfMemory),
                }
            })
        };
        result.map_err(|failure| engine("tokenize", &failure))
    }

    /// The bytes of one token; they need not be whole characters. Control tokens have none unless `special`.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] for a token outside the vocabulary.
    pub fn token_bytes(&self, token: Token, special: bool) -> Result<Vec<u8>> {
        let mut bytes = vec![];
        self.push_token_bytes(token, special, &mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn push_token_bytes(&self, token: Token, special: bool, into: &mut Vec<u8>) -> Result<()> {
        self.check_token(token)?;
        self.native.piece(token, special, into).map_err(|failure| engine("detokenize", &failure))
    }

    /// Tokens to text. Bytes that are no UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] for a token outside the vocabulary.
    pub fn detokenize(&self, tokens: &[Token], special: bool) -> Result<String> {
        let mut bytes = vec![];
        for &token in tokens {
            self.push_token_bytes(token, special, &mut bytes)?;
        }
        Ok(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
        })
    }

    pub(crate) fn check_token(&self, token: Token) -> Result<()> {
        if usize::try_from(token).is_ok_and(|t| t < self.vocab_size()) {
            return Ok(());
        }
        Err(Error::request(
            "token",
            format!("{token} is outside the vocabulary (0 to {})", self.vocab_size().saturating_sub(1)),
        ))
    }

    /// Identifies the model for saved states: a SHA-256 over the header and 64 samples of the weights, in hex.
    /// Computed on the first call.
    ///
    /// # Errors
    /// [`Error::Io`] where the file can no longer be read.
    pub fn fingerprint(&self) -> Result<&str> {
        let result =
            self.fingerprint.get_or_init(|| fingerprint(&self.path, &self.gguf).map_err(|e| e.to_string()));
        match result {
            Ok(hex) => Ok(hex),
            Err(what) => Err(Error::io("read", &self.path, std::io::Error::other(what.clone()))),
        }
    }

    /// The `llama_model *` of the pinned llama.cpp, alive as long as this model: for calls into the C API that this crate
    /// does not wrap. What is done with it must not change the model, and needs `unsafe` of the caller's own.
    #[must_use]
    pub fn as_ptr(&self) -> std::ptr::NonNull<std::ffi::c_void> {
        self.native.as_ptr()
    }

    pub(crate) fn native(&self) -> &Arc<sys::Model> {
        &self.native
    }

    /// Whether the model's memory cannot be rewound token by token.
    pub(crate) fn is_recurrent(&self) -> bool {
        self.native.is_recurrent()
    }
}

fn log_plan(plan: &Plan) {
    for d in &plan.devices {
        tracing::info!(
            device = %d.device,
            layers = d.layers.value,
            encoder = %d.encoder.value,
            buffers = %d.buffers.value,
            maps_file = d.maps_file.value,
            "{}",
            d.layers.reason
        );
    }
    for note in &plan.notes {
        tracing::info!("{note}");
    }
}

/// The built-in model as a file, for as long as the result lives: llama.cpp reads files.
#[cfg(feature = "builtin-model")]
pub(crate) fn builtin_file() -> Result<tempfile::NamedTempFile> {
    let fail = |e| Error::io("write", std::env::temp_dir(), e);
    let mut file = tempfile::Builder::new().prefix("inferno-").suffix(".gguf").tempfile().map_err(fail)?;
    std::io::Write::write_all(&mut file, crate::builtin::MODEL).map_err(fail)?;
    Ok(file)
}

/// How a text becomes tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tokenize {
    /// Put around the text what the model wants there, such as the beginning-of-text token.
    pub add_special: bool,
    /// Read the text of control tokens (`<|im_start|>`) as these tokens. Off for what users type: with it, text can
    /// pose as the system's.
    pub parse_special: bool,
}

fn fingerprint(path: &Path, gguf: &Gguf) -> std::io::Result<String> {
    const SAMPLES: u64 = 64;
    const SAMPLE: u64 = 4096;
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    let mut hash = Sha256::new();
    hash.update(length.to_le_bytes());
    let header = gguf.data_offset();
    std::io::copy(&mut (&mut file).take(header), &mut HashWriter(&mut hash))?;
    let span = length.saturating_sub(header);
    for i in 0..SAMPLES {
        file.seek(SeekFrom::Start(header + span / SAMPLES * i))?;
        std::io::copy(&mut (&mut file).take(SAMPLE), &mut HashWriter(&mut hash))?;
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

struct HashWriter<'a>(&'a mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0.update(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
