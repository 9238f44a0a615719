//! Walks over the session table beside packets, a share each turn: sessions that the management thread lists, and those that it ends.
//! However long a table is, a turn does no more than its share; who does not read its list waits alone.

use super::lcore::Lcore;
use super::rings::{SessionRow, ToManager};
use crate::base::Nanos;
use crate::packet::PacketBuf;

/// Slots of the session table listed in one turn.
const LISTED: u32 = 64;

impl<B: PacketBuf> Lcore<B> {
    /// Ends a turn's share of what is to be ended.
    pub(super) fn kill(&mut self, now: Nanos) {
        let Some(kill) = self.kills.front_mut() else { return };
        self.router.kill_some(&self.view, kill, now);
        if kill.is_over()
            && self.end.to_manager.slots() > 0
            && let Some(kill) = self.kills.pop_front()
        {
            self.tell(ToManager::Killed(kill));
        }
    }

    /// Lists a turn's share, of one listing after the other.
    pub(super) fn list(&mut self, now: Nanos) {
        let Some((rows, from)) = self.listings.front_mut() else { return };
        let slots = LISTED.min(u32::try_from(rows.slots()).unwrap_or(u32::MAX));
        let mut next = Some(*from);
        if !rows.is_abandoned() {
            let worker = self.id;
            next = self.router.nat.list(*from, slots, now, |session, root| {
                // There is room for as many rows as slots are looked at.
                let _ = rows.push(SessionRow {
                    session: *session,
                    created: root.created,
                    kind: root.kind,
                    worker,
                });
            });
        }
        match next.filter(|_| !rows.is_abandoned()) {
            Some(at) => {
                *from = at;
                self.listings.rotate_left(1);
            }
            None => {
                if self.end.to_manager.slots() > 0
                    && let Some((rows, _)) = self.listings.pop_front()
                {
                    self.tell(ToManager::Listed(rows));
                }
            }
        }
    }
}
