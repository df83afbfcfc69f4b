//! Documents as tokens, packed into rows of one length, and the order in which rows come. Every
//! row begins where a document begins, or goes on with one that is longer than a row.

use candle_core::{Device, Tensor};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::documents::Document;
use crate::error::{Error, Result};
use crate::kernels::IGNORED;
use crate::text::Tokenizer;

/// On a token that is read but not learned.
const READ: u32 = 1 << 31;

/// Rows of tokens.
#[derive(Debug)]
pub struct Corpus {
    tokens: Vec<u32>,
    /// Stretches of `tokens`, row after row.
    pieces: Vec<(usize, usize)>,
    /// The first piece of each row, and one past the last.
    rows: Vec<usize>,
    seq_len: usize,
    /// Documents that did not fit into a row.
    pub cut: usize,
}

/// Some rows, ready to go through a model.
#[derive(Debug)]
pub struct Batch {
    /// (rows, seq_len) of u32.
    pub ids: Tensor,
    /// What comes next, one a token; [`IGNORED`] where that is not learned.
    pub labels: Vec<u32>,
    /// How many are learned.
    pub count: usize,
}

impl Corpus {
    /// Encodes and packs `documents`, on so many threads.
    ///
    /// # Errors
    /// [`Error::Request`] where it teaches nothing.
    pub fn new(
        documents: &[Document],
        tokenizer: &Tokenizer,
        seq_len: usize,
        threads: usize,
        name: &str,
    ) -> Result<Self> {
        let encoded = encode(documents, tokenizer, threads)?;
        let mut tokens = Vec::with_capacity(encoded.iter().map(Vec::len).sum());
        let mut pieces = Vec::new();
        let mut cut = 0;
        for document in encoded {
            let (start, len) = (tokens.len(), document.len());
            tokens.extend(document);
            cut += usize::from(len > seq_len + 1);
            // The last token of a piece is only a label; the next piece begins with it.
            let mut from = 0;
            while from + 1 < len {
                let to = (from + seq_len + 1).min(len);
                pieces.push((start + from, to - from));
                from = to - 1;
            }
        }
        let learned = tokens.iter().filter(|token| **token & READ == 0).count();
        if learned == 0 || pieces.is_empty() {
            let problem = format!("{} tokens, and none of them to be learned", tokens.len());
            return Err(Error::request(name, problem));
        }
        let (pieces, rows) = pack(pieces, seq_len + 1);
        Ok(Self { tokens, pieces, rows, seq_len, cut })
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows.len() - 1
    }

    /// Tokens.
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// A number that another corpus, or another packing of it, hardly has (Fowler, Noll & Vo).
    pub fn fingerprint(&self) -> u64 {
        let mix = |hash: u64, x: u64| (hash ^ x).wrapping_mul(0x0100_0000_01b3);
        let of_tokens =
            self.tokens.iter().fold(0xcbf2_9ce4_8422_2325, |h, t| mix(h, u64::from(*t)));
        mix(mix(of_tokens, self.rows.len() as u64), self.seq_len as u64)
    }

    /// These rows. What a row has no token for is filled with token 0 and not learned.
    ///
    /// # Errors
    /// The tensor's own.
    pub fn batch(&self, rows: &[usize]) -> Result<Batch> {
        let n = self.seq_len;
        let (mut ids, mut labels) = (vec![0; rows.len() * n], vec![IGNORED; rows.len() * n]);
        for (row, index) in rows.iter().enumerate() {
            let (mut at, end) = (row * n, (row + 1) * n);
            for &(start, len) in &self.pieces[self.rows[*index]..self.rows[*index + 1]] {
                let piece = &self.tokens[start..start + len];
                // A piece's first token is nobody's label, for another document is before it; its
                // last is an input only where room is left.
                for (offset, token) in piece.iter().enumerate().take(end - at) {
                    ids[at + offset] = token & !READ;
                    if let Some(next) = piece.get(offset + 1).filter(|next| **next & READ == 0) {
                        labels[at + offset] = *next;
                    }
                }
                at += len;
            }
        }
        let count = labels.iter().filter(|label| **label != IGNORED).count();
        Ok(Batch { ids: Tensor::from_vec(ids, (rows.len(), n), &Device::Cpu)?, labels, count })
    }
}

