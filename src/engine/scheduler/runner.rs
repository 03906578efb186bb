//! The scheduler's thread: who runs, what a step computes, and what becomes of it.

use super::{
    inbox::Inbox,
    job::{Ending, Job, Told},
    prefixes::{self, Prefixes},
};
use crate::{
    engine::{
        answer,
        batching::{BatchOptions, BatchSizes},
        request::FinishReason,
        stats::{self, Cells, Counters},
    },
    error::{Error, Result},
    model::LoadedModel,
    sequences::{Part, Sequences, Stepped},
    session::ContextOptions,
};
use std::{
    collections::VecDeque,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

/// A request whose reader keeps it waiting for so long gives its sequence to one that waits for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// A request waits for another to read what both begin with if that saves at least so many tokens.
const WORTH_WAITING: usize = 32;

/// All that the thread owns.
#[derive(Debug)]
pub(super) struct Runner {
    inbox: Arc<Inbox>,
    plan: Plan,
    counters: Arc<Counters>,
    /// The context; none after one broke and none could be made in its place.
    pool: Option<Pool>,
    /// Those that run, in the order in which they came.
    runs: Vec<Run>,
    /// Those that wait, in the same order.
    queue: VecDeque<Job>,
    /// Those that gave up their sequence to wait for their readers.
    parked: Vec<Job>,
    /// Answers that are complete but for the telling.
    endings: Vec<Ending>,
}

/// How contexts are made.
#[derive(Debug)]
struct Plan {
    model: Arc<LoadedModel>,
    context: ContextOptions,
    limit: usize,
    sizes: BatchSizes,
    /// Tokens of a step that only reads one prompt.
    step: usize,
}

/// A context and who has which sequence of it.
#[derive(Debug)]
struct Pool {
    sequences: Sequences,
    free: Vec<usize>,
    prefixes: Prefixes,
    cells: Cells,
}

/// A request that runs.
#[derive(Debug)]
struct Run {
    job: Job,
    sequence: usize,
}

/// What a run does in the next step.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Share {
    run: usize,
    tokens: Range<usize>,
}

impl Plan {
    fn pool(&self, counters: &Arc<Counters>) -> Result<Pool> {
        let BatchSizes { running, kept, cells, .. } = self.sizes;
        let sequences = Sequences::new(&self.model, &self.context, cells, running + kept, self.step)?;
        Pool::new(sequences, running + kept, counters)
    }
}

impl Pool {
    fn new(mut sequences: Sequences, count: usize, counters: &Arc<Counters>) -> Result<Self> {
        let cells = counters.context(sequences.cells(), stats::memory(&sequences.memory()?));
        Ok(Self { sequences, free: (0..count).rev().collect(), prefixes: Prefixes::default(), cells })
    }

    fn count_cells(&mut self) {
        self.cells.used(self.sequences.cells() - self.sequences.room());
    }

    /// A sequence for a request; the least recently used of the kept ones goes where none is free.
    fn take(&mut self) -> Result<Option<usize>> {
        match self.free.pop() {
            Some(sequence) => Ok(Some(sequence)),
            None => self.prefixes.free_oldest(&mut self.sequences),
        }
    }

    /// A request leaves its sequence, for others to begin with where `keep` says so.
    fn give_back(&mut self, sequence: usize, keep: bool) -> Result<()> {
        if keep && !self.sequences.is_shifted(sequence) && !self.sequences.tokens(sequence).is_empty() {
            let freed = self.prefixes.keep(&mut self.sequences, sequence)?;
            self.free.extend(freed);
        } else {
            self.sequences.clear(sequence)?;
            self.free.push(sequence);
        }
        Ok(())
    }

