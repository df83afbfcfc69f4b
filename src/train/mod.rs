//! Training: the same decoder, learning. Variables under the names of a checkpoint, gradients by
//! the tensor library, and a recipe that says the rest. What a trained model is used for is not
//! known here.

mod adamw;
mod begin;
mod corpus;
pub mod curve;
mod documents;
mod dropout;
mod export;
mod gradients;
mod init;
mod log;
mod lora;
mod loss;
mod recipe;
mod run;
mod state;
mod variables;

pub use adamw::AdamW;
pub use begin::{Start, begin};
pub use corpus::{Batch, Corpus, Order};
pub use documents::Document;
pub use dropout::Dropout;
pub use export::Files;
pub use gradients::{Gradients, How, evaluate, gradients};
pub use init::fresh;
pub use log::{Line, read as read_log};
pub use lora::Lora;
pub use loss::{loss, loss_heard};
pub use recipe::{Export, Paths, Recipe};
pub use run::{Event, Observer, Outcome, train};
pub use variables::Variables;

/// What a thread came back with; its panic goes on here.
fn joined<T>(handle: std::thread::ScopedJoinHandle<'_, T>) -> T {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
