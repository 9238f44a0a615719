//! The management thread and what it says to the outside.
#![forbid(unsafe_code)]

pub mod protocol;
