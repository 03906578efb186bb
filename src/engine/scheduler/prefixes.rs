//! The sequences that requests leave behind, for later ones that begin alike: least recently used out first.

use crate::{error::Result, model::Token, sequences::Sequences};

/// Sequences that no request runs on.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    /// From the least to the most recently used.
    kept: Vec<usize>,
}

impl Prefixes {
    /// The sequences, the least recently used first.
    pub(super) fn kept(&self) -> &[usize] {
        &self.kept
    }

    /// Keeps a sequence, and frees those that are a beginning of it. Returns what was freed.
    ///
    /// # Errors
    /// [`Error::Engine`](crate::Error::Engine) where a sequence cannot be freed.
    pub(super) fn keep(&mut self, sequences: &mut Sequences, sequence: usize) -> Result<Vec<usize>> {
        let mut freed = vec![];
        // of a recurrent state the beginning is worth its own place: the whole cannot give it
        if !sequences.shares_wholes() {
            let tokens = sequences.tokens(sequence);
            freed
                .extend(self.kept.iter().copied().filter(|kept| tokens.starts_with(sequences.tokens(*kept))));
            self.kept.retain(|kept| !freed.contains(kept));
        }
        self.kept.push(sequence);
        for sequence in &freed {
            sequences.clear(*sequence)?;
        }
        Ok(freed)
    }

    /// A sequence was of use.
    pub(super) fn used(&mut self, sequence: usize) {
        if let Some(at) = self.kept.iter().position(|kept| *kept == sequence) {
            let sequence = self.kept.remove(at);
            self.kept.push(sequence);
        }
    }

    /// Frees the least recently used one, and returns it; none where there is none.
    ///
    /// # Errors
    /// As [`keep`](Self::keep).
    pub(super) fn free_oldest(&mut self, sequences: &mut Sequences) -> Result<Option<usize>> {
        if self.kept.is_empty() {
            return Ok(None);
        }
        let oldest = self.kept.remove(0);
        sequences.clear(oldest)?;
        Ok(Some(oldest))
    }
}

/// How many tokens two texts have in common at their beginning.
pub(super) fn common(a: &[Token], b: &[Token]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
