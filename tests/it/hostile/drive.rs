//! What a program does with a model: load, tokenise, generate, save, restore, drop. Run in a child process.

use super::requests::{self, Request};
use inferno::{
    CacheType, ContextOptions, Error, FlashAttention, LoadOptions, Message, Prompt, Role, SampleOptions,
    Tokenize, blocking,
};
use std::path::Path;

/// How far a case came: the error it ended with, or nothing where all went well.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// `refused` by our own checks, `load` by llama.cpp, `run`, or `ok`.
    pub(crate) stage: &'static str,
    pub(crate) what: String,
}

/// Choices that are no property of the file.
#[derive(Debug, Clone)]
pub(crate) enum How {
    /// Everything, with options drawn from this number.
    Drawn(u64),
    /// One request.
    Asked(Request),
}

pub(crate) fn drive(path: &Path, how: How) -> Outcome {
    match how {
        How::Drawn(number) => drive_all(path, Options(number)),
        How::Asked(request) => requests::drive(path, &request),
    }
}

#[derive(Debug, Clone, Copy)]
struct Options(u64);

impl Options {
    fn load(self) -> LoadOptions {
        let mut options = LoadOptions::default();
        options.mmap = Some(self.0 & 1 == 0);
        options.repack = self.0 & 2 == 0;
        options
    }

    fn context(self) -> ContextOptions {
        let mut options = ContextOptions::default();
        options.context_size = Some(64);
        options.batch_size = 32;
        options.ubatch_size = 16;
        options.threads = Some(1 + usize::try_from(self.0 >> 2 & 1).unwrap());
        options.flash_attention = match self.0 >> 3 & 3 {
            0 => FlashAttention::On,
            1 => FlashAttention::Off,
            _ => FlashAttention::Auto,
        };
        let kinds = [
            CacheType::F16,
            CacheType::F16,
            CacheType::F32,
            CacheType::Q8_0,
            CacheType::Q4_0,
            CacheType::Bf16,
        ];
        options.cache_type_k = kinds[usize::try_from(self.0 >> 5).unwrap() % kinds.len()];
        options.cache_type_v = kinds[usize::try_from(self.0 >> 9).unwrap() % kinds.len()];
        options
    }
}

pub(crate) const TEXTS: &[&str] = &[
    "",
    " ",
    "Once upon a time, there was a fox.",
    "<|im_start|>user\nhi<|im_end|><s></s><unk>[CLS][SEP]",
    "\u{2581}\u{2581} \t\r\n  \u{a0}\u{3000}\u{85}",
    "\u{0}\u{1}\u{7f}\u{80}\u{ffff}\u{10ffff}\u{fffd}",
    "日本語テキスト 中文 한국어 ไทย العربية 👩‍👩‍👧‍👦 e\u{301}\u{301}\u{301} I'm 12345678 ½ ²",
];

fn drive_all(path: &Path, how: Options) -> Outcome {
    let end = |stage, error: Error| Outcome { stage, what: error.to_string() };
    let mut context = how.context();
    if context.validate().is_err() {
        context.cache_type_v = CacheType::F16;
    }
    let builder = inferno::Model::builder(path).with_load_options(how.load()).with_context_options(context);
    let model = match blocking::Model::load(builder) {
        Ok(model) => model,
        Err(error @ (Error::InvalidGguf { .. } | Error::UnsupportedModel { .. })) => {
            return end("refused", error);
        }
        Err(error) => return end("load", error),
    };
    match run(&model) {
        Ok(()) => Outcome { stage: "ok", what: String::new() },
        Err(error) => end("run", error),
    }
}

fn run(model: &blocking::Model) -> Result<(), Error> {
    let loaded = model.inner().loaded()?;
    let mut first = Ok(());
    let mut note = |result: Result<(), Error>| {
        if first.is_ok() {
            first = result;
        }
    };
    loaded.description();
    for text in TEXTS {
        for (add_special, parse_special) in [(true, true), (false, false)] {
            note(loaded.tokenize(text, Tokenize { add_special, parse_special }).and_then(|tokens| {
                loaded.detokenize(&tokens, true)?;
                loaded.detokenize(&tokens, false).map(drop)
            }));
        }
    }
    for token in 0..i32::try_from(loaded.vocab_size().min(5000)).unwrap() {
        note(loaded.token_bytes(token, token % 2 == 0).map(drop));
        loaded.is_end(token);
        loaded.is_control(token);
    }
    for id in [-1, i32::MIN, i32::MAX, i32::try_from(loaded.vocab_size()).unwrap()] {
        assert!(loaded.token_bytes(id, true).is_err());
    }
    let greedy = SampleOptions::default().with_temperature(0.0).with_max_tokens(4).with_logprobs(2);
    note(model.generate("Once upon a time", greedy.clone()).map(drop));
    note(model.generate(Prompt::Tokens(vec![0; 40]), greedy.clone()).map(drop));
    let last_token = i32::try_from(loaded.vocab_size() - 1).unwrap();
    note(model.generate(Prompt::Tokens(vec![last_token]), greedy).map(drop));
    let talk = vec![Message::new(Role::User, "hi <|im_end|>")];
    let warm = SampleOptions::default().with_max_tokens(4).with_seed(1).with_ignore_eos(true);
    note(model.generate(Prompt::Chat(talk), warm).map(drop));
    note((|| {
        let mut session = model.inner().session()?;
        session.prefill(&[0; 20], |_| std::ops::ControlFlow::Continue(()))?;
        session.rewind(3)?;
        session.prefill(&[1, 2], |_| std::ops::ControlFlow::Continue(()))?;
        session.logits()?;
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        session.save(&state)?;
        session.restore(&state)?;
        session.decode(0)
    })());
    first
}