    /// Frees kept sequences, the least recently used first, until there is room for so many tokens.
    fn make_room(&mut self, tokens: usize) -> Result<bool> {
        while self.sequences.room() < tokens {
            match self.prefixes.free_oldest(&mut self.sequences)? {
                Some(sequence) => self.free.push(sequence),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Cells that are free, or could be.
    fn obtainable(&self) -> usize {
        self.sequences.room() + self.sequences.held_only_by(self.prefixes.kept().iter().copied())
    }
}

impl Run {
    fn held(&self, pool: &Pool) -> usize {
        pool.sequences.tokens(self.sequence).len()
    }

    /// Whether it generates: all but the token chosen last is decoded.
    fn writes(&self, pool: &Pool) -> bool {
        self.job.answer.generated() > 0 && self.job.tokens.len() - self.held(pool) == 1
    }

    fn waits(&self) -> bool {
        self.job.waits_since.is_some()
    }
}

impl Runner {
    pub(super) fn new(
        inbox: &Arc<Inbox>,
        model: &Arc<LoadedModel>,
        context: &ContextOptions,
        batching: &BatchOptions,
        counters: &Arc<Counters>,
    ) -> Result<Self> {
        let limit = context.context_for(model);
        let ubatch = context.ubatch_size.min(context.batch_size);
        let sizes = batching.sizes(model, limit);
        let plan = Plan {
            model: Arc::clone(model),
            context: context.clone(),
            limit,
            step: ubatch.max(sizes.mixed_step).min(sizes.cells),
            sizes,
        };
        let pool = Some(plan.pool(counters)?);
        Ok(Self {
            inbox: Arc::clone(inbox),
            plan,
            counters: Arc::clone(counters),
            pool,
            runs: vec![],
            queue: VecDeque::new(),
            parked: vec![],
            endings: vec![],
        })
    }

    /// Requests that run together at most.
    pub(super) fn max_sequences(&self) -> usize {
        self.plan.sizes.running
    }

    /// Works until the inbox is closed.
    pub(super) fn run(mut self) {
        // also where this thread panics: who comes later is turned away, not kept waiting
        struct Closing(Arc<Inbox>);
        impl Drop for Closing {
            fn drop(&mut self) {
                self.0.close();
                self.0.fail_all();
            }
        }
        let _closing = Closing(Arc::clone(&self.inbox));
        let mut wait = Some(Duration::MAX);
        while self.inbox.take(&mut self.queue, wait) {
            wait = if self.turn() { None } else { Some(self.patience()) };
        }
        self.end();
    }

    /// One turn: who was cancelled goes, what can be told is told, who can run runs one step. False where there was
    /// nothing to compute.
    fn turn(&mut self) -> bool {
        self.reap();
        self.tell();
        self.admit();
        let stepped = self.step();
        if let Some(pool) = &mut self.pool {
            pool.count_cells();
        }
        stepped
    }

    /// How long the thread may sleep when there is nothing to compute: until a reader has kept others waiting for too
    /// long, or until somebody wakes it.
    fn patience(&self) -> Duration {
        let waits = self.runs.iter().any(Run::waits) && !self.queue.is_empty();
        if waits { PATIENCE / 4 } else { Duration::MAX }
    }

    /// Ends all requests, and frees the context.
    fn end(&mut self) {
        let runs = self.runs.drain(..).map(|run| run.job);
        let jobs: Vec<Job> = runs.chain(self.queue.drain(..)).chain(self.parked.drain(..)).collect();
        for ending in &mut self.endings {
            ending.tell();
        }
        self.endings.clear();
        // before they are told, so that who hears of it can count on the memory
        self.pool = None;
        for job in jobs {
            job.shut_down();
        }
    }

    /// Those that were cancelled leave.
    fn reap(&mut self) {
        for at in (0..self.runs.len()).rev() {
            if self.runs[at].job.is_cancelled() {
                let job = self.leave(at);
                job.cancelled();
            }
        }
        for job in std::mem::take(&mut self.queue) {
            if job.is_cancelled() { job.cancelled() } else { self.queue.push_back(job) }
        }
        for job in std::mem::take(&mut self.parked) {
            if job.is_cancelled() { job.cancelled() } else { self.parked.push(job) }
        }
    }

    /// A run gives its sequence back, for others to begin with.
    fn leave(&mut self, at: usize) -> Job {
        let run = self.runs.remove(at);
        let keep = run.job.cache;
        self.with_pool(|pool| pool.give_back(run.sequence, keep));
        run.job
    }

    /// Does something with the context, and replaces it where that fails: what it holds is not known then. The runs read
    /// all they had once more.
    fn with_pool(&mut self, work: impl FnOnce(&mut Pool) -> Result<()>) {
        let Some(pool) = &mut self.pool else { return };
        if let Err(error) = work(pool) {
            tracing::error!("the context of a model is replaced: {error}");
            self.replace_pool();
        }
    }

    /// A new context in place of one that cannot be used. The runs keep their place, and read all they had once more;
    /// where none can be made, they fail.
    fn replace_pool(&mut self) {
        self.pool = None;
        match self.plan.pool(&self.counters) {
            Ok(mut pool) => {
                for run in &mut self.runs {
                    run.sequence = pool.free.pop().expect("as many as can run");
                }
                self.pool = Some(pool);
            }
            Err(error) => {
                tracing::error!("no new context can be made: {error}");
                for run in self.runs.drain(..) {
                    run.job.fail(error.again());
                }
            }
        }
    }

    /// Tells events, ends those that have ended, and finds out whose reader is slow.
    fn tell(&mut self) {
        self.endings.retain_mut(|ending| ending.tell() == Told::Waits);
        for at in (0..self.runs.len()).rev() {
            if self.runs[at].job.answer.is_over() {
                let job = self.leave(at);
                let mut ending = job.finish();
                if ending.tell() == Told::Waits {
                    self.endings.push(ending);
                }
                continue;
            }
            match self.runs[at].job.tell() {
                Told::All | Told::Waits => {}
                Told::Gone => self.leave(at).cancelled(),
            }
        }
        for mut job in std::mem::take(&mut self.parked) {
            match job.tell() {
                Told::Waits => self.parked.push(job),
                // it was here before those that wait
                Told::All => self.queue.push_front(job),
                Told::Gone => job.cancelled(),
            }
        }
    }

    /// Lets those that wait run, first come first served, as long as there are sequences and cells.
    fn admit(&mut self) {
        while !self.queue.is_empty() {
            if self.runs.len() == self.plan.sizes.running && !self.park() {
                return;
            }
            if self.pool.is_none() {
                match self.plan.pool(&self.counters) {
                    Ok(pool) => self.pool = Some(pool),
                    Err(error) => {
                        for job in self.queue.drain(..) {
                            job.fail(error.again());
                        }
                        return;
                    }
                }
            }
            if !self.has_cells() {
                return;
            }
            let Some(mut job) = self.queue.pop_front() else { return };
            let began = Instant::now();
            let mut found = None;
            self.with_pool(|pool| {
                found = pool.take()?;
                Ok(())
            });
            let Some(sequence) = found else {
                self.queue.push_front(job);
                return;
            };
            if job.running.is_none() {
                job.running = Some(self.counters.begun());
                job.answer.begin(began);
            }
            self.runs.push(Run { job, sequence });
        }
    }

    /// Whether the next one in the queue would find the cells it needs, and leave those that run some to grow into.
    fn has_cells(&self) -> bool {
        let (Some(pool), Some(next)) = (&self.pool, self.queue.front()) else { return false };
        if self.runs.is_empty() {
            return true;
        }
        let shared = if next.cache {
            let runs = self.runs.iter().filter(|run| run.job.cache).map(|run| run.sequence);
            let all = runs.chain(pool.prefixes.kept().iter().copied());
            all.map(|other| prefixes::common(pool.sequences.tokens(other), &next.tokens)).max().unwrap_or(0)
        } else {
            0
        };
        let growth = 16 * (self.runs.len() + 1);
        let owed: usize = self.runs.iter().map(|run| run.job.tokens.len() - run.held(pool)).sum();
        next.tokens.len().saturating_sub(shared) + owed + growth <= pool.obtainable()
    }

    /// Takes the sequence of a run whose reader has kept it waiting for too long; false where there is none.
    fn park(&mut self) -> bool {
        let slow = |run: &Run| run.job.waits_since.is_some_and(|since| since.elapsed() >= PATIENCE);
        let Some(at) = self.runs.iter().position(slow) else { return false };
        let job = self.leave(at);
        self.parked.push(job);
        true
    }

    /// Computes one step. False where nobody has anything to compute.
    fn step(&mut self) -> bool {
        loop {
            let Some(pool) = &mut self.pool else { return false };
            match compose(&self.plan, pool, &mut self.runs) {
                // one whose context is full has ended without a step: the next turn tells it
                Ok(Composed::Nothing) => return self.runs.iter().any(|run| run.job.answer.is_over()),
                Ok(Composed::Step(shares)) => {
                    self.compute(&shares);
                    return true;
                }
                Ok(Composed::NoRoom) => self.preempt(),
                Err(error) => {
                    tracing::error!("the context of a model is replaced: {error}");
                    self.replace_pool();
                    return true;
                }
            }
        }
    }

    /// The run that came last gives its cells to the others and waits at the head of the queue. It reads all it had once
    /// more when it is back.
    fn preempt(&mut self) {
        let last = self.runs.len() - 1;
        let job = self.leave(last);
        if self.runs.is_empty() {
            let what = "there are no cells left for the only request";
            return job.fail(Error::Engine { call: "decode", what: what.into() });
        }
        self.queue.push_front(job);
    }

    /// Computes the shares and hands on what comes of them.
    fn compute(&mut self, shares: &[Share]) {
        let Some(pool) = &mut self.pool else { return };
        let parts: Vec<Part<'_>> = shares
            .iter()
            .map(|share| {
                let run = &self.runs[share.run];
                let tokens = &run.job.tokens[share.tokens.clone()];
                let output = share.tokens.end == run.job.tokens.len();
                Part { sequence: run.sequence, tokens, output }
            })
            .collect();
        let requests = shares.iter().map(|share| self.runs[share.run].job.sink.cancel_handle().clone());
        self.inbox.begin_step(pool.sequences.stop_handle(), requests.collect());
        #[cfg(test)]
        if let Some(failure) = self.inbox.take_fault() {
            pool.sequences.fail_next(failure);
        }
        let began = Instant::now();
        let stepped = pool.sequences.step(&parts);
        let took = began.elapsed();
        self.inbox.end_step();
        pool.sequences.resume();
        match stepped {
            Ok(Stepped::Done) => self.go_on(shares, took),
            // those for whom it was are cancelled, or the end has come
            Ok(Stepped::Stopped) => {}
            // our account of the cells says there is room, but the layers with a window have less
            Ok(Stepped::Full) => {
                let mut freed = None;
                self.with_pool(|pool| {
                    freed = pool.prefixes.free_oldest(&mut pool.sequences)?;
                    pool.free.extend(freed);
                    Ok(())
                });
                if freed.is_none() {
                    self.preempt();
                }
            }
            Err(error) => self.failed(shares, &error),
        }
    }

    /// After a step: progress is noted, tokens are chosen.
    fn go_on(&mut self, shares: &[Share], took: Duration) {
        let Some(pool) = &mut self.pool else { return };
        let total: usize = shares.iter().map(|share| share.tokens.len()).sum();
        let mut written = 0;
        let mut failed = vec![];
        let mut end = 0;
        for share in shares {
            end += share.tokens.len();
            let run = &mut self.runs[share.run];
            let job = &mut run.job;
            written += usize::from(job.answer.generated() > 0 && share.tokens.len() == 1);
            if job.answer.generated() == 0 {
                job.answer.read(share.tokens.end.min(job.prompt));
                if share.tokens.end == job.prompt {
                    self.counters.looked_up(job.answer.cached());
                }
            }
            if share.tokens.end == job.tokens.len() && !job.answer.is_over() {
                let index = i32::try_from(end - 1).expect("a step is bounded");
                match job.answer.choose(pool.sequences.context(), index) {
                    Ok(()) => job.tokens.push(job.answer.last()),
                    Err(error) => failed.push((share.run, error)),
                }
                self.counters.generated();
            }
        }
        // what one step takes is divided by tokens: that a token of a prompt is cheaper is not known here
        let part = |tokens: usize| took.mul_f64(tokens as f64 / total as f64);
        self.counters.prefilled(total - written, part(total - written));
        self.counters.decoded(part(written));
        failed.sort_by_key(|(run, _)| std::cmp::Reverse(*run));
        for (run, error) in failed {
            self.runs[run].job.cache = false;
            self.leave(run).fail(error);
        }
    }

    /// After a step that failed: its requests fail, the others go on.
    fn failed(&mut self, shares: &[Share], error: &Error) {
        let broken = self.pool.as_ref().is_none_or(|pool| pool.sequences.is_broken());
        let mut runs: Vec<usize> = shares.iter().map(|share| share.run).collect();
        runs.sort_unstable_by(|a, b| b.cmp(a));
        for at in runs {
            let run = self.runs.remove(at);
            if !broken {
                self.with_pool(|pool| pool.give_back(run.sequence, false));
            }
            run.job.fail(error.again());
        }
        if broken {
            self.replace_pool();
        }
    }
}

/// What the next step is.
#[derive(Debug, PartialEq, Eq)]
enum Composed {
    Nothing,
    Step(Vec<Share>),
    /// There are not enough cells for it.
    NoRoom,
}

/// Puts the next step together: one token of everyone who generates, and prompts in what is left of the budget. One
/// prompt after the other, as two that are read side by side are both done when the second would have been: the shortest
/// first, but half of it is for the oldest, which is read all the time that way, however many short ones come.
fn compose(plan: &Plan, pool: &mut Pool, runs: &mut [Run]) -> Result<Composed> {
    for run in runs.iter_mut() {
        if !run.waits() && !run.job.answer.is_over() && run.held(pool) == plan.limit {
            make_room_in_context(plan, pool, run)?;
        }
    }
    let (mut shares, mut readers) = (vec![], vec![]);
    for at in 0..runs.len() {
        if runs[at].waits() || runs[at].job.answer.is_over() {
            continue;
        }
        if !runs[at].writes(pool) {
            share(pool, runs, at)?;
            if !waits_for_another(pool, runs, at) {
                readers.push(at);
            }
            continue;
        }
        let held = runs[at].held(pool);
        shares.push(Share { run: at, tokens: held..held + 1 });
    }
    // nobody waits for the end of a step that reads one prompt, be it long; of others the first is done sooner in short ones
    let alone = shares.is_empty() && readers.len() == 1;
    let budget = if alone { plan.step } else { plan.sizes.mixed_step };
    let todo = readers.iter().map(|at| runs[*at].job.tokens.len() - runs[*at].held(pool)).collect();
    for (reader, tokens) in divide(budget - shares.len(), todo) {
        let (run, held) = (readers[reader], runs[readers[reader]].held(pool));
        shares.push(Share { run, tokens: held..held + tokens });
    }
    let total: usize = shares.iter().map(|share| share.tokens.len()).sum();
    if total == 0 {
        return Ok(Composed::Nothing);
    }
    if !pool.make_room(total)? {
        return Ok(Composed::NoRoom);
    }
    Ok(Composed::Step(shares))
}

/// Divides so many tokens among prompts, given what is left of each, the oldest first: which gets how many.
fn divide(mut left: usize, todo: Vec<usize>) -> Vec<(usize, usize)> {
    let kept = todo.first().map_or(0, |oldest| left.div_ceil(2).min(*oldest));
    left -= kept;
    let mut order: Vec<usize> = (0..todo.len()).collect();
    order.sort_by_key(|reader| todo[*reader]);
    let part = |reader| {
        let kept = if reader == 0 { kept } else { 0 };
        let more = left.min(todo[reader] - kept);
        left -= more;
        (reader, kept + more)
    };
    order.into_iter().map(part).filter(|(_, tokens)| *tokens > 0).collect()
}

/// A request whose context is full ends, or forgets a part where it asked for that.
fn make_room_in_context(plan: &Plan, pool: &mut Pool, run: &mut Run) -> Result<()> {
    if !run.job.shift {
        run.job.answer.finish(FinishReason::ContextFull);
        return Ok(());
    }
    let forget = answer::to_forget(&plan.model, plan.limit);
    if !pool.sequences.shift(run.sequence, forget.clone())? {
        // what is left is read once more
        pool.sequences.clear(run.sequence)?;
    }
    run.job.tokens.drain(forget);
    run.job.cache = false;
    Ok(())
}

/// Lets a run take over the longest beginning that another sequence has, if that is more than it holds.
fn share(pool: &mut Pool, runs: &mut [Run], at: usize) -> Result<()> {
    let run = &runs[at];
    if !run.job.cache {
        return Ok(());
    }
    let others = runs.iter().filter(|other| other.job.cache && other.sequence != run.sequence);
    let others: Vec<usize> =
        others.map(|other| other.sequence).chain(pool.prefixes.kept().iter().copied()).collect();
    let held = run.held(pool);
    // one token is left to decode, so that there are logits
    let most = run.job.tokens.len() - 1;
    let (mut longest, mut found) = (held, None);
    for other in others {
        let common = prefixes::common(pool.sequences.tokens(other), &run.job.tokens).min(most);
        if common > longest {
            let sharable = pool.sequences.sharable(other, common);
            if sharable > longest {
                (longest, found) = (sharable, Some(other));
            }
        }
    }
    if let Some(from) = found {
        pool.prefixes.used(from);
        pool.sequences.share(from, run.sequence, longest)?;
        if run.job.answer.generated() == 0 {
            runs[at].job.answer.found(longest - held);
        }
    }
    Ok(())
}

/// Whether somebody who came before this run is about to read what both begin with.
fn waits_for_another(pool: &Pool, runs: &[Run], at: usize) -> bool {
    let run = &runs[at];
    if !run.job.cache || pool.sequences.shares_wholes() {
        return false;
    }
    let held = run.held(pool);
    runs[..at].iter().any(|other| {
        if !other.job.cache || other.writes(pool) || other.waits() || other.job.answer.is_over() {
            return false;
        }
        let common = prefixes::common(&other.job.tokens, &run.job.tokens).min(run.job.tokens.len() - 1);
        common > other.held(pool) && common >= held + WORTH_WAITING
    })
}

#[cfg(test)]
mod tests {
    use super::divide;

    #[test]
    fn one_prompt_after_the_other_and_the_oldest_all_the_time() {
        // what is left when all fit
        assert_eq!(divide(100, vec![30, 20, 10]), [(2, 10), (1, 20), (0, 30)]);
        // alike: the oldest is done first, and the others follow
        assert_eq!(divide(100, vec![60, 60, 60]), [(0, 60), (1, 40)]);
        // short ones overtake a long one, which has its half
        assert_eq!(divide(100, vec![1000, 40, 30, 20]), [(3, 20), (2, 30), (0, 50)]);
        assert_eq!(divide(100, vec![1000, 20]), [(1, 20), (0, 80)]);
        // a long one that came later waits for nothing but the oldest's half
        assert_eq!(divide(100, vec![70, 1000]), [(0, 70), (1, 30)]);
        assert_eq!(divide(1, vec![5, 5]), [(0, 1)]);
        assert_eq!(divide(10, vec![]), []);
    }
}
