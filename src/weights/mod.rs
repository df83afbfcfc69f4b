//! Bytes on disk to named parameters. It knows no family: a name table is handed to it.

mod account;
mod adapter;
mod checkpoint;
mod dtype;
mod file;
mod find;
mod fingerprint;
mod gguf;
mod held;
pub mod hub;
mod index;
mod layout;
mod load;
mod mxfp4;
mod nearest;
mod packing;
mod param;
mod part;
mod plan;
mod quantised;
mod read;
mod safetensors;
mod stack;
mod torch;
mod window;

pub use account::Account;
pub use adapter::Adaptation;
pub use checkpoint::{Checkpoint, Format};
pub use dtype::StoredDtype;
pub use file::TensorInfo;
pub use gguf::GgufMetadata;
pub use load::{Matrix, Weights};
pub use packing::Packing;
pub use param::{Entry, Layout, Names, Owner, Param, Stack, bare, packed, plain, stored};
pub use plan::Planned;
pub use quantised::gather_rows;
