//! A packet on its way: its bytes (`PacketBuf`), what is known of it (`Frame`), what became of it (`Verdict`), and the
//! one list of drop reasons and counters.
#![forbid(unsafe_code)]

mod buf;
mod counters;
mod frame;
pub mod tag;
#[cfg(test)]
mod tests_counters;

pub use crate::wire::checksum::Verified;
pub use buf::{BufPool, PacketBuf, VecBuf, VecPool};
pub use counters::{COUNTERS, Counters, DropReason, Stat};
pub use frame::{Frame, Transport, Tuple, Verdict};
