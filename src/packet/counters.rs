//! Every counter of the packet path, in one list: a drop reason is a variant of `DropReason`, a counter
//! `drop_<name>`, and a row of `docs/counters.md` (a test holds the page against this list).
//!
//! The books must balance at every burst boundary (`Counters::balance`): what was received, made or handed in was
//! sent, consumed, held, handed out or dropped.

macro_rules! counters {
    (
        $(#[$doc:meta])* drops { $($(#[doc = $drop_doc:literal])+ $drop:ident = $drop_name:literal,)+ }
        counts { $($(#[doc = $stat_doc:literal])+ $stat:ident = $stat_name:literal,)+ }
    ) => {
        /// Why a packet went no further.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason { $($(#[doc = $drop_doc])+ $drop,)+ }

        impl DropReason {
            /// All reasons, in the order of the list.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$drop),+];
            /// The counter's name, with its `drop_`.
            pub const fn name(self) -> &'static str {
                match self { $(DropReason::$drop => concat!("drop_", $drop_name),)+ }
            }
            /// What it means, in a sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(DropReason::$drop => concat!($($drop_doc),+),)+ }
            }
        }

        /// What else is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Stat { $($(#[doc = $stat_doc])+ $stat,)+ }

        impl Stat {
            /// All of them, in the order of the list.
            pub const ALL: &'static [Stat] = &[$(Stat::$stat),+];
            /// The counter's name.
            pub const fn name(self) -> &'static str {
                match self { $(Stat::$stat => $stat_name,)+ }
            }
            /// What it means, in a sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Stat::$stat => concat!($($stat_doc),+),)+ }
            }
        }
    };
}

