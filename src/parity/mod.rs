//! Are the numbers PyTorch's? Traces of activations, where two of them part and why, and how well
//! a model predicts a text. Nothing is computed here that a decoder computes.

mod against;
mod compare;
mod evidence;
mod explain;
mod greedy;
mod header;
mod html;
mod identity;
mod judge;
mod logits;
pub mod python;
mod report;
mod score;
mod table;
mod trace;
mod traps;
mod windows;

pub use crate::nn::Recorder;
pub use against::{Against, against};
pub use compare::{Difference, compare};
pub use explain::{Cause, explain};
pub use greedy::{Continued, Parting};
pub use html::html;
pub use identity::{Identity, identify, stamp};
pub use judge::{ALLOWANCE, Drift, Judge, TOLERANCE, Verdict, Yardstick, drifts_no_more};
pub use logits::{LogitReport, compare_logits};
pub use report::{Options, Report, Row, judge_against};
pub use score::{Scores, TokenScore, score};
pub use table::{sites, summary};
pub use trace::{Trace, record};
pub use traps::TRAPS;
pub use windows::Plan;
