//! Two whole routers that are the members of a pair, on one clock: workers, rings, managers and all. Their links are joined, as by a switch on
//! each network that both are on; what one sends there comes to the other, unless the line between them is cut.

use crate::base::{IfaceId, Nanos};
use crate::cluster::Key;
use crate::manage::Joining;
use crate::profile;

use super::frames::{Packet, Seen};
use super::site::Site;

/// The port of the heartbeat.
const BEATS: u16 = 9000;

/// The members of a pair.
pub struct Twins {
    /// Both, in the order of the profile
    pub members: [Site; 2],
    /// One that was killed runs no more
    pub dead: [bool; 2],
    /// Links whose members do not hear each other
    pub cut: Vec<String>,
    /// What both have sent since it was taken: who, by which link, what
    pub sent: Vec<(usize, String, Vec<u8>)>,
    starts: u64,
}

impl Twins {
    /// Both members, `a` and `b`, of a profile, started at once, all links up; nothing has happened yet.
    ///
    /// # Errors
    /// The profile's mistakes.
    pub fn new(text: &str, workers: usize) -> Result<Twins, profile::Mistakes> {
        Twins::of([text; 2], [b"the key of both members"; 2], workers)
    }

    /// The same, each with its own profile and key: they should not differ.
    ///
    /// # Errors
    /// The profiles' mistakes.
    pub fn of(texts: [&str; 2], keys: [&[u8]; 2], workers: usize) -> Result<Twins, profile::Mistakes> {
        let a = Twins::member(texts[0], "a", 0, (workers, 1), keys[0], None)?;
        let b = Twins::member(texts[1], "b", 1, (workers, 1), keys[1], None)?;
        let (cut, sent) = (Vec::new(), Vec::new());
        Ok(Twins { members: [a, b], dead: [false; 2], cut, sent, starts: 1 })
    }

    fn member(
        text: &str,
        name: &str,
        number: u8,
        (workers, boot): (usize, u64),
        key: &[u8],
        now: Option<Nanos>,
    ) -> Result<Site, profile::Mistakes> {
        let profile = profile::load_member(text, "sim.yaml", name)?;
        let mut site = Site::of(&profile, workers, number + 1);
        if let Some(now) = now {
            site.now = now;
        }
        if let Some(key) = Key::new(key) {
            let joining = Joining { key, kept: None, boot, keeper: None, workers, endpoint: None };
            site.manager.join(joining, site.now);
        }
        for at in 0..site.names.len() {
            site.manager.link(site.now, IfaceId(at as u8), true);
        }
        Ok(site)
    }

    /// A member is started anew, with nothing but its profile.
    ///
    /// # Errors
    /// The profile's mistakes.
    pub fn restart(&mut self, text: &str, at: usize) -> Result<(), profile::Mistakes> {
        self.starts += 1;
        let now = self.members[1 - at].now;
        let workers = self.members[at].lcores.len();
        let (name, key) = (["a", "b"][at], b"the key of both members");
        self.members[at] = Twins::member(text, name, at as u8, (workers, self.starts), key, Some(now))?;
        self.dead[at] = false;
        Ok(())
    }

    /// A member takes up another profile.
    ///
    /// # Errors
    /// What is wrong with it, or needs a restart.
    pub fn reload(&mut self, text: &str, at: usize) -> Result<Vec<String>, String> {
        let profile = profile::load_member(text, "sim.yaml", ["a", "b"][at]).map_err(|e| e.to_string())?;
        let site = &mut self.members[at];
        site.manager.reload(profile, None, site.now)
    }

    /// Lets time pass, millisecond by millisecond.
    pub fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms {
            for at in 0..2 {
                self.members[at].now += Nanos::from_ms(1);
            }
            for _ in 0..4 {
                for at in (0..2).filter(|at| !self.dead[*at]) {
                    self.members[at].settle();
                }
                if !self.carry() {
                    break;
                }
            }
        }
    }

    /// Carries what was sent to the other member. Whether there was something.
    fn carry(&mut self) -> bool {
        let mut any = false;
        for from in 0..2 {
            for (link, frame) in self.members[from].take_all() {
                let to = &mut self.members[1 - from];
                if !self.cut.contains(&link) && !self.dead[1 - from] && to.names.contains(&link) {
                    let iface = to.iface(&link);
                    to.arrive(iface, &frame);
                    any = true;
                }
                self.sent.push((from, link, frame));
            }
        }
        any
    }

    /// Sends a packet to a member, as `Site::send`; what the members say to each other meanwhile comes through.
    pub fn send(&mut self, to: usize, link: &str, packet: &Packet) -> Vec<(String, Seen)> {
        let frame = self.members[to].frame_of(link, packet);
        let mut out = Vec::new();
        for (link, frame) in self.members[to].send_raw(link, &frame) {
            let Some(seen) = Seen::read(&frame) else { continue };
            if seen.dst().1 != BEATS {
                out.push((link, seen));
            } else if !self.dead[1 - to] && !self.cut.contains(&link) {
                let partner = &mut self.members[1 - to];
                let iface = partner.iface(&link);
                partner.arrive(iface, &frame);
            }
        }
        out
    }

    /// Takes what was sent.
    pub fn take(&mut self) -> Vec<(usize, String, Vec<u8>)> {
        std::mem::take(&mut self.sent)
    }
}

impl std::fmt::Debug for Twins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Twins").field("members", &self.members).finish_non_exhaustive()
    }
}
