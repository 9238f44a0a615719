"""TRex STL profile: NAT44 throughput, the cases of FD.io CSIT (hosts x 63 ports, UDP).

Port 0 is the LAN (direction 0, "up"), port 1 the WAN (direction 1, "down"); start it on one port for one way, on both for
both. README.md has the commands.

  up     source 10.1.0.0 + host, ports 10000-10062; destination 20.0.0.1:8080
  down   source 20.0.0.1:8080; destination the router's pool, every port from 1024 to 65535

All flows go to one remote endpoint, so that what comes down always meets a session. Frame sizes are with the check
sequence, as everywhere in TRex: 64 here is 60 on the router's counters.
"""

import argparse

from trex.stl.api import (
    IP, UDP, CTRexVmInsFixHwCs, Ether, STLPktBuilder, STLScVmRaw, STLStream, STLTXCont, STLTXSingleBurst,
    STLVmFixChecksumHw, STLVmFlowVar, STLVmTupleGen, STLVmWrFlowVar,
)

PORTS_PER_HOST = 63
FIRST_HOST = (10 << 24) + (1 << 16)
FIRST_PORT = 10000
REMOTE = "20.0.0.1"
REMOTE_PORT = 8080
OUTSIDE_PORTS = (1024, 65535)
# CSIT's IMIX_v4_1: frames of each size out of 48.
IMIX = ((64, 28), (570, 16), (1518, 4))
FCS = 4


def dotted(number):
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


def number(text):
    result = 0
    for part in text.split("."):
        result = result * 256 + int(part)
    return result


class Nat44:
    def up(self, args):
        """Sources: every host and port. In order for opening, by chance for measuring."""
        last = FIRST_HOST + args.hosts - 1
        ports = (FIRST_PORT, FIRST_PORT + PORTS_PER_HOST - 1)
        if args.open:
            first = [
                STLVmTupleGen(name="inside", ip_min=dotted(FIRST_HOST), ip_max=dotted(last), port_min=ports[0],
                              port_max=ports[1], limit_flows=args.hosts * PORTS_PER_HOST),
            ]
            names = ("inside.ip", "inside.port")
        else:
            first = self.pick(FIRST_HOST, last, *ports)
            names = ("ip", "port")
        base = Ether() / IP(src=dotted(FIRST_HOST), dst=REMOTE) / UDP(sport=FIRST_PORT, dport=REMOTE_PORT)
        writes = [
            STLVmWrFlowVar(fv_name=names[0], pkt_offset="IP.src"),
            STLVmWrFlowVar(fv_name=names[1], pkt_offset="UDP.sport"),
        ]
        return base, first + writes

    def down(self, args):
        """Destinations: every outside port of the router's addresses, by chance."""
        first = number(args.wan)
        base = Ether() / IP(src=REMOTE, dst=args.wan) / UDP(sport=REMOTE_PORT, dport=OUTSIDE_PORTS[0])
        pick = self.pick(first, first + args.wan_addresses - 1, *OUTSIDE_PORTS)
        writes = [
            STLVmWrFlowVar(fv_name="ip", pkt_offset="IP.dst"),
            STLVmWrFlowVar(fv_name="port", pkt_offset="UDP.dport"),
        ]
        return base, pick + writes

    def pick(self, ip_min, ip_max, port_min, port_max):
        return [
            STLVmFlowVar(name="ip", min_value=ip_min, max_value=ip_max, size=4, op="random"),
            STLVmFlowVar(name="port", min_value=port_min, max_value=port_max, size=2, op="random"),
        ]

    def stream(self, args, direction, size, share, seed):
        base, vm = self.up(args) if direction == 0 else self.down(args)
        pad = max(0, size - FCS - len(base)) * "x"
        fix = STLVmFixChecksumHw(l3_offset="IP", l4_offset="UDP", l4_type=CTRexVmInsFixHwCs.L4_TYPE_UDP)
        # No cache of packets: it would send the same few flows again and again.
        packet = STLPktBuilder(pkt=base / pad, vm=STLScVmRaw(vm + [fix]))
        if args.open:
            # Twice: one that was lost is opened by the second.
            burst = STLTXSingleBurst(pps=args.open_pps, total_pkts=2 * args.hosts * PORTS_PER_HOST)
            return STLStream(packet=packet, mode=burst)
        return STLStream(packet=packet, mode=STLTXCont(pps=share), random_seed=seed)

    def get_streams(self, direction=0, tunables=(), **kwargs):
        parser = argparse.ArgumentParser(prog="stl_nat44.py", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        parser.add_argument("--hosts", type=int, default=1024, help="CSIT: 1024, 4096, 16384, 65536, 262144")
        parser.add_argument("--size", default="64", help="of a frame with its check sequence, or imix")
        parser.add_argument("--wan", default="203.0.113.3", help="the first address of the router's pool")
        parser.add_argument("--wan-addresses", type=int, default=1, help="how many it has, one after the other")
        parser.add_argument("--open", action="store_true", help="open every session, twice over, then stop")
        parser.add_argument("--open-pps", type=float, default=100_000, help="at this rate")
        args = parser.parse_args(list(tunables))
        if args.open:
            return [] if direction else [self.stream(args, 0, 64, 1, None)]
        sizes = IMIX if args.size == "imix" else ((int(args.size), 1),)
        return [
            self.stream(args, direction, size, share, seed=1 + direction * len(sizes) + i)
            for i, (size, share) in enumerate(sizes)
        ]


def register():
    return Nat44()
