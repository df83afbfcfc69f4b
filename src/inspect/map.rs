//! A head's weights as a square that fits somewhere: exact where there is room, else each cell the
//! largest weight of its tile. It draws nothing.

use super::watch::Sight;

/// Weights, a query a row and a key a column.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    /// Rows, and columns.
    pub side: usize,
    /// Tokens along a cell's side: 1 where the map is exact.
    pub pool: usize,
    /// The cells, (side, side).
    pub values: Vec<f32>,
}

impl Map {
    /// An empty map of `tokens` tokens, of at most `most` cells along its side.
    pub fn new(tokens: usize, most: usize) -> Self {
        let pool = tokens.div_ceil(most.max(1)).max(1);
        let side = tokens.div_ceil(pool);
        Self { side, pool, values: vec![0.0; side * side] }
    }

    pub(super) fn add(&mut self, sight: &Sight<'_>) {
        let row = &mut self.values[sight.query / self.pool * self.side..][..self.side];
        if self.pool == 1 {
            row[sight.first_key..=sight.query].copy_from_slice(sight.weights);
            return;
        }
        for (at, weight) in sight.weights.iter().enumerate() {
            let cell = &mut row[(sight.first_key + at) / self.pool];
            *cell = cell.max(*weight);
        }
    }

    /// Adds `other`, a map of as many tokens, times `factor`.
    pub fn accumulate(&mut self, other: &Map, factor: f32) {
        for (sum, value) in self.values.iter_mut().zip(&other.values) {
            *sum += value * factor;
        }
    }

    /// The cell of a row and column.
    pub fn at(&self, row: usize, column: usize) -> f32 {
        self.values.get(row * self.side + column).copied().unwrap_or(0.0)
    }

    /// The same, of at most `most` cells along its side.
    pub fn fitted(&self, most: usize) -> Map {
        let mut small = Map::new(self.side, most);
        for row in 0..self.side {
            for column in 0..=row {
                let cell = &mut small.values[row / small.pool * small.side + column / small.pool];
                *cell = cell.max(self.at(row, column));
            }
        }
        small.pool *= self.pool;
        small
    }
}
