//! How requests to one model run together in one context: the settings.

use crate::{
    error::{Error, Result},
    model::LoadedModel,
};

/// How a model batches requests; [`ModelBuilder::with_batching`](crate::ModelBuilder::with_batching) turns it on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchOptions {
    /// Requests that run together at most, 1 to [`BatchOptions::MOST_SEQUENCES`]: as many of them as the cells suffice
    /// for. `None`: [`BatchOptions::SEQUENCES`], or [`BatchOptions::SEQUENCES_OF_THEIR_OWN`] where the model has a
    /// recurrent state or a window, of which each sequence takes its own; no more than `step_tokens`.
    pub max_sequences: Option<usize>,
    /// Tokens that one step computes at most where it is for several requests: one for each that generates, the rest from
    /// prompts. Fewer make texts flow more evenly while prompts are read, more read prompts faster. At least
    /// `max_sequences`. `None`: [`BatchOptions::STEP_TOKENS`], or twice `max_sequences` where that is more. A step that only
    /// reads one prompt has as many as [`ContextOptions::ubatch_size`](crate::ContextOptions::ubatch_size) says.
    pub step_tokens: Option<usize>,
    /// Cells of the KV cache, one a token, that all requests and cached prefixes share. At least one request's context.
    /// `None`: as many as four contexts have, or `max_sequences` where that is less.
    pub kv_cells: Option<usize>,
}

impl BatchOptions {
    /// The most requests that can run together. llama.cpp can tell 256 sequences apart, and kept beginnings are some of
    /// them.
    pub const MOST_SEQUENCES: usize = 128;

    /// [`max_sequences`](Self::max_sequences) where it is left open, and sequences share all they take.
    pub const SEQUENCES: usize = 16;

    /// The same where they do not.
    pub const SEQUENCES_OF_THEIR_OWN: usize = 8;

    /// [`step_tokens`](Self::step_tokens) where they are left open.
    pub const STEP_TOKENS: usize = 128;

    /// Sets [`max_sequences`](Self::max_sequences).
    pub fn with_max_sequences(mut self, sequences: usize) -> Self {
        self.max_sequences = Some(sequences);
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
        self.kv_cells.unwrap_or_else(|| context.saturating_mul(self.max_sequences.unwrap_or(4).min(4)))
    }

    /// What these options come to for a model.
    pub(crate) fn sizes(&self, model: &LoadedModel, context: usize) -> BatchSizes {
        let own = model.is_recurrent() || model.native().sliding_window() != 0;
        let open = if own { Self::SEQUENCES_OF_THEIR_OWN } else { Self::SEQUENCES };
        let cells = self.cells_for(context);
        let running =
            self.max_sequences.unwrap_or_else(|| open.min(cells).min(self.step_tokens.unwrap_or(open)));
        // each has a row of logits
        let kept = running.clamp(4, if own { 4 } else { 32 });
        let mixed_step = self.step_tokens.unwrap_or_else(|| Self::STEP_TOKENS.max(2 * running));
        BatchSizes { running, kept, cells, mixed_step: mixed_step.min(cells) }
    }

    /// Checks that one request's context, of so many tokens, fits into the cells.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] naming the field.
    pub(crate) fn check_context(&self, context: usize) -> Result<()> {
        match self.kv_cells {
            Some(cells) if cells < context => {
                let what =
                    format!("{cells} is less than one request's context, which holds {context} tokens");
                Err(Error::request("kv_cells", what))
            }
            _ => Ok(()),
        }
    }

    /// Checks what can be checked without a model.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let most = Self::MOST_SEQUENCES;
        if let Some(sequences) = self.max_sequences
            && !(1..=most).contains(&sequences)
        {
            return Err(Error::request("max_sequences", format!("{sequences} is outside 1 to {most}")));
        }
        let sequences = self.max_sequences.unwrap_or(1);
        if let Some(tokens) = self.step_tokens
            && !(sequences..=1 << 30).contains(&tokens)
        {
            let least = if sequences > 1 { format!("{sequences} (max_sequences)") } else { "1".into() };
            let what = format!("{tokens} is outside {least} to {}", 1 << 30);
            return Err(Error::request("step_tokens", what));
        }
        if let Some(cells) = self.kv_cells {
            if !(2..=1 << 30).contains(&cells) {
                return Err(Error::request("kv_cells", format!("{cells} is outside 2 to {}", 1 << 30)));
            }
            if let Some(sequences) = self.max_sequences
                && cells < sequences
            {
                let what = format!("{cells} is less than max_sequences, which is {sequences}");
                return Err(Error::request("kv_cells", what));
            }
        }
        Ok(())
    }
}

/// What [`BatchOptions`] come to for one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchSizes {
    /// Requests that run together.
    pub(crate) running: usize,
    /// Sequences that are kept for later requests that begin like earlier ones.
    pub(crate) kept: usize,
    /// Cells of the KV cache.
    pub(crate) cells: usize,
    /// Tokens of a step for several requests.
    pub(crate) mixed_step: usize,
}
