//! Many sequences in one context: decoded together, sharing the cells of a common beginning.

use crate::{
    error::{Error, Result},
    model::{LoadedModel, Token},
    session::{ContextOptions, StopHandle, failed, new_context},
    sys::{self, engine},
};
use std::{ops::Range, sync::Arc};

/// What one sequence can take over from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// Any beginning: attention reaches all positions in all layers.
    Beginning,
    /// A beginning whose last positions, so many of them, are still there: some layers forget what is further back.
    Window(usize),
    /// All or nothing: a recurrent state is that after the last token.
    Whole,
}

/// A part of a step: tokens of one sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    pub(crate) sequence: usize,
    pub(crate) tokens: &'a [Token],
    /// Whether the logits of the last token are wanted.
    pub(crate) output: bool,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stepped {
    Done,
    /// No room; nothing was changed.
    Full,
    /// Stopped; nothing is left of it.
    Stopped,
}

/// A context whose cells many sequences share. Blocking: run it on a thread that may wait.
#[derive(Debug)]
pub(crate) struct Sequences {
    context: sys::Context,
    model: Arc<LoadedModel>,
    sharing: Sharing,
    can_shift: bool,
    sequences: Vec<Sequence>,
    cells: CellCounts,
    batch: sys::Batch,
}

#[derive(Debug, Default, Clone)]
struct Sequence {
    /// The tokens decoded, in the order of their positions.
    tokens: Vec<Token>,
    /// The cell of each.
    cells: Vec<u32>,
    /// Positions were moved: what the cells hold is not what the tokens alone would give.
    shifted: bool,
}

/// An account of the cells: llama.cpp says only whether there was room.
#[derive(Debug)]
struct CellCounts {
    /// How many sequences use a cell, by its number in this account.
    users: Vec<u32>,
    free: Vec<u32>,
}

impl CellCounts {
    fn new(cells: usize) -> Self {
        let cells = u32::try_from(cells).expect("ContextOptions::validate() bounds it");
        Self { users: vec![0; cells as usize], free: (0..cells).collect() }
    }

    fn take(&mut self) -> Option<u32> {
        let cell = self.free.pop()?;
        self.users[cell as usize] = 1;
        Some(cell)
    }

    fn share(&mut self, cells: &[u32]) {
        for cell in cells {
            self.users[*cell as usize] += 1;
        }
    }

    fn give_back(&mut self, cells: &[u32]) {
        for cell in cells {
            let users = &mut self.users[*cell as usize];
            *users -= 1;
            if *users == 0 {
                self.free.push(*cell);
            }
        }
    }
}

impl Sequences {
    /// A context with so many cells for so many sequences, for steps of at most so many tokens.
    ///
    /// # Errors
    /// As [`Session::new`](crate::Session::new).
    pub(crate) fn new(
        model: &Arc<LoadedModel>,
        options: &ContextOptions,
        cells: usize,
        count: usize,
        step: usize,
    ) -> Result<Self> {
        // one step is one ubatch, so that nothing waits for more than that
        let options = ContextOptions { batch_size: step, ubatch_size: step, ..options.clone() };
        options.validate()?;
        let mut context = new_context(model, &options, cells, count, step)?;
        let sharing = match (model.is_recurrent(), model.native().sliding_window()) {
            (true, _) => Sharing::Whole,
            (false, 0) => Sharing::Beginning,
            (false, window) => Sharing::Window(window),
        };
        let can_shift = context.can_shift().map_err(|failure| engine("memory", &failure))?;
        Ok(Self {
            context,
            model: Arc::clone(model),
            sharing,
            can_shift: can_shift && sharing == Sharing::Beginning,
            sequences: vec![Sequence::default(); count],
            cells: CellCounts::new(cells),
            batch: sys::Batch::default(),
        })
    }

    /// Cells in all.
    pub(crate) fn cells(&self) -> usize {
        self.cells.users.len()
    }

    /// Cells that nobody uses.
    pub(crate) fn room(&self) -> usize {
        self.cells.free.len()
    }

    /// Cells that only these sequences use: what freeing all of them would give back.
    pub(crate) fn held_only_by(&self, sequences: impl IntoIterator<Item = usize>) -> usize {
        let mut users = self.cells.users.clone();
        let mut freed = 0;
        for sequence in sequences {
            for cell in &self.sequences[sequence].cells {
                let left = &mut users[*cell as usize];
                *left -= 1;
                freed += usize::from(*left == 0);
            }
        }
        freed
    }

    /// The tokens of a sequence that are decoded.
    pub(crate) fn tokens(&self, sequence: usize) -> &[Token] {
        &self.sequences[sequence].tokens
    }

    /// Whether the cells hold just what the tokens give, so that another sequence may use them.
    pub(crate) fn is_shifted(&self, sequence: usize) -> bool {
        self.sequences[sequence].shifted
    }

    /// Whether a sequence can only be taken over as a whole.
    pub(crate) fn shares_wholes(&self) -> bool {
        self.sharing == Sharing::Whole
    }

    /// The context, to choose tokens from its logits.
    pub(crate) fn context(&mut self) -> &mut sys::Context {
        &mut self.context
    }

    /// A handle that stops a step from any thread, until [`Sequences::resume`].
    pub(crate) fn stop_handle(&self) -> StopHandle {
        StopHandle::new(self.context.stop_flag())
    }

    /// What the context and its model take, by device.
    pub(crate) fn memory(&mut self) -> Result<Vec<sys::Memory>> {
        self.context.memory().map_err(|failure| engine("memory", &failure))
    }

    /// Whether the context failed in a way after which it cannot be used.
    pub(crate) fn is_broken(&self) -> bool {
        self.context.is_broken()
    }

