//! The rings by which sessions are copied to the partner: what changes in a worker's table goes to the management thread, what the partner's
//! log says comes back from it.
//!
//! A change is told once, as it is at that time. What finds the ring full is not told: then everything is told again, when there is
//! room (`Change::Lost`). Nothing waits for anybody.

use rtrb::{Consumer, Producer, RingBuffer};

use crate::wire::record::Record;

/// Changes that wait for the management thread, at most.
const CHANGES: usize = 8192;
/// Orders that wait for a worker, at most.
const ORDERS: usize = 4096;

/// What a worker tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A flow of its table is like this, or has ended.
    Record(Record),
    /// All that there was when `Order::Tell` came has been told.
    Walked(u32),
    /// Some changes found no room: only another `Order::Tell` makes good for them.
    Lost,
}

/// What a worker is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Tell all that there is, as this run, and from now on what changes.
    Tell(u32),
    /// Tell nothing any more.
    Rest,
    /// Copies will come; those that are here are kept until `Whole`.
    Begin,
    /// A flow of the partner's is like this, or has ended.
    Record(Record),
    /// Copies that have not come since `Begin` are no more.
    Whole,
}

/// The worker's end.
#[derive(Debug)]
pub struct CopyEnd {
    /// What it tells
    pub changes: Producer<Change>,
    /// What it is told
    pub orders: Consumer<Order>,
}

/// The management thread's end.
#[derive(Debug)]
pub struct CopyRings {
    /// What the worker tells
    pub changes: Consumer<Change>,
    /// What it is told
    pub orders: Producer<Order>,
}

/// The two ends.
pub fn connect() -> (CopyRings, CopyEnd) {
    let (to_manager, changes) = RingBuffer::new(CHANGES);
    let (orders, from_manager) = RingBuffer::new(ORDERS);
    (CopyRings { changes, orders }, CopyEnd { changes: to_manager, orders: from_manager })
}
