//! What the profile translates by hand: forwards, one-to-one addresses, and what goes untranslated.
//!
//! All of it becomes sessions like any other; here only stands where one leads. Look-ups cost the same with one forward and with
//! ten thousand.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use super::Uplinks;
use super::rules::Match;
use super::session::Kind;
use crate::base::{IfaceId, Ipv4Net, WanId};
use crate::packet::Tuple;

/// Ports there are.
const PORTS: usize = 1 << 16;

/// A port of a WAN that leads inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The WANs
    pub wans: Vec<WanId>,
    /// TCP, UDP or both
    pub protocols: Vec<u8>,
    /// Outside ports, from and to
    pub ports: (u16, u16),
    /// Who may come; empty: anybody
    pub from: Vec<Ipv4Net>,
    /// The inside host
    pub to: Ipv4Addr,
    /// The inside port of the first outside port
    pub to_port: u16,
}

/// An address of a WAN that is an inside host's alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OneToOne {
    /// The WAN
    pub wan: WanId,
    /// The address there
    pub outside: Ipv4Addr,
    /// The host
    pub inside: Ipv4Addr,
    /// While the WAN is down the host is masqueraded by another one
    pub masquerade: bool,
}

/// Where a packet from outside leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The inside host
    pub inside: Ipv4Addr,
    /// Its port
    pub port: u16,
    /// By which rule
    pub kind: Kind,
}

/// By port: 0, or 1 + the list of forwards that may be meant
type ByPort = Box<[u16]>;

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statics {
    /// Sources that are translated; `None`: all
    inside: Option<Vec<Ipv4Net>>,
    except: Vec<Match>,
    forwards: Vec<Forward>,
    /// By WAN and protocol
    by_port: HashMap<(WanId, u8), ByPort>,
    lists: Vec<Vec<u16>>,
    one_to_one: Vec<OneToOne>,
    by_outside: HashMap<(WanId, Ipv4Addr), usize>,
    by_inside: HashMap<Ipv4Addr, Vec<usize>>,
}

/// How a flow from inside is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Masqueraded
    Masquerade,
    /// As it is
    Plain,
    /// By this address of this WAN
    OneToOne(OneToOne),
    /// Not at all: its WAN is down
    Nowhere,
}

impl Statics {
    /// From what the profile says.
    pub fn new(
        inside: Option<Vec<Ipv4Net>>,
        except: Vec<Match>,
        forwards: Vec<Forward>,
        one_to_one: Vec<OneToOne>,
    ) -> Statics {
        let mut all = Statics { inside, except, forwards, one_to_one, ..Statics::default() };
        // Lists that say the same are one: most ports of a range have the same forwards.
        let mut known: HashMap<Vec<u16>, u16> = HashMap::new();
        for (at, forward) in all.forwards.iter().enumerate().take(usize::from(u16::MAX)) {
            for key in forward.wans.iter().flat_map(|wan| forward.protocols.iter().map(|p| (*wan, *p))) {
                let ports = all.by_port.entry(key).or_insert_with(|| vec![0; PORTS].into_boxed_slice());
                for cell in &mut ports[usize::from(forward.ports.0)..=usize::from(forward.ports.1)] {
                    let before = cell.checked_sub(1).and_then(|list| all.lists.get(usize::from(list)));
                    let mut list = before.cloned().unwrap_or_default();
                    list.push(at as u16);
                    *cell = *known.entry(list).or_insert_with_key(|list| {
                        all.lists.push(list.clone());
                        u16::try_from(all.lists.len()).unwrap_or(0)
                    });
                }
            }
        }
        for (at, one) in all.one_to_one.iter().enumerate() {
            all.by_outside.insert((one.wan, one.outside), at);
            all.by_inside.entry(one.inside).or_default().push(at);
        }
        all
    }

