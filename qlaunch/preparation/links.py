"""Cards of the types bridge, tap and macvtap: the links that are made for them, and a bridge's address, DHCP and NAT.

Source: the kernel's ``Documentation/networking/ip-sysctl.rst`` (forwarding is a setting of the link that a packet comes
in by; ``ip_forward`` would reset those of all others), ``net/bridge/br_if.c`` (a bridge takes the lowest address of its
ports and the smallest MTU, unless it was given its own), ``dnsmasq(8)``.
"""

import shlex
from collections.abc import Iterator
from zlib import crc32

from qlaunch.devices.network import Network, default_mac
from qlaunch.preparation.wish import Wish
from qlaunch.steps import daemon, nat, own_link
from qlaunch.steps.step import Step
from qlaunch.values.subnet import Subnet, printed_address

_LANE = "network"
_MTU = 1500
_LEASE = "12h"


def steps(wish: Wish) -> Iterator[Step]:
    """Yield what each card needs, in the order in which it builds on each other."""
    done: set[str] = set()
    for index, card in enumerate(wish.machine.network):
        below = card.bridge if card.type == "bridge" else card.device if card.type == "macvtap" else None
        if below and below not in done:
            done.add(below)
            if card.create:
                yield from _own_bridge(wish, card, below)
            else:  # what is down passes nothing on
                yield Step(kind="link", summary=f"{below} up", claims={below: "up"}, lane=_LANE)
        if card.type in ("bridge", "tap") and not (card.type == "tap" and card.device):
            yield _tap(wish, card, index)
        elif card.type == "macvtap" and card.device:
            yield _macvtap(wish, card, index, card.device)


def mtu_of(wish: Wish, link: str) -> int | None:
    """Give the largest packet of a link that is there, in bytes."""
    return wish.facts.tree.number(f"/sys/class/net/{link}/mtu")


def _own_bridge(wish: Wish, card: Network, bridge: str) -> Iterator[Step]:
    address = str(card.subnet or "none")
    # A fixed address: it would change with every guest that comes or goes, and neighbours would lose the host.
    number = crc32(bridge.encode()) & 0xFFFFFF
    mac = f"52:51:4c:{number >> 16:02x}:{number >> 8 & 0xFF:02x}:{number & 0xFF:02x}"
    claim = own_link.claim("bridge", mac, str(card.mtu or _MTU), address=address)
    where = f" with {card.subnet}" if card.subnet else ""
    yield Step(kind="bridge", summary=f"bridge {bridge}{where}", claims={bridge: claim}, lane=_LANE)
    if card.subnet is None:
        return
    if card.nat:
        links = (bridge, *wish.facts.network.default_routes)
        forwarding = {f"/proc/sys/net/ipv4/conf/{link}/forwarding": "1" for link in links}
        yield Step(kind="sysfs", summary=f"forwarding by {', '.join(links)}", claims=forwarding, lane=_LANE)
        network = card.subnet.network_text
        claims = {f"qlaunch-{bridge}": nat.behind(network, bridge)}
        yield Step(kind="nat", summary=f"NAT for {network}", claims=claims, lane=_LANE)
    if card.dhcp:
        program = wish.facts.software.programs.get("dnsmasq", "dnsmasq")
        claims = {shlex.join(_dnsmasq(program, card, card.subnet, bridge)): daemon.RUNNING}
        yield Step(kind="daemon", summary=f"DHCP on {bridge}", claims=claims, lane=_LANE)


def _dnsmasq(program: str, card: Network, subnet: Subnet, bridge: str) -> list[str]:
    """Give a server for one link alone. Addresses follow from the guests' own, so it keeps no file of leases."""
    first, last = subnet.guests
    # Without a way out there is no use for names of outside, nor for a router.
    alone = [] if card.nat else ["--port=0", "--dhcp-option=option:router", "--dhcp-option=option:dns-server"]
    return [
        program,
        *("--conf-file=/dev/null", "--pid-file=", "--leasefile-ro"),
        *("--bind-interfaces", "--except-interface=lo", f"--interface={bridge}"),
        *("--dhcp-authoritative", "--dhcp-no-override"),
        f"--dhcp-range={first},{last},{printed_address(subnet.mask)},{_LEASE}",
        *alone,
    ]


def _tap(wish: Wish, card: Network, index: int) -> Step:
    mac = str(card.mac or default_mac(wish.uuid, index))
    # The host's end has another address than the guest's, and a high one, which no bridge takes for its own.
    own = ("fa" if mac.startswith("fe") else "fe") + mac[2:]
    # A port of another size would change the bridge's.
    mtu = (None if card.create or not card.bridge else mtu_of(wish, card.bridge)) or card.mtu or _MTU
    queues = "many" if (card.queues or 1) > 1 else "one"
    bridge = card.bridge or "none"
    name = card.link(wish.name, index)
    claim = own_link.claim("tap", own, str(mtu), queues=queues, bridge=bridge)
    where = f" on {card.bridge}" if card.bridge else ""
    return Step(kind="tap", summary=f"tap {name}{where}", claims={name: claim}, lane=_LANE)


def _macvtap(wish: Wish, card: Network, index: int, device: str) -> Step:
    mac = str(card.mac or default_mac(wish.uuid, index))
    mtu = card.mtu or mtu_of(wish, device) or _MTU
    name = card.link(wish.name, index)
    claim = own_link.claim("macvtap", mac, str(mtu), over=device, mode=card.mode)
    return Step(kind="macvtap", summary=f"macvtap {name} over {device}", claims={name: claim}, lane=_LANE)
