//! Telling a NIC which queue a packet belongs to: hash key and redirection table, by a rule that is handed in.
//!
//! They are told after each start, as a start brings many drivers' own back, and read back, as some drivers take what they
//! then ignore. A port that cannot be told keeps its driver's way of spreading over the queues, and works all the same:
//! packets then change worker on the hand-over rings.

use super::ffi;
use super::port_types::Caps;

/// What a NIC is to be told, for the sizes that it has.
#[derive(Clone, Copy, Debug)]
pub struct RssRule {
    /// The Toeplitz hash key of a length in bytes. `None`: the rule has none of that length.
    pub key: fn(usize) -> Option<Vec<u8>>,
    /// The redirection table of a size, over a number of queues: the queue of each index. `None`: none of that size.
    pub redirection: fn(usize, usize) -> Option<Vec<u16>>,
}

/// How packets get to the worker that owns them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Steering {
    /// Not asked: one queue, or no rule.
    #[default]
    Unasked,
    /// The NIC delivers to the owner's queue.
    Nic,
    /// By rings between the workers, and why the NIC does not do it.
    Rings(&'static str),
}

impl std::fmt::Display for Steering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Steering::Unasked => f.write_str("any queue"),
            Steering::Nic => f.write_str("steered by the NIC"),
            Steering::Rings(why) => write!(f, "handed over by rings ({why})"),
        }
    }
}

/// The length of the key where the driver does not say (`rte_eth_rss_conf`).
const USUAL_KEY: u8 = 40;

/// Tells an open, started port of DPDK's, with RSS on, whose steering nobody else does meanwhile.
pub(super) fn tell(port: u16, caps: &Caps, queues: u16, rule: Option<&RssRule>) -> Steering {
    let Some(rule) = rule.filter(|_| queues > 1) else { return Steering::Unasked };
    match fitting(caps, queues, rule).and_then(|(mut key, table)| told(port, &mut key, &table)) {
        Ok(()) => Steering::Nic,
        Err(why) => Steering::Rings(why),
    }
}

/// Key and table for what the NIC says of itself.
fn fitting(caps: &Caps, queues: u16, rule: &RssRule) -> Result<(Vec<u8>, Vec<u16>), &'static str> {
    if !caps.rss {
        return Err("no RSS");
    }
    if !caps.rss_ports {
        return Err("its hash leaves out the ports of TCP or UDP");
    }
    let key_size = if caps.hash_key_size == 0 { USUAL_KEY } else { caps.hash_key_size };
    let key = (rule.key)(usize::from(key_size)).filter(|key| key.len() == usize::from(key_size));
    let table = (rule.redirection)(usize::from(caps.reta_size), usize::from(queues));
    let table = table.filter(|t| t.len() == usize::from(caps.reta_size) && t.iter().all(|q| *q < queues));
    Ok((key.ok_or("its hash key is too short")?, table.ok_or("its redirection table is too small")?))
}

fn told(port: u16, key: &mut [u8], table: &[u16]) -> Result<(), &'static str> {
    let (key_len, entries) = (key.len() as u8, table.len() as u16);
    // SAFETY: an open port; `key` is `key_len` writable bytes (255 at most: a caps' u8), which DPDK copies.
    if unsafe { ffi::turnout_port_rss_set(port, key.as_mut_ptr(), key_len) } < 0 {
        return Err("it refuses the hash key");
    }
    // SAFETY: an open port; `table` has as many entries as said, and the callee refuses more than it has room for.
    if unsafe { ffi::turnout_port_reta_set(port, table.as_ptr(), entries) } < 0 {
        return Err("it refuses the redirection table");
    }
    // A driver that cannot be asked is believed. Room for the longest key, whatever the driver copies.
    let (mut kept, mut ports) = (vec![0u8; 256], 0u8);
    // SAFETY: an open port; `kept` has room for more than `key_len` bytes, and `ports` is a writable number.
    let said = unsafe { ffi::turnout_port_rss_get(port, kept.as_mut_ptr(), key_len, &mut ports) };
    if said >= 0 && !kept.starts_with(key) {
        return Err("it keeps another hash key");
    }
    if said >= 0 && ports == 0 {
        return Err("it keeps the ports out of its hash");
    }
    let mut kept = vec![0u16; table.len()];
    // SAFETY: an open port; `kept` is writable and has as many entries as said.
    if unsafe { ffi::turnout_port_reta_get(port, kept.as_mut_ptr(), entries) } >= 0 && kept != table {
        return Err("it keeps another redirection table");
    }
    Ok(())
}

/// DPDK's own Toeplitz hash (`rte_softrss`) of an input in words of 32 bits, each in the order of this machine: what a NIC
/// computes, for tests. `None` unless the key is a word longer than the input, and that 12 words at most.
pub fn soft_rss(input: &[u32], key: &[u8]) -> Option<u32> {
    if input.is_empty()
        || input.len() > ffi::TURNOUT_SOFT_RSS_WORDS as usize
        || key.len() < (input.len() + 1) * 4
    {
        return None;
    }
    // SAFETY: `input` has as many words as said, no more than the callee has room for, and `key` a word more; both are
    // copied before they are used, so that neither needs an alignment.
    Some(unsafe { ffi::turnout_soft_rss(input.as_ptr(), input.len() as u32, key.as_ptr()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: RssRule = RssRule {
        key: |len| (len >= 16).then(|| vec![1; len]),
        redirection: |size, queues| (size >= 128).then(|| (0..size).map(|i| (i % queues) as u16).collect()),
    };

    #[test]
    fn a_nic_is_told_what_fits_it_or_why_it_is_not() {
        let nic = Caps { rss: true, rss_ports: true, reta_size: 512, hash_key_size: 52, ..Caps::default() };
        let sizes = |caps: &Caps| fitting(caps, 4, &RULE).map(|(key, table)| (key.len(), table.len()));
        assert_eq!(sizes(&nic), Ok((52, 512)));
        assert_eq!(sizes(&Caps { hash_key_size: 0, ..nic.clone() }), Ok((40, 512)));
        for (caps, why) in [
            (Caps { rss: false, ..nic.clone() }, "no RSS"),
            (Caps { rss_ports: false, ..nic.clone() }, "its hash leaves out the ports of TCP or UDP"),
            (Caps { hash_key_size: 12, ..nic.clone() }, "its hash key is too short"),
            (Caps { reta_size: 64, ..nic.clone() }, "its redirection table is too small"),
            (Caps { reta_size: 0, ..nic.clone() }, "its redirection table is too small"),
        ] {
            assert_eq!(sizes(&caps), Err(why));
        }
        let wrong = RssRule { redirection: |size, _| Some(vec![4; size]), ..RULE };
        assert!(fitting(&nic, 4, &wrong).is_err(), "a queue that is not there");
    }
}