    /// Everything is masqueraded.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.inside.is_none() && self.except.is_empty() && self.one_to_one.is_empty()
    }

    /// Something goes untranslated: packets from outside may be for inside addresses.
    pub fn any_plain(&self) -> bool {
        self.inside.is_some() || !self.except.is_empty()
    }

    /// An address of a WAN is an inside host's alone.
    pub fn is_outside(&self, wan: WanId, ip: Ipv4Addr) -> bool {
        !self.by_outside.is_empty() && self.by_outside.contains_key(&(wan, ip))
    }

    /// The addresses of a WAN that are inside hosts' alone.
    pub fn outside(&self, wan: WanId) -> impl Iterator<Item = Ipv4Addr> {
        self.one_to_one.iter().filter(move |one| one.wan == wan).map(|one| one.outside)
    }

    /// Whether a flow between these goes as it is; `t` as from inside.
    pub fn plain(&self, ingress: IfaceId, t: &Tuple) -> bool {
        let within = |nets: &Vec<Ipv4Net>| nets.iter().any(|net| net.contains(t.src));
        !self.inside.as_ref().is_none_or(within)
            || self.except.iter().any(|when| when.holds(ingress, t, false))
    }

    /// How a flow from inside is carried, which would take the WAN `chosen`.
    pub fn way(
        &self,
        ingress: IfaceId,
        t: &Tuple,
        up: &Uplinks,
        chosen: impl FnOnce() -> Option<WanId>,
    ) -> Way {
        if self.plain(ingress, t) {
            return Way::Plain;
        }
        let Some(all) = self.by_inside.get(&t.src) else { return Way::Masquerade };
        let all = || all.iter().filter_map(|at| self.one_to_one.get(*at));
        let chosen = chosen();
        let first = all().find(|one| up.fit(one.wan) && chosen == Some(one.wan));
        if let Some(one) = first.or_else(|| all().find(|one| up.fit(one.wan))) {
            return Way::OneToOne(*one);
        }
        if all().any(|one| one.masquerade) { Way::Masquerade } else { Way::Nowhere }
    }

    /// Where a packet that came from outside for one of the router's addresses leads, if a rule says so; `main` if it is for the WAN's own one.
    pub fn target(&self, wan: WanId, main: bool, t: &Tuple) -> Option<Target> {
        if let Some(one) = self.by_outside.get(&(wan, t.dst)).and_then(|at| self.one_to_one.get(*at)) {
            return Some(Target { inside: one.inside, port: t.dst_port, kind: Kind::OneToOne });
        }
        let list = self.by_port.get(&(wan, t.protocol)).filter(|_| main)?[usize::from(t.dst_port)];
        let list = self.lists.get(usize::from(list.checked_sub(1)?))?;
        let meant = |forward: &&Forward| {
            forward.from.is_empty() || forward.from.iter().any(|net| net.contains(t.src))
        };
        let forward = list.iter().filter_map(|at| self.forwards.get(usize::from(*at))).find(meant)?;
        let port = forward.to_port.wrapping_add(t.dst_port.wrapping_sub(forward.ports.0));
        Some(Target { inside: forward.to, port, kind: Kind::Forward })
    }

    /// Ports of WANs that forwards have: WAN, protocol, from and to.
    pub fn forwarded(&self) -> impl Iterator<Item = (WanId, u8, u16, u16)> {
        let each = |f: &Forward, wan: WanId, protocol: u8| (wan, protocol, f.ports.0, f.ports.1);
        self.forwards.iter().flat_map(move |f| {
            f.wans.iter().flat_map(move |wan| f.protocols.iter().map(move |p| each(f, *wan, *p)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::protocol::{TCP, UDP};

    fn to(protocol: u8, src: [u8; 4], port: u16) -> Tuple {
        Tuple { protocol, src: src.into(), src_port: 9, dst: [203, 0, 113, 2].into(), dst_port: port }
    }

    #[test]
    fn a_forward_keeps_the_place_in_its_range_and_the_first_that_lets_somebody_in_counts() {
        let forward = |ports, from: &[&str], host: u8| Forward {
            wans: vec![WanId(0), WanId(1)],
            protocols: vec![TCP],
            ports,
            from: from.iter().map(|net| net.parse().unwrap()).collect(),
            to: [192, 168, 1, host].into(),
            to_port: 100,
        };
        let forwards = vec![forward((8000, 8010), &["9.9.9.0/24"], 1), forward((8005, 9000), &[], 2)];
        let statics = Statics::new(None, vec![], forwards, vec![]);
        let found = |wan, main, t: &Tuple| {
            statics.target(wan, main, t).map(|found| (found.inside.octets()[3], found.port))
        };
        let w = WanId(1);
        assert_eq!(found(w, true, &to(TCP, [9, 9, 9, 9], 8007)), Some((1, 107)));
        assert_eq!(found(w, true, &to(TCP, [9, 9, 8, 9], 8007)), Some((2, 102)));
        assert_eq!(found(w, true, &to(TCP, [9, 9, 8, 9], 8000)), None);
        assert_eq!(found(w, true, &to(TCP, [9, 9, 8, 9], 9001)), None);
        assert_eq!(found(w, true, &to(UDP, [9, 9, 9, 9], 8007)), None);
        assert_eq!(found(w, false, &to(TCP, [9, 9, 9, 9], 8007)), None, "another address of the WAN");
        assert_eq!(found(WanId(2), true, &to(TCP, [9, 9, 9, 9], 8007)), None);
        assert_eq!(statics.forwarded().count(), 4);
    }
}
