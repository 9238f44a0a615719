//! Another configuration of the same WANs, which a journal has beside the inputs, and assumptions, which are not for it.

use super::book::Book;
use super::config::{Config, GroupConfig, Health};
use super::groups::Group;
use super::state::Wan;
use super::status::State;
use super::types::{Admin, Effect, Reconfigured};
use super::{Nanos, WanId, Wans};

impl Wans {
    /// Another configuration from now on, of the same WANs; groups are those of the same number, and there may be more of them. States,
    /// standings and bonds stay; a WAN whose probes are others begins to ask anew, and is judged by what comes of it. WANs that have
    /// another address with it are left in the same step, TCP at once, as with `Input::Address`.
    pub fn reconfigure(&mut self, now: Nanos, change: &Reconfigured, out: &mut impl FnMut(Effect)) {
        let Reconfigured { config, addresses } = change.clone();
        self.now = self.now.max(now);
        let now = self.now;
        for (wan, health) in self.wans.iter_mut().zip(config.wans) {
            wan.reconfigure(now, health, &mut self.book);
        }
        if let Some(default) = config.groups.first() {
            self.outside.reconfigure(default.on_failover);
        }
        let groups = config.groups.into_iter().take(Config::GROUPS).zip(0..=u8::MAX);
        for (config, id) in groups {
            match self.groups.get_mut(usize::from(id)) {
                Some(group) => group.reconfigure(config),
                None => self.groups.push(Group::new(id, config, self.wans.len())),
            }
        }
        for wan in addresses {
            self.groups.iter_mut().for_each(|group| group.readdress(wan, out));
            self.outside.readdress(wan, out);
        }
        self.conclude(now, false, out);
    }

    /// As if a WAN were up, or down, from now on: for questions, asked of a copy.
    pub fn assume(&mut self, now: Nanos, wan: WanId, up: bool) {
        self.now = self.now.max(now);
        let Some(assumed) = self.wans.get_mut(wan.index()) else { return };
        assumed.status.state = if up { State::Up } else { State::Down };
        assumed.status.admin = Admin::Auto;
        assumed.status.link = Some(up);
        // For long enough that a group would return to it.
        assumed.status.since = Nanos::ZERO;
        self.conclude(self.now, false, &mut |_| ());
    }

    /// What the groups make of how the WANs are.
    pub(super) fn conclude(&mut self, now: Nanos, operator: bool, out: &mut impl FnMut(Effect)) {
        let book: &Book = &self.book;
        self.wans.iter_mut().for_each(|wan| wan.show(book));
        for group in &mut self.groups {
            group.run(&self.wans, now, operator, out);
        }
        self.outside.run(&self.wans, &self.groups, now, out);
        self.settle(now);
    }
}

impl Wan {
    fn reconfigure(&mut self, now: Nanos, health: Health, book: &mut Book) {
        if health == self.health {
            return;
        }
        let Wan { id, status, link_since, gateway_ok, leased, fresh, .. } = self.clone();
        *self = Wan::new(id, health, book, now);
        (self.status, self.link_since, self.gateway_ok) = (status, link_since, gateway_ok);
        (self.leased, self.fresh) = (leased || !self.health.dhcp, fresh);
        (self.status.misses, self.status.bad_rounds, self.status.successes) = (0, 0, 0);
        self.status.confirming = false;
        if self.status.link == Some(false) || !self.leased {
            self.hush();
        } else if self.health.dhcp {
            // Made anew it was without a lease.
            self.gateway.start(now);
            self.targets.start(now);
        }
    }
}

impl Group {
    fn reconfigure(&mut self, config: GroupConfig) {
        self.config = config;
    }
}
