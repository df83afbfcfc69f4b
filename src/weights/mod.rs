//! Bytes on disk to named parameters. It knows no family: a name table is handed to it.

mod checkpoint;
mod dtype;
mod file;
mod fingerprint;
mod gguf;
pub mod hub;
mod index;
mod layout;
mod load;
mod nearest;
mod param;
mod quantised;
mod read;
mod safetensors;
mod torch;

pub use checkpoint::{Checkpoint, Format};
pub use dtype::StoredDtype;
pub use file::TensorInfo;
pub use gguf::GgufMetadata;
pub use load::{Account, Matrix, Packing, Weights};
pub use param::{Entry, Layout, Names, Param, plain, stored};
pub use quantised::gather_rows;
