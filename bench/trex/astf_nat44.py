"""TRex ASTF profile: NAT44 with real clients and servers, the cases of FD.io CSIT (hosts x 63 sessions).

The clients are behind port 0 (LAN), the servers behind port 1 (WAN). A server answers where a packet came from, so the
router's outside ports need not be known. README.md has the commands.

  --test cps    a connection each: UDP one datagram each way; TCP handshake, nothing sent, close
  --test pps    every connection lives through the run and sends --messages of --bytes each way (CSIT: "pps")
  --test tput   as pps over TCP, in segments as long as they get (CSIT: "tput")

The multiplier of `start -m` is new connections a second.
"""

import argparse

from trex.astf.api import (
    ASTFAssociation, ASTFAssociationRule, ASTFIPGen, ASTFIPGenDist, ASTFIPGenGlobal, ASTFProfile, ASTFProgram,
    ASTFTCPClientTemplate, ASTFTCPServerTemplate, ASTFTemplate,
)

SESSIONS_PER_HOST = 63
FIRST_HOST = (10 << 24) + (1 << 16)
FIRST_SERVER = 20 << 24
PORT = 8080
# A UDP flow of TRex ends by itself after this: longer than any run.
KEEP_MS = 1_200_000
# 64 bytes with headers and check sequence.
SMALL = 64 - 4 - 42


def dotted(number):
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


def udp(messages, size):
    """The client speaks, the server answers once it has heard everything: no connection is opened twice over."""
    client, server = ASTFProgram(stream=False), ASTFProgram(stream=False)
    for program in (client, server):
        program.set_keepalive_msg(KEEP_MS)
    data = "x" * size
    if messages == 1:
        client.send_msg(data)
        client.recv_msg(1)
        server.recv_msg(1)
        server.send_msg(data)
        return client, server
    server.recv_msg(messages)
    for program in (client, server):
        # `jmp_nz` counts down first: the body is passed as often as the variable says.
        program.set_var("left", messages)
        program.set_label("again:")
        program.send_msg(data)
        program.jmp_nz("left", "again:")
    client.recv_msg(messages)
    return client, server


def tcp(messages, size):
    client, server = ASTFProgram(), ASTFProgram()
    if messages == 0:
        # A program that is at its end closes.
        client.connect()
        server.accept()
        server.wait_for_peer_close()
        return client, server
    data = "x" * size
    for program in (client, server):
        # In turn: the client's first, then the server's. `True`: counted from zero again each time.
        program.set_var("left", messages)
        program.set_label("again:")
        if program is client:
            program.send(data)
            program.recv(size, True)
        else:
            program.recv(size, True)
            program.send(data)
        program.jmp_nz("left", "again:")
    return client, server


class Nat44:
    def get_profile(self, tunables=(), **kwargs):
        parser = argparse.ArgumentParser(prog="astf_nat44.py", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        parser.add_argument("--hosts", type=int, default=1024, help="CSIT: 1024, 4096, 16384, 65536, 262144")
        parser.add_argument("--protocol", choices=("udp", "tcp"), default="udp")
        parser.add_argument("--test", choices=("cps", "pps", "tput"), default="cps")
        parser.add_argument("--messages", type=int, default=32, help="of each side, in pps and tput")
        parser.add_argument("--bytes", type=int, default=0, help="of a message; 0: 18 in cps and pps, 11111 in tput")
        args = parser.parse_args(list(tunables))
        if args.test == "tput" and args.protocol == "udp":
            parser.error("tput is of tcp; for udp take pps with --bytes 1472")
        size = args.bytes or (11111 if args.test == "tput" else SMALL)
        if args.protocol == "udp":
            client, server = udp(1 if args.test == "cps" else args.messages, size)
        else:
            client, server = tcp(0 if args.test == "cps" else args.messages, size)

        inside = ASTFIPGenDist(ip_range=[dotted(FIRST_HOST), dotted(FIRST_HOST + args.hosts - 1)], distribution="seq")
        outside = ASTFIPGenDist(ip_range=[dotted(FIRST_SERVER), dotted(FIRST_SERVER + args.hosts - 1)], distribution="seq")
        # One pair of ports: nothing is added to the addresses.
        between = ASTFIPGen(glob=ASTFIPGenGlobal(ip_offset="0.0.0.1"), dist_client=inside, dist_server=outside)
        template = ASTFTemplate(
            client_template=ASTFTCPClientTemplate(program=client, ip_gen=between, port=PORT, cps=1,
                                                  limit=args.hosts * SESSIONS_PER_HOST),
            server_template=ASTFTCPServerTemplate(program=server,
                                                  assoc=ASTFAssociation(rules=ASTFAssociationRule(port=PORT))),
        )
        return ASTFProfile(default_ip_gen=between, templates=template)


def register():
    return Nat44()
