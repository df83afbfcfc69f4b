//! From a prompt to a continuation: choosing tokens, stopping, streaming text, and the loop that
//! drives the decoder. It loads nothing and prints nothing.

mod candidates;
mod chat;
mod choices;
mod completion;
mod defaults;
mod finite;
mod history;
mod logprobs;
mod process;
mod request;
mod row;
mod run;
mod sampler;
mod sampling;
mod session;
mod stop;
mod voice;

pub use chat::Chat;
pub use choices::Choices;
pub use completion::{Completion, FinishReason, Timings};
pub use defaults::Defaults;
pub use logprobs::{Logprob, Scored};
pub use request::{Detokenize, Event, Prompt, Request, Voice};
pub use run::{Listener, generate};
pub use sampler::Sampler;
pub use sampling::Sampling;
pub use session::Session;