    /// How many of the first `most` tokens of a sequence another could take over.
    pub(crate) fn sharable(&mut self, sequence: usize, most: usize) -> usize {
        let from = &self.sequences[sequence];
        let most = most.min(from.tokens.len());
        if from.shifted || most == 0 {
            return 0;
        }
        match self.sharing {
            Sharing::Beginning => most,
            Sharing::Whole => {
                if most == from.tokens.len() {
                    most
                } else {
                    0
                }
            }
            Sharing::Window(window) => match self.context.range(id(sequence)) {
                Ok(Some((least, _))) if least <= most.saturating_sub(window) => most,
                _ => 0,
            },
        }
    }

    /// Makes the first tokens of one sequence those of another, whose own are forgotten. [`Sequences::sharable`] tells
    /// how many can be. The cells are shared, not copied.
    ///
    /// # Errors
    /// [`Error::Engine`] where llama.cpp refuses; the sequence is empty then.
    pub(crate) fn share(&mut self, from: usize, into: usize, length: usize) -> Result<()> {
        self.clear(into)?;
        self.context.copy(id(from), id(into), length).map_err(|failure| engine("copy", &failure))?;
        let source = &self.sequences[from];
        let (tokens, cells) = (source.tokens[..length].to_vec(), source.cells[..length].to_vec());
        self.cells.share(&cells);
        self.sequences[into] = Sequence { tokens, cells, shifted: false };
        let range = self.context.range(id(into)).map_err(|failure| engine("copy", &failure))?;
        if range.is_none_or(|(_, most)| most + 1 != length) {
            self.clear(into)?;
            return Err(Error::Engine { call: "copy", what: "the copy is not as long as was asked".into() });
        }
        Ok(())
    }

    /// Forgets a sequence.
    ///
    /// # Errors
    /// [`Error::Engine`] where llama.cpp refuses.
    pub(crate) fn clear(&mut self, sequence: usize) -> Result<()> {
        let old = std::mem::take(&mut self.sequences[sequence]);
        self.cells.give_back(&old.cells);
        self.context.remove(id(sequence), 0, None).map_err(|failure| engine("remove", &failure))?;
        Ok(())
    }

    /// Forgets the positions of a sequence in this range and moves those behind it down. False where the memory cannot;
    /// nothing is changed then. No cell behind the range may be shared with another sequence.
    ///
    /// # Errors
    /// [`Error::Engine`] where llama.cpp refuses.
    pub(crate) fn shift(&mut self, sequence: usize, forget: Range<usize>) -> Result<bool> {
        let of = &self.sequences[sequence];
        let shared = of.cells[forget.end..].iter().any(|cell| self.cells.users[*cell as usize] > 1);
        if !self.can_shift || shared {
            return Ok(false);
        }
        let refused = |failure| engine("shift", &failure);
        if !self.context.remove(id(sequence), forget.start, Some(forget.end)).map_err(refused)? {
            return Ok(false);
        }
        self.context.move_down(id(sequence), forget.end, forget.len()).map_err(refused)?;
        let of = &mut self.sequences[sequence];
        of.tokens.drain(forget.clone());
        let cells: Vec<_> = of.cells.drain(forget).collect();
        of.shifted = true;
        self.cells.give_back(&cells);
        Ok(true)
    }

    /// Takes back a stop.
    pub(crate) fn resume(&mut self) {
        self.stop_handle().reset();
    }

    /// Decodes the parts together, each after what its sequence holds; a sequence comes once. The logits of the n-th
    /// token of the step are at index n.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] for a token outside the vocabulary, [`Error::Engine`] where the computation failed. What
    /// the sequences of the step hold then is not known: clear them, or the whole context where it
    /// [is broken](Sequences::is_broken).
    pub(crate) fn step(&mut self, parts: &[Part<'_>]) -> Result<Stepped> {
        let total: usize = parts.iter().map(|part| part.tokens.len()).sum();
        if total > self.room() {
            return Ok(Stepped::Full);
        }
        self.batch.clear();
        for part in parts {
            let held = self.sequences[part.sequence].tokens.len();
            for (i, token) in part.tokens.iter().enumerate() {
                self.model.check_token(*token)?;
                let position = i32::try_from(held + i).expect("ContextOptions::validate() bounds it");
                let output = part.output && i + 1 == part.tokens.len();
                self.batch.push(*token, position, id(part.sequence), output);
            }
        }
        match self.context.decode(&self.batch).map_err(|failure| failed(&self.model, "decode", &failure))? {
            sys::Decoded::Done => {}
            sys::Decoded::Full => return Ok(Stepped::Full),
            sys::Decoded::Stopped => {
                for part in parts {
                    let held = self.sequences[part.sequence].tokens.len();
                    let removed = self.context.remove(id(part.sequence), held, None);
                    if !removed.map_err(|failure| engine("remove", &failure))? {
                        self.clear(part.sequence)?;
                    }
                }
                return Ok(Stepped::Stopped);
            }
        }
        for part in parts {
            let of = &mut self.sequences[part.sequence];
            of.tokens.extend_from_slice(part.tokens);
            for _ in part.tokens {
                of.cells.push(self.cells.take().expect("counted above"));
            }
        }
        Ok(Stepped::Done)
    }

    /// What the next step fails with.
    #[cfg(test)]
    pub(crate) fn fail_next(&mut self, failure: sys::Failure) {
        self.context.fault = Some(failure);
    }
}

/// The number of a sequence, as llama.cpp has it.
fn id(sequence: usize) -> i32 {
    i32::try_from(sequence).expect("a few hundred at most")
}
