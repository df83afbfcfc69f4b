//! Gradients of a batch: its pieces go through the decoder on several threads, a piece a thread,
//! and what they give is added in the pieces' order, so that threads change no number.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use candle_core::{CpuStorage, Storage, Tensor};

use super::corpus::{Batch, Corpus};
use super::dropout::Dropout;
use super::loss::{loss, loss_heard};
use super::variables::Variables;
use crate::error::{Error, Result};
use crate::kernels;
use crate::nn::Probe;

/// How rows go through the decoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct How {
    /// Rows of a piece.
    pub micro: usize,
    /// Threads that take pieces.
    pub threads: usize,
    /// Whether products on the way to gradients may round to bf16.
    pub rounded: bool,
    /// The share of numbers that are dropped on that way, see [`Dropout`].
    pub dropout: f64,
    /// What decides which.
    pub seed: u64,
}

/// What a batch gave.
#[derive(Debug)]
pub struct Gradients {
    /// Mean loss over what is learned, in nats a token.
    pub loss: f64,
    /// Gradients of that mean, a variable each.
    pub list: Vec<Vec<f32>>,
    /// How many labels were learned.
    pub count: usize,
}

impl Gradients {
    /// The norm of all of them together.
    pub fn norm(&self) -> f64 {
        let squares =
            |list: &Vec<f32>| list.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>();
        self.list.iter().map(squares).sum::<f64>().sqrt()
    }
}

/// The gradients of these rows; `step` is the run's, for what is drawn anew at each.
///
/// # Errors
/// The decoder's.
pub fn gradients(
    variables: &Variables,
    corpus: &Corpus,
    rows: &[usize],
    how: How,
    step: usize,
) -> Result<Gradients> {
    let batches =
        rows.chunks(how.micro).map(|rows| corpus.batch(rows)).collect::<Result<Vec<_>>>()?;
    let count: usize = batches.iter().map(|batch| batch.count).sum();
    let zeros: Vec<Vec<f32>> =
        variables.iter().map(|(_, var)| vec![0f32; var.elem_count()]).collect();
    let mut sum = (0.0, zeros);
    let scale = 1.0 / count.max(1) as f64;
    let one = |(index, batch): &(usize, Batch)| -> Result<(f64, Vec<Option<Tensor>>)> {
        let mut dropout = Dropout::new(how.dropout, how.seed, (step as u64) << 24 | *index as u64);
        let probe = (how.dropout > 0.0).then_some(&mut dropout as &mut dyn Probe);
        let loss = (loss_heard(&variables.decoder()?, batch, probe)? * scale)?;
        let mut store = loss.backward()?;
        let list = variables.iter().map(|(_, var)| store.remove(var)).collect();
        Ok((f64::from(loss.to_scalar::<f32>()?), list))
    };
    let work = |batch: &(usize, Batch)| kernels::rounded(how.rounded, || one(batch));
    let batches: Vec<(usize, Batch)> = batches.into_iter().enumerate().collect();
    in_order(&batches, how.threads, work, |(loss, list)| {
        sum.0 += loss;
        for (sum, gradient) in sum.1.iter_mut().zip(list) {
            if let Some(gradient) = gradient {
                add(sum, &gradient)?;
            }
        }
        Ok(())
    })?;
    Ok(Gradients { loss: sum.0, list: sum.1, count })
}

/// The mean loss over these rows, in nats a token, and how many tokens that are.
///
/// # Errors
/// The decoder's.
pub fn evaluate(
    variables: &Variables,
    corpus: &Corpus,
    rows: &[usize],
    how: How,
) -> Result<(f64, usize)> {
    let decoder = variables.detached()?;
    let batches: Vec<&[usize]> = rows.chunks(how.micro).collect();
    let (mut sum, mut count) = (0.0, 0);
    let work = |rows: &&[usize]| -> Result<(f64, usize)> {
        let batch = corpus.batch(rows)?;
        Ok((f64::from(loss(&decoder, &batch)?.to_scalar::<f32>()?), batch.count))
    };
    in_order(&batches, how.threads, work, |(loss, tokens)| {
        sum += loss;
        count += tokens;
        Ok(())
    })?;
    Ok((sum / count.max(1) as f64, count))
}

fn add(sum: &mut [f32], gradient: &Tensor) -> Result<()> {
    let gradient = gradient.contiguous()?;
    let (storage, layout) = gradient.storage_and_layout();
    let (Storage::Cpu(CpuStorage::F32(data)), Some((start, end))) =
        (&*storage, layout.contiguous_offsets())
    else {
        return Err(Error::request("device", "training computes in f32 on the CPU"));
    };
    for (sum, x) in sum.iter_mut().zip(&data[start..end]) {
        *sum += x;
    }
    Ok(())
}

/// Whose turn it is, and what all add to.
struct Turn<T> {
    next: usize,
    take: T,
}

/// Does `work` on every item, on several threads, and hands the results to `take` in the items'
/// order. The first error ends it.
fn in_order<I: Sync, O>(
    items: &[I],
    threads: usize,
    work: impl Fn(&I) -> Result<O> + Sync,
    take: impl FnMut(O) -> Result<()> + Send,
) -> Result<()> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (turn, moved) = (Mutex::new(Turn { next: 0, take }), Condvar::new());
    let run = || -> Result<()> {
        loop {
            let index = next.fetch_add(1, Ordering::SeqCst);
            let Some(item) = items.get(index) else { return Ok(()) };
            // Whoever waits for a turn that panicked would wait forever: the panic goes on below.
            let attempt = AssertUnwindSafe(|| work(item));
            let done = (!failed.load(Ordering::SeqCst)).then(|| catch_unwind(attempt));
            let mut turn = await_turn(&turn, &moved, index);
            let result = match done {
                Some(Ok(done)) => done.and_then(|out| (turn.take)(out)),
                Some(Err(panic)) => {
                    failed.store(true, Ordering::SeqCst);
                    moved.notify_all();
                    drop(turn);
                    resume_unwind(panic)
                }
                None => Ok(()),
            };
            moved.notify_all();
            drop(turn);
            if result.is_err() {
                failed.store(true, Ordering::SeqCst);
                return result;
            }
        }
    };
    on_threads(threads.clamp(1, items.len().max(1)), &run)
}

/// The lock, when it is the item's turn; the next one's comes when it is given back.
fn await_turn<'a, T>(
    turn: &'a Mutex<Turn<T>>,
    moved: &Condvar,
    index: usize,
) -> MutexGuard<'a, Turn<T>> {
    let mut turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
    while turn.next != index {
        turn = moved.wait(turn).unwrap_or_else(PoisonError::into_inner);
    }
    turn.next += 1;
    turn
}

/// Runs `run` on so many threads, this one among them; the first error is the result.
fn on_threads(count: usize, run: &(impl Fn() -> Result<()> + Sync)) -> Result<()> {
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..count).map(|_| scope.spawn(run)).collect();
        let own = run();
        others.into_iter().map(super::joined).fold(own, |first, other| first.and(other))
    })
}
