//! What the partner of a pair says of a flow becomes a session (`nat::copying`), and those that lose their place by it are judged anew.

use super::{Router, View};
use crate::base::Nanos;
use crate::packet::PacketBuf;
use crate::wire::record::Record;

impl<B: PacketBuf> Router<B> {
    /// Takes the partner's word for a flow.
    pub fn copy(&mut self, view: &View, record: &Record, now: Nanos) {
        match record {
            Record::Is(entry) => {
                let env = &mut super::env(view, now, &mut self.counters);
                let owns = |wan: crate::base::WanId, ip| {
                    view.wans.get(wan.index()).is_some_and(|link| view.owns(link.iface, ip))
                };
                if self.nat.copy(entry, owns, env) {
                    self.renew();
                }
            }
            Record::Ended(key) => self.nat.end_copy(key, now, &mut self.counters),
        }
    }
}