/// The tokens of every document, marked where they are only read.
fn encode(documents: &[Document], tokenizer: &Tokenizer, threads: usize) -> Result<Vec<Vec<u32>>> {
    let size = documents.len().div_ceil(threads.max(1)).max(1);
    let work = |documents: &[Document]| -> Result<Vec<Vec<u32>>> {
        documents.iter().map(|document| encode_one(document, tokenizer)).collect()
    };
    let parts = std::thread::scope(|scope| {
        let spawned = documents.chunks(size).map(|part| scope.spawn(move || work(part)));
        let spawned: Vec<_> = spawned.collect();
        spawned.into_iter().map(super::joined).collect::<Result<Vec<_>>>()
    })?;
    Ok(parts.into_iter().flatten().collect())
}

fn encode_one(document: &Document, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    for (index, (text, learned)) in document.parts.iter().enumerate() {
        let part = tokenizer.encode(text, index == 0 && !document.bare)?;
        let first = ids.is_empty();
        ids.extend(part.into_iter().map(|id| if *learned { id } else { id | READ }));
        // What begins every text is not learned: nothing before it says that it comes.
        if let Some(id) = ids.first_mut().filter(|id| first && Some(**id) == tokenizer.bos_id()) {
            *id |= READ;
        }
    }
    if let Some(end) = tokenizer.eos_ids().first().filter(|_| !document.bare) {
        ids.push(*end);
    }
    Ok(ids)
}

/// Puts pieces of at most `room` tokens into as few rows as best fit finds, longest first.
fn pack(mut pieces: Vec<(usize, usize)>, room: usize) -> (Vec<(usize, usize)>, Vec<usize>) {
    pieces.sort_by_key(|(start, len)| (std::cmp::Reverse(*len), *start));
    let mut rows: Vec<Vec<(usize, usize)>> = Vec::new();
    // By room that is left: which rows have so much.
    let mut open: Vec<Vec<usize>> = vec![Vec::new(); room + 1];
    for piece in pieces {
        let fitting = (piece.1..=room).find(|left| !open[*left].is_empty());
        let (row, left) = match fitting.and_then(|left| Some((open[left].pop()?, left))) {
            Some(found) => found,
            None => {
                rows.push(Vec::new());
                (rows.len() - 1, room)
            }
        };
        rows[row].push(piece);
        open[left - piece.1].push(row);
    }
    let mut starts = vec![0];
    starts.extend(rows.iter().scan(0, |sum, row| {
        *sum += row.len();
        Some(*sum)
    }));
    (rows.into_iter().flatten().collect(), starts)
}

/// The order of rows: every epoch another, all by the seed alone, so that a step's rows follow
/// from its number.
#[derive(Debug)]
pub struct Order {
    seed: u64,
    epoch: Option<u64>,
    order: Vec<usize>,
}

impl Order {
    /// Of so many rows.
    pub fn new(seed: u64, rows: usize) -> Self {
        Self { seed, epoch: None, order: (0..rows).collect() }
    }

    /// The rows of a step.
    pub fn rows(&mut self, step: usize, batch: usize) -> Vec<usize> {
        (step * batch..(step + 1) * batch).map(|index| self.row(index)).collect()
    }

    fn row(&mut self, index: usize) -> usize {
        let epoch = (index / self.order.len()) as u64;
        if self.epoch != Some(epoch) {
            self.order.sort_unstable();
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            rng.set_stream(epoch + 1);
            self.order.shuffle(&mut rng);
            self.epoch = Some(epoch);
        }
        self.order[index % self.order.len()]
    }
}
