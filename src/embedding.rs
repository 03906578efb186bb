//! Texts to vectors: what the model makes of each token, pooled to one vector of length 1.

use crate::{
    error::{Error, Result},
    gguf::Gguf,
    model::{LoadedModel, Token},
    session::{ContextOptions, StopHandle, new_embedding_context},
    sys::{self, engine},
};
use std::sync::Arc;

/// Tokens computed at once where the model reads from left to right: a graph for embeddings computes logits for every
/// token, too, and those of more would take hundreds of megabytes for a large vocabulary.
const CHUNK: usize = 64;

/// Architectures whose tokens see the whole text, and which llama.cpp computes in one piece: those without a memory in
/// `llama_model::create_memory` (llama-model.cpp).
const WHOLE: &[&str] = &[
    "bert",
    "clef",
    "dream",
    "eurobert",
    "gemma-embedding",
    "jina-bert-v2",
    "jina-bert-v3",
    "llada",
    "llada-moe",
    "modern-bert",
    "neo-bert",
    "nomic-bert",
    "nomic-bert-moe",
    "rnd1",
    "wavtokenizer-dec",
];

/// How the vectors of a text's tokens become one; `ARCH.pooling_type` of the file, by llama.cpp's numbers
/// (`llama_pooling_type` in llama.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pooling {
    /// Their mean; also where the file says nothing.
    Mean,
    /// That of the first token.
    First,
    /// That of the last token.
    Last,
}

impl Pooling {
    fn of(gguf: &Gguf) -> Result<Self> {
        let key = format!("{}.pooling_type", gguf.architecture().unwrap_or_default());
        match gguf.get_u64(&key) {
            None | Some(1) => Ok(Pooling::Mean),
            Some(0) => {
                Err(unsupported(gguf, "it gives a vector for each token (pooling type 0), none for a text"))
            }
            Some(2) => Ok(Pooling::First),
            Some(3) => Ok(Pooling::Last),
            Some(4) => Err(unsupported(gguf, "it ranks texts (pooling type 4), and gives no embeddings")),
            Some(other) => Err(unsupported(gguf, &format!("pooling type {other} is not known"))),
        }
    }
}

fn unsupported(gguf: &Gguf, what: &str) -> Error {
    Error::UnsupportedModel { path: gguf.path().into(), what: what.into() }
}

/// Whether the text must be computed in one piece.
fn reads_whole(gguf: &Gguf) -> bool {
    let arch = gguf.architecture().unwrap_or_default();
    WHOLE.contains(&arch) || gguf.get_bool(&format!("{arch}.attention.causal")) == Some(false)
}

/// A context that turns texts into vectors. Blocking: run it on a thread that may wait.
#[derive(Debug)]
pub(crate) struct Embedder {
    context: sys::Context,
    pooling: Pooling,
    /// Tokens of the longest text.
    limit: usize,
    chunk: usize,
    whole: bool,
    size: usize,
    batch: sys::Batch,
}

impl Embedder {
    /// A context for texts of up to `longest` tokens.
    ///
    /// # Errors
    /// [`Error::ContextOverflow`] where they are longer than a context of these options holds,
    /// [`Error::UnsupportedModel`] for one that gives no embeddings, [`Error::OutOfMemory`].
    pub(crate) fn new(model: &Arc<LoadedModel>, options: &ContextOptions, longest: usize) -> Result<Self> {
        options.validate()?;
        let gguf = model.gguf();
        let pooling = Pooling::of(gguf)?;
        let limit = options.context_for(model);
        if longest > limit {
            return Err(Error::ContextOverflow { needed: longest, limit });
        }
        let whole = reads_whole(gguf);
        let chunk = if whole { longest.max(1) } else { CHUNK.min(options.ubatch_size).min(limit) };
        let options = ContextOptions { ubatch_size: chunk, batch_size: chunk, ..options.clone() };
        let cells = longest.max(chunk);
        let context = new_embedding_context(model, &options, cells, chunk)?;
        let size = usize::try_from(model.native().embedding_size()).unwrap_or(0);
        Ok(Self { context, pooling, limit: longest, chunk, whole, size, batch: sys::Batch::default() })
    }

    /// A handle that stops it from any thread.
    pub(crate) fn stop_handle(&self) -> StopHandle {
        StopHandle::new(self.context.stop_flag())
    }

    /// The vector of one text, which the model's vocabulary has been checked to hold.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] for no tokens, [`Error::Cancelled`] after a stop, [`Error::Engine`] where the result is
    /// no direction: not finite, or zero.
    pub(crate) fn embed(&mut self, tokens: &[Token]) -> Result<Vec<f32>> {
        if tokens.is_empty() {
            return Err(Error::request(
                "input",
                "a text is empty, and this model adds no token before a text",
            ));
        }
        if tokens.len() > self.limit {
            return Err(Error::ContextOverflow { needed: tokens.len(), limit: self.limit });
        }
        let mut sum = vec![0.0f64; self.size];
        for (index, part) in tokens.chunks(self.chunk).enumerate() {
            let from = index * self.chunk;
            self.decode(part, from)?;
            let wanted = match self.pooling {
                Pooling::Mean => 0..part.len(),
                Pooling::First if from == 0 => 0..1,
                Pooling::Last if from + part.len() == tokens.len() => part.len() - 1..part.len(),
                _ => 0..0,
            };
            for token in wanted {
                let vector =
                    self.context.embedding(token).map_err(|failure| engine("embedding", &failure))?;
                for (sum, x) in sum.iter_mut().zip(vector) {
                    *sum += f64::from(*x);
                }
            }
        }
        if !self.whole {
            // the next text begins anew
            self.context.remove(0, 0, None).map_err(|failure| engine("rewind", &failure))?;
        }
        // a mean and a sum have the same direction
        normalised(&sum)
    }

    fn decode(&mut self, part: &[Token], from: usize) -> Result<()> {
        self.batch.clear();
        for (offset, &token) in part.iter().enumerate() {
            let position = i32::try_from(from + offset).expect("a context holds at most 2^30 tokens");
            self.batch.push(token, position, 0, true);
        }
        match self.context.decode(&self.batch).map_err(|failure| engine("decode", &failure))? {
            sys::Decoded::Done => Ok(()),
            sys::Decoded::Stopped => Err(Error::Cancelled),
            sys::Decoded::Full => {
                Err(Error::ContextOverflow { needed: from + part.len(), limit: self.limit })
            }
        }
    }
}

/// The vector of length 1 in this direction.
pub(crate) fn normalised(vector: &[f64]) -> Result<Vec<f32>> {
    let norm = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
    if !norm.is_finite() || norm == 0.0 {
        let what = "the embedding has no direction: it is zero, or not a number";
        return Err(Error::Engine { call: "embedding", what: what.into() });
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most 1, in the precision of the model")]
    let unit = vector.iter().map(|x| (x / norm) as f32).collect();
    Ok(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_length_one() {
        assert_eq!(normalised(&[3.0, -4.0]).unwrap(), [0.6, -0.8]);
        assert!(normalised(&[0.0, 0.0]).is_err());
        assert!(normalised(&[f64::NAN, 1.0]).is_err());
        assert!(normalised(&[]).is_err());
    }
}
