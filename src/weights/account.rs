//! What was read of a checkpoint, to the element: a tensor that nobody asked for is an error, and
//! so is half of one. It reads nothing but what it compares.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::checkpoint::Checkpoint;
use super::find::is_ignored;
use super::load::Weights;
use super::param::{Owner, Param};
use crate::error::{Error, Result};

/// What became of a checkpoint's tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Tensors that are in the model now.
    pub read: Vec<String>,
    /// Tensors that are known to be no parameters, or copies of one.
    pub ignored: Vec<String>,
    /// Elements of those read.
    pub parameters: u64,
    /// Bytes of those read, as stored.
    pub bytes: u64,
}

/// Elements by the parameter, and the expert, that they are.
type Parts = BTreeMap<(Param, Option<usize>), usize>;

/// What was taken of every tensor so far.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Per tensor, the elements that each parameter took of it.
    parts: RefCell<BTreeMap<usize, Parts>>,
    /// Tensors used in other ways.
    others: RefCell<BTreeSet<usize>>,
}

impl Taken {
    /// So many elements of tensor `index` are that parameter.
    pub(super) fn take(&self, index: usize, param: Param, owner: Owner, elements: usize) {
        let mut parts = self.parts.borrow_mut();
        parts.entry(index).or_default().insert((param, owner.expert), elements);
    }
}

impl Weights<'_> {
    /// A stored head beside a tied embedding: some checkpoints carry a copy. It is accepted, and
    /// counted as ignored, where it is the same to the byte.
    ///
    /// # Errors
    /// [`Error::ConfigKey`] where the two differ, for then the head is not tied.
    pub fn tied_duplicate(&self, copy: Param, of: Param) -> Result<()> {
        let copy = self.find(copy, Owner::default(), false).map(|(i, _)| i);
        let of = self.find(of, Owner::default(), false).map(|(i, _)| i);
        let (Some(copy), Some(of)) = (copy, of) else { return Ok(()) };
        if copy == of {
            return Ok(());
        }
        let (a, b) = (&self.checkpoint.tensors[copy], &self.checkpoint.tensors[of]);
        if !self.checkpoint.same_bytes(a, b)? {
            return Err(Error::ConfigKey {
                origin: self.checkpoint.origin().into(),
                key: "tie_word_embeddings".into(),
                problem: format!(
                    "is true, but `{}` is stored and differs from `{}`; with false it is used",
                    a.info.name, b.info.name
                ),
            });
        }
        self.taken.others.borrow_mut().insert(copy);
        Ok(())
    }

    /// Counts a tensor as read that was used by other ways (such as a table of frequencies).
    pub fn mark_used(&self, name: &str) {
        if let Some(index) = self.checkpoint.position(name) {
            self.taken.others.borrow_mut().insert(index);
        }
    }

    /// The account: every tensor must have been read, all parts of it, or be known as no
    /// parameter.
    ///
    /// # Errors
    /// [`Error::UnreadTensors`].
    pub fn finish(self) -> Result<Account> {
        let mut account = Account { read: vec![], ignored: vec![], parameters: 0, bytes: 0 };
        let mut unread = Vec::new();
        let (parts, others) = (self.taken.parts.borrow(), self.taken.others.borrow());
        let checkpoint: &Checkpoint = self.checkpoint;
        for (index, stored) in checkpoint.tensors.iter().enumerate() {
            let name = stored.info.name.clone();
            let elements = stored.rows() * stored.row_len();
            let parts = parts.get(&index);
            if parts.is_some_and(|parts| parts.values().sum::<usize>() >= elements) {
                account.parameters += elements as u64;
                account.bytes += stored.info.bytes;
                account.read.push(name);
            } else if parts.is_none() && (others.contains(&index) || is_ignored(self.names, &name))
            {
                account.ignored.push(name);
            } else {
                unread.push(name);
            }
        }
        if unread.is_empty() {
            return Ok(account);
        }
        Err(Error::UnreadTensors { origin: checkpoint.origin().into(), names: unread })
    }
}
