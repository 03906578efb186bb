//! How requests to one model run together in one context: the settings.

use crate::{
    error::{Error, Result},
    model::LoadedModel,
};

/// How a model batches requests; [`ModelBuilder::with_batching`](crate::ModelBuilder::with_batching) turns it on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchOptions {
    /// Requests that run together, 1 to [`BatchOptions::MOST_SEQUENCES`].
    pub max_sequences: usize,
    /// Tokens that one step computes at most while somebody generates: one for each request that does, the rest from
    /// prompts. Fewer make texts flow more evenly while prompts are read, more read prompts faster. At least
    /// `max_sequences`. `None`: [`BatchOptions::STEP_TOKENS`], or `max_sequences` where that is more. A step that only
    /// reads prompts has as many as [`ContextOptions::ubatch_size`](crate::ContextOptions::ubatch_size) says.
    pub step_tokens: Option<usize>,
    /// Cells of the KV cache, one a token, that all requests and cached prefixes share. At least one request's context.
    /// `None`: as many as four contexts have, or `max_sequences` where that is less.
    pub kv_cells: Option<usize>,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self { max_sequences: 16, step_tokens: None, kv_cells: None }
    }
}

impl BatchOptions {
    /// The most requests that can run together. llama.cpp can tell 256 sequences apart, and kept beginnings are some of
    /// them.
    pub const MOST_SEQUENCES: usize = 128;

    /// [`step_tokens`](Self::step_tokens) where they are left open.
    pub const STEP_TOKENS: usize = 128;

    /// Sets [`max_sequences`](Self::max_sequences).
    pub fn with_max_sequences(mut self, sequences: usize) -> Self {
        self.max_sequences = sequences;
        self
    }

    /// Sets [`step_tokens`](Self::step_tokens).
    pub fn with_step_tokens(mut self, tokens: usize) -> Self {
        self.step_tokens = Some(tokens);
        self
    }

    /// Sets [`kv_cells`](Self::kv_cells).
    pub fn with_kv_cells(mut self, cells: usize) -> Self {
        self.kv_cells = Some(cells);
        self
    }

    /// Cells of the KV cache where a request's context holds so many tokens.
    pub(crate) fn cells_for(&self, context: usize) -> usize {
        self.kv_cells.unwrap_or_else(|| context.saturating_mul(self.max_sequences.min(4)))
    }

    /// Sequences that are kept for later requests that begin like earlier ones. Each has a row of logits, and where the
    /// model has a recurrent state or a window, memory of its own.
    pub(crate) fn kept_sequences(&self, model: &LoadedModel) -> usize {
        let whole = !model.is_recurrent() && model.native().sliding_window() == 0;
        self.max_sequences.clamp(4, if whole { 32 } else { 4 })
    }

    /// Checks that one request's context, of so many tokens, fits into the cells.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] naming the field.
    pub(crate) fn check_context(&self, context: usize) -> Result<()> {
        let cells = self.cells_for(context);
        if cells < context {
            let what = format!("{cells} is less than one request's context, which holds {context} tokens");
            return Err(Error::request("kv_cells", what));
        }
        if cells < self.max_sequences {
            let what = format!("{cells} is less than max_sequences, which is {}", self.max_sequences);
            return Err(Error::request("kv_cells", what));
        }
        Ok(())
    }

    /// Checks what can be checked without a model.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let most = Self::MOST_SEQUENCES;
        if !(1..=most).contains(&self.max_sequences) {
            return Err(Error::request(
                "max_sequences",
                format!("{} is outside 1 to {most}", self.max_sequences),
            ));
        }
        if let Some(tokens) = self.step_tokens
            && !(self.max_sequences..=1 << 30).contains(&tokens)
        {
            return Err(Error::request(
                "step_tokens",
                format!("{tokens} is outside {} (max_sequences) to {}", self.max_sequences, 1 << 30),
            ));
        }
        if let Some(cells) = self.kv_cells
            && !(2..=1 << 30).contains(&cells)
        {
            return Err(Error::request("kv_cells", format!("{cells} is outside 2 to {}", 1 << 30)));
        }
        Ok(())
    }
}
