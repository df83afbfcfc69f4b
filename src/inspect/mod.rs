//! What a model is, and what happens inside it. Nothing is changed by looking.

mod attention;
mod colour;
mod escape;
mod font;
mod layer;
mod lens;
mod logits;
mod map;
mod png;
mod scene;
mod scores;
mod statistics;
mod summary;
mod survey;
mod svg;
pub mod table;
mod terminal;
mod tokens;
mod watch;
mod worth;

pub use attention::{Attended, HeadView, Look, Of, Plan, QueryView, attend};
pub use colour::{Ground, Rgb, colour};
pub use escape::{escape, script_json};
pub use layer::LayerView;
pub use lens::{Depth, Guess, Reading, Residuals, lens};
pub use map::Map;
pub use png::png;
pub use scores::{HeadScores, LOCAL, Scores, Trial, score};
pub use statistics::{Spread, Statistics};
pub use summary::{LayerGroup, Summary};
pub use survey::{Curve, Questions, Survey, survey, trial};
pub use svg::svg;
pub use terminal::{Room, heat, padded, width};
pub use tokens::{Token, shortened, visible};
pub use worth::{Bench, Instead, Worth, least_first, moved, shuffled};
