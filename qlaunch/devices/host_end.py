"""The host's end of a network card: what is opened for QEMU and handed over, so that QEMU needs no right of its own.

Owns: what has to be opened, as data. Must not: open anything.

Source: ``passt(1)`` for its options; a machine file's forward is ``tcp:2222-22``, host first.
"""

from typing import Literal

import msgspec


class HostEnd(msgspec.Struct, frozen=True, kw_only=True):
    """What the netdev of one id is given in place of a name: descriptors of a link's queues, or of a socket to passt.

    ``vhost`` has QEMU leave the packets to the kernel, and needs a descriptor of ``/dev/vhost-net`` a queue.
    ``passt`` is the command line of passt, without its descriptor.
    """

    netdev: str
    kind: Literal["tap", "macvtap", "passt"]
    link: str = ""
    queues: int = 1
    vhost: bool = False
    passt: list[str] = []


def passt_argv(forward: list[str], mtu: int | None) -> list[str]:
    """Give passt's command line; it ends by itself with QEMU."""
    size = [] if mtu is None else ["--mtu", str(mtu)]
    return ["passt", "--one-off", "--quiet", *size, *(word for rule in forward for word in _forward(rule))]


def _forward(rule: str) -> tuple[str, str]:
    """Turn ``tcp:2222-22`` into passt's ``-t 127.0.0.1/2222:22``: without an address the port is this host's alone."""
    protocol, _, rest = rule.partition(":")
    outer, _, inner = rest.partition("-")
    address, _, port = outer.rpartition(":")
    return f"--{protocol}-ports", f"{address or '127.0.0.1'}/{port}:{inner.rpartition(':')[2]}"
