//! A table with a row a position, made when first needed and made again, doubled, when it is too
//! short: no work per token. What stands in it is its user's affair.

use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Tensor};

use crate::error::Result;

/// The table, and what it was made for.
#[derive(Debug, Default)]
pub(crate) struct Grown(Mutex<Option<(u64, Tensor)>>);

impl Grown {
    /// At least `rows` rows, f32, of the table that `key` stands for.
    pub(crate) fn table(
        &self,
        key: u64,
        rows: usize,
        make: impl FnOnce(usize) -> Result<Tensor>,
    ) -> Result<Tensor> {
        // A panic elsewhere cannot leave a table half written: it is replaced whole.
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((held_key, table)) = &*held
            && *held_key == key
            && table.dim(0)? >= rows
        {
            return Ok(table.clone());
        }
        let table = make(rows.next_power_of_two().max(64))?.to_dtype(DType::F32)?;
        *held = Some((key, table.clone()));
        Ok(table)
    }
}