counters! {
    drops {
        /// The frame is shorter than an Ethernet header.
        EthTruncated = "eth_truncated",
        /// The frame is for another station's address.
        EthNotForUs = "eth_not_for_us",
        /// The source address is a group address or zero.
        EthSource = "eth_source",
        /// An ethertype that is not routed.
        EthType = "eth_type",
        /// A frame with a VLAN tag that no interface of the port has, or with two, or without one where every interface has one.
        Vlan = "vlan",
        /// IPv6 is not routed.
        Ipv6 = "ipv6",
        /// An ARP message with a wrong type, length or sender (RFC 826).
        ArpMalformed = "arp_malformed",
        /// An ARP message for somebody else.
        ArpNotForUs = "arp_not_for_us",
        /// Shorter than an IPv4 header (RFC 1812 5.2.2).
        Ipv4Truncated = "ipv4_truncated",
        /// The header's checksum is wrong (RFC 1812 5.2.2).
        Ipv4Checksum = "ipv4_checksum",
        /// The version is not 4 (RFC 1812 5.2.2).
        Ipv4Version = "ipv4_version",
        /// The header length is impossible (RFC 1812 5.2.2).
        Ipv4HeaderLength = "ipv4_header_length",
        /// The total length is impossible (RFC 1812 5.2.2).
        Ipv4TotalLength = "ipv4_total_length",
        /// An IP option with an impossible length (RFC 1812 4.3.3.5).
        Ipv4OptionMalformed = "ipv4_option_malformed",
        /// A source-routed packet (RFC 7126 4.3, 4.4).
        Ipv4SourceRoute = "ipv4_source_route",
        /// A source that no host may have: 0/8, 127/8, 224/4, 240/4 (RFC 1812 5.3.7).
        MartianSource = "martian_source",
        /// A destination that is never on a wire: 0/8, 127/8, 240/4 (RFC 1812 5.3.7).
        MartianDestination = "martian_destination",
        /// A source that does not belong behind this interface: one of the router's own, an inside one on a WAN, or a broadcast address.
        SpoofedSource = "spoofed_source",
        /// A limited or directed broadcast (RFC 1812 5.3.5).
        Broadcast = "broadcast",
        /// Multicast is not routed.
        Multicast = "multicast",
        /// A unicast packet in a broadcast or multicast frame (RFC 1812 5.3.4).
        LinkBroadcast = "link_broadcast",
        /// A fragment that is empty, ends within a step of 8 bytes though others follow, or reaches beyond 65535 bytes (RFC 791 3.2).
        FragmentMalformed = "fragment_malformed",
        /// A first fragment without its whole transport header, or a second one that reaches into it (RFC 1858, RFC 3128).
        FragmentTiny = "fragment_tiny",
        /// A fragment that overlaps another one, or one of a datagram of which some did (RFC 1858).
        FragmentOverlap = "fragment_overlap",
        /// A fragment that came already.
        FragmentDuplicate = "fragment_duplicate",
        /// A fragment for which there was no room to wait for others of its datagram, or no more.
        FragmentHold = "fragment_hold",
        /// A fragment that waited in vain for others of its datagram.
        FragmentTimeout = "fragment_timeout",
        /// A fragment whose datagram's first one was dropped, or is forgotten.
        FragmentRefused = "fragment_refused",
        /// A UDP, TCP or ICMP header that is cut off or whose length is impossible.
        TransportMalformed = "transport_malformed",
        /// A protocol that is not translated: all but UDP, TCP and ICMP echo.
        Protocol = "protocol",
        /// The TTL ran out here (RFC 1812 5.3.1).
        TtlExpired = "ttl_expired",
        /// No route to the destination, and no WAN to try.
        NoRoute = "no_route",
        /// No WAN is fit to carry it.
        WanNone = "wan_none",
        /// The session's WAN is down, and there is none to move to.
        WanDown = "wan_down",
        /// Of a session that does not move with its group: it came back on the WAN that was left, or is to be dropped.
        WanLeft = "wan_left",
        /// Arrived on a WAN for an address that is not the router's.
        WanTransit = "wan_transit",
        /// From inside to an outside address of the router, though hairpinning is off.
        Hairpin = "hairpin",
        /// Unsolicited from outside: no mapping.
        NatNoMapping = "nat_no_mapping",
        /// From outside to a mapping, by a remote that the filter does not let in.
        NatFiltered = "nat_filtered",
        /// From outside to a mapping, by one more new remote than may be waiting for an answer from inside.
        NatStrangers = "nat_strangers",
        /// Every external port of the WAN is taken.
        NatPortsExhausted = "nat_ports_exhausted",
        /// Another session has the same place outside, or the same two ends inside.
        NatClash = "nat_clash",
        /// The host has as many ports as it may (`nat.ports_per_host`).
        NatHostPorts = "nat_host_ports",
        /// The host has as many sessions as it may (`nat.sessions_per_host`).
        NatHostSessions = "nat_host_sessions",
        /// The host makes new mappings faster than it may (`nat.creation_rate`).
        NatCreationRate = "nat_creation_rate",
        /// A rule of the firewall forbids it, or none allows it.
        Firewall = "firewall",
        /// A rule of the firewall forbids it; its sender is told (ICMP 3/13).
        FirewallRejected = "firewall_rejected",
        /// The session table is full.
        NatTableFull = "nat_table_full",
        /// A TCP segment from inside without a session; answered by a reset.
        NatTcpMidstream = "nat_tcp_midstream",
        /// A TCP segment whose session stayed on a failed WAN; answered by a reset.
        NatTcpFailover = "nat_tcp_failover",
        /// An ICMP error about a packet that belongs to no session (RFC 5508 4.2).
        IcmpErrorNoSession = "icmp_error_no_session",
        /// An ICMP error whose quoted packet is cut off, broken, a later fragment, an error itself, or another one's than its addressee's (RFC 5508 4.1).
        IcmpErrorQuote = "icmp_error_quote",
        /// An ICMP error about something that the router has sent itself.
        IcmpErrorLocal = "icmp_error_local",
        /// An echo request for the router, or an ICMP error about a flow, with a wrong checksum (RFC 5508 4.1).
        IcmpChecksum = "icmp_checksum",
        /// A source quench: ignored (RFC 6633, RFC 5508 7).
        IcmpSourceQuench = "icmp_source_quench",
        /// A redirect: does not change forwarding (RFC 1812 5.2.7.2).
        IcmpRedirect = "icmp_redirect",
        /// A router advertisement or solicitation: not supported (RFC 5508 7).
        IcmpRouterDiscovery = "icmp_router_discovery",
        /// An ICMP timestamp or its reply: not supported (RFC 5508 7).
        IcmpTimestamp = "icmp_timestamp",
        /// An ICMP address mask request or reply: not supported (RFC 5508 7).
        IcmpAddressMask = "icmp_address_mask",
        /// An ICMP message of any other kind: not supported (RFC 5508 8).
        IcmpUnhandled = "icmp_unhandled",
        /// For the router itself, which has no service there.
        LocalNoService = "local_no_service",
        /// Longer than the next link carries, and it may not be fragmented.
        FragmentationNeeded = "fragmentation_needed",
        /// The next hop did not answer ARP.
        NeighborUnresolved = "neighbor_unresolved",
        /// Pushed out of the hold for an unresolved next hop by newer packets.
        NeighborHold = "neighbor_hold",
        /// For one of the router's own probes, beyond the rate at which a worker takes such from a WAN.
        AnswerLimit = "answer_limit",
        /// For the host under the router, beyond the rate at which a worker gives it packets from an interface.
        HostLimit = "host_limit",
        /// For the host under the router, whose ring is full: it does not keep up.
        HostFull = "host_full",
        /// From the host under the router, and nothing that it may send there: no ARP request, no IPv4 packet from one of its addresses.
        HostStray = "host_stray",
        /// The ring to the packet's owner is full.
        HandOverFull = "hand_over_full",
        /// The way out has no link: queued there it would come out late.
        LinkDown = "link_down",
        /// The port's transmit queue is full.
        TxFull = "tx_full",
        /// No buffer left to make the packet in.
        NoBuffer = "no_buffer",
    }
    counts {
        /// Frames received.
        Received = "rx_packets",
        /// Frames that a port refused before the path saw them: longer than a buffer.
        RefusedByPort = "rx_refused",
        /// Frames sent.
        Sent = "tx_packets",
        /// Frames that the router made: ARP, echo replies, errors, resets.
        Originated = "originated",
        /// Frames consumed: ARP and echo requests to the router.
        Local = "local",
        /// Packets that wait for their next hop's address, and fragments that wait for others, now.
        Held = "held",
        /// Frames more, because packets were cut into fragments.
        FragmentsMade = "fragments_made",
        /// Packets given to the worker that owns their host.
        HandedOut = "handed_out",
        /// Packets got from other workers.
        HandedIn = "handed_in",
        /// Packets given to the host under the router.
        ToHost = "to_host",
        /// Packets got from the host under the router.
        FromHost = "from_host",
        /// Sessions made.
        SessionsCreated = "sessions_created",
        /// Sessions ended by their timer.
        SessionsExpired = "sessions_expired",
        /// Sessions refused: table or ports full.
        SessionsRefused = "sessions_refused",
        /// Sessions ended by a reset after a failover.
        SessionsReset = "sessions_reset",
        /// Sessions ended by the operator.
        SessionsKilled = "sessions_killed",
        /// Sessions moved to another WAN with their mapping.
        SessionsMoved = "sessions_moved",
        /// Of these, those of TCP: what is not translated.
        SessionsMovedTcp = "sessions_moved_tcp",
        /// Of these, those of ICMP.
        SessionsMovedIcmp = "sessions_moved_icmp",
        /// TCP sessions that share a port with other remotes' ones.
        SessionsShared = "sessions_shared",
        /// Mappings made.
        MappingsCreated = "mappings_created",
        /// Mappings moved to another WAN.
        MappingsMoved = "mappings_moved",
        /// Mappings ended.
        MappingsRemoved = "mappings_removed",
        /// Mappings made on a WAN that was already left; must stay 0.
        MappingsOnLeftWan = "mappings_on_left_wan",
        /// External ports that a worker has lent to another one.
        PortsLent = "ports_lent",
        /// External ports that a worker has borrowed of another one.
        PortsBorrowed = "ports_borrowed",
        /// Changes of flows that were told to the partner (cluster.md).
        CopiesTold = "copies_told",
        /// Changes that found no room on their way to the partner: then everything is told again.
        CopiesLost = "copies_lost",
        /// Flows of the partner's that were copied.
        CopiesMade = "copies_made",
        /// Copies ended because the partner's flow has, or has another place.
        CopiesEnded = "copies_ended",
        /// Flows of the partner's that live on WANs which are its alone: they are sent to it while it is there.
        CopiesForeign = "copies_foreign",
        /// Flows of the partner's that were not copied: no room, no such rule, or their port is not free here.
        CopiesRefused = "copies_refused",
        /// TCP segments whose MSS was lowered to what their links carry.
        MssClamped = "mss_clamped",
        /// TCP resets sent to inside hosts.
        TcpResetsSent = "tcp_resets_sent",
        /// ICMP errors about translated packets, carried to whom they concern.
        IcmpErrorsTranslated = "icmp_errors_translated",
        /// ICMP errors made and sent.
        IcmpErrorsSent = "icmp_errors_sent",
        /// ICMP errors not sent, because the rate is limited.
        IcmpErrorsLimited = "icmp_errors_limited",
        /// ICMP errors not sent, because none may answer such a packet (RFC 1812 4.3.2.7).
        IcmpErrorsForbidden = "icmp_errors_forbidden",
        /// ARP messages in which another station claims an address of the router.
        ArpConflicts = "arp_conflicts",
        /// Notices to the management thread that found its ring full.
        NoticesLost = "notices_lost",
        /// Packets for the router's own probes that found the ring to the management thread full.
        AnswersLost = "answers_lost",
        /// Records of mappings that found the log's ring full (`nat.log`).
        LogLost = "log_lost",
        /// Records of mappings that were more than the log takes in a second.
        LogSuppressed = "log_suppressed",
    }
}

