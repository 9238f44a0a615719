//! What the partner of a pair says of a flow becomes a session (`nat::copying`), and those that lose their place by it are judged anew.

use std::net::Ipv4Addr;

use super::{Notice, Router, View};
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
                self.meet(view, entry.key.inside().0, now);
            }
            Record::Ended(key) => self.nat.end_copy(key, now, &mut self.counters),
        }
    }

    /// The host of a copy is found before its packets come this way: at a take-over they would have to wait for it.
    fn meet(&mut self, view: &View, host: Ipv4Addr, now: Nanos) {
        let Some(route) = view.routes.find(host).filter(|_| view.standby) else { return };
        let (iface, ip) = (route.iface, route.via.unwrap_or(host));
        if self.neighbors.hop(iface, ip).is_none() && self.questions.take(now) {
            self.notices.push(Notice::Resolve { iface, ip });
        }
    }
}
