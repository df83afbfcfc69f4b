//! Training: the same decoder, learning. Variables under the names of a checkpoint, gradients by
//! the tensor library, and a recipe that says the rest. What a trained model is used for is not
//! known here.

mod init;
mod variables;

pub use init::fresh;
pub use variables::Variables;
