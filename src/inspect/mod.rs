//! What a model is, and what happens inside it. Nothing is changed by looking.

mod attention;
mod colour;
mod layer;
mod map;
mod statistics;
mod summary;
pub mod table;
mod terminal;
mod tokens;
mod watch;

pub use attention::{Attended, HeadView, Look, Of, Plan, QueryView, attend};
pub use colour::{Ground, Rgb, colour};
pub use layer::LayerView;
pub use map::Map;
pub use statistics::{Spread, Statistics};
pub use summary::{LayerGroup, Summary};
pub use terminal::{Room, heat, padded, width};
pub use tokens::{Token, shortened, visible};