const DROPS: usize = DropReason::ALL.len();

/// How many counters there are.
pub const COUNTERS: usize = DROPS + Stat::ALL.len();

/// The counters of one worker, or their sum.
#[derive(Clone, PartialEq, Eq)]
pub struct Counters {
    values: [u64; COUNTERS],
}

impl Default for Counters {
    fn default() -> Counters {
        Counters { values: [0; COUNTERS] }
    }
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter().filter(|(_, n)| *n != 0)).finish()
    }
}

impl Counters {
    /// One more drop.
    #[inline(always)]
    pub fn drop(&mut self, reason: DropReason) {
        self.values[reason as usize] += 1;
    }

    /// `n` more drops.
    #[inline(always)]
    pub fn drop_many(&mut self, reason: DropReason, n: u64) {
        self.values[reason as usize] += n;
    }

    /// `n` more.
    #[inline(always)]
    pub fn add(&mut self, stat: Stat, n: u64) {
        self.values[DROPS + stat as usize] += n;
    }

    /// `n` less, of what is counted as it stands now.
    #[inline(always)]
    pub fn sub(&mut self, stat: Stat, n: u64) {
        let value = &mut self.values[DROPS + stat as usize];
        *value = value.saturating_sub(n);
    }

    /// The value of a counter.
    pub fn get(&self, stat: Stat) -> u64 {
        self.values[DROPS + stat as usize]
    }

    /// How many were dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.values[reason as usize]
    }

    /// How many were dropped in all.
    pub fn dropped_in_all(&self) -> u64 {
        self.values[..DROPS].iter().sum()
    }

    /// The values in a fixed order.
    pub fn values(&self) -> &[u64; COUNTERS] {
        &self.values
    }

    /// The values in a fixed order, to be written.
    pub fn values_mut(&mut self) -> &mut [u64; COUNTERS] {
        &mut self.values
    }

    /// Every counter by name: the counts, then the drops.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = Stat::ALL.iter().map(|s| (s.name(), self.get(*s)));
        counts.chain(DropReason::ALL.iter().map(|r| (r.name(), self.dropped(*r))))
    }

    /// What came and what became of it; the two are equal at every burst boundary.
    pub fn balance(&self) -> (u64, u64) {
        let came = self.get(Stat::Received) + self.get(Stat::Originated) + self.get(Stat::HandedIn);
        let came = came + self.get(Stat::FragmentsMade) + self.get(Stat::FromHost);
        let went =
            self.get(Stat::Sent) + self.get(Stat::Local) + self.get(Stat::Held) + self.get(Stat::HandedOut);
        let went = went + self.get(Stat::ToHost);
        (came, went + self.dropped_in_all())
    }
}
