//! A packet on its way: its bytes (`PacketBuf`).
#![forbid(unsafe_code)]

mod buf;

pub use buf::{BufPool, PacketBuf, VecBuf, VecPool};
