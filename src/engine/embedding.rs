//! Embeddings from async callers: admitted like other requests, in a context of their own.

use super::{
    answer::prompt_tokens,
    blocking,
    model::{Active, Model},
    request::Prompt,
    stream::CancelHandle,
};
use crate::{
    embedding::{Embedder, normalised},
    error::{Error, Result},
};

/// The vectors of some texts.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Embeddings {
    /// One for each text, of length 1 (L2). The dot product of two is the cosine of their angle.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens of all texts together.
    pub prompt_tokens: usize,
}

impl Embeddings {
    /// The first `dimensions` numbers of each vector, again of length 1: of use where the model was trained for it
    /// (Matryoshka representation learning, <https://arxiv.org/abs/2205.13147>).
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] for none, or more than there are.
    pub fn shortened(mut self, dimensions: usize) -> Result<Self> {
        for vector in &mut self.vectors {
            if !(1..=vector.len()).contains(&dimensions) {
                let what = format!("{dimensions} is out of range: 1 to {} for this model", vector.len());
                return Err(Error::request("dimensions", what));
            }
            let part: Vec<f64> = vector[..dimensions].iter().copied().map(f64::from).collect();
            *vector = normalised(&part)?;
        }
        Ok(self)
    }
}

/// The caller's end of the work, which ends with it.
struct Caller(CancelHandle);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Model {
    /// Turns texts into vectors, pooled as the file says (`pooling_type`: mean, first or last token; mean where it says
    /// nothing) and of length 1. Any model gives vectors; those of models trained for it compare meanings best. It waits
    /// for a place as a request does; dropping the future stops the work within one ubatch.
    ///
    /// # Errors
    /// [`Error::ContextOverflow`] for a text that is longer than the context, [`Error::InvalidRequest`] for one without
    /// tokens, [`Error::UnsupportedModel`] for a model that gives no embeddings, [`Error::QueueFull`],
    /// [`Error::ShutDown`].
    pub async fn embed(&self, texts: Vec<Prompt>) -> Result<Embeddings> {
        let permit = self.engine().admit().await?;
        let caller = Caller(CancelHandle::default());
        let active = Active::new(self.clone(), caller.0.clone());
        let model = self.clone();
        let cancel = caller.0.clone();
        blocking(move || {
            let result = model.embed_blocking(&texts, &cancel);
            drop((active, permit));
            result
        })
        .await
    }

    fn embed_blocking(&self, texts: &[Prompt], cancel: &CancelHandle) -> Result<Embeddings> {
        let loaded = self.loaded()?;
        let mut all = vec![];
        for text in texts {
            let tokens = prompt_tokens(&loaded, self.chat_template(), text)?;
            for &token in &tokens {
                loaded.check_token(token)?;
            }
            all.push(tokens);
        }
        let longest = all.iter().map(Vec::len).max().unwrap_or(0);
        let mut embedder = Embedder::new(&loaded, self.context_options(), longest)?;
        cancel.attach(embedder.stop_handle());
        let vectors = all.iter().map(|tokens| embedder.embed(tokens)).collect::<Result<_>>()?;
        Ok(Embeddings { vectors, prompt_tokens: all.iter().map(Vec::len).sum() })
    }
}
