"""Links that qlaunch makes, by netlink: bridges, taps and macvtaps, described, made, set and removed.

Owns: the translation between netlink's attributes and words such as ``bridge=br0``. Must not: decide anything.

Source: the kernel's ``include/uapi/linux/if_link.h`` (IFLA_INFO_KIND, IFLA_MACVLAN_MODE, IFLA_BR_*), ``ip-link(8)``.
"""

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from qlaunch.steps.links import index_of, netlink_about, told_of
from qlaunch.steps.tun import make_tap

if TYPE_CHECKING:
    from pyroute2 import IPRoute

_UP = 0x1  # IFF_UP
_NONE = "none"


class OwnLinks(Protocol):
    """What steps do with links of their own. Each raises OSError with the link's name as its file name.

    Settings are words: ``mac``, ``mtu``, ``state`` (up, down); of a bridge ``address`` (``192.168.77.1/24``, none); of
    a tap ``queues`` (one, many) and ``bridge`` (a name, none); of a macvtap ``over`` (a name) and ``mode``.
    """

    def described(self, name: str) -> tuple[str, dict[str, str]] | None:
        """Give the kind of a link and its settings; None where there is no such link."""

    def make(self, name: str, kind: str, settings: Mapping[str, str]) -> None:
        """Make a link; what cannot be given at birth is left to ``set``."""

    def set(self, name: str, setting: str, text: str) -> None:
        """Set one thing."""

    def remove(self, name: str) -> None:
        """Remove a link."""


class OwnNetlinks:
    """The links of this computer."""

    def described(self, name: str) -> tuple[str, dict[str, str]] | None:
        """See OwnLinks."""
        with netlink_about(name) as netlink:
            found = netlink.link_lookup(ifname=name)
            if not found:
                return None
            (link,) = netlink.link("get", index=found[0])
            info = link.get_attr("IFLA_LINKINFO")
            kind = (info.get_attr("IFLA_INFO_KIND") if info else "") or "device"
            kind = {"tun": "tap"}.get(kind, kind)
            data = info.get_attr("IFLA_INFO_DATA") if info else None
            settings = {"mac": str(link.get_attr("IFLA_ADDRESS")), "mtu": str(link.get_attr("IFLA_MTU"))}
            settings |= _of_kind(netlink, kind, link, data)
            return kind, settings | {"state": "up" if link["flags"] & _UP else "down"}

    def make(self, name: str, kind: str, settings: Mapping[str, str]) -> None:
        """See OwnLinks."""
        if kind == "tap":
            make_tap(name, many_queues=settings.get("queues") == "many")
            return
        with netlink_about(name) as netlink:
            common: dict[str, Any] = {"ifname": name, "kind": kind, "address": settings["mac"]}
            if kind == "macvtap":
                lower = index_of(netlink, settings["over"])
                netlink.link("add", **common, link=lower, macvtap_mode=settings["mode"])
            else:
                # Without the delay that a port of a bridge waits before it carries anything: 15 s twice, by default.
                netlink.link("add", **common, br_forward_delay=0, br_stp_state=0)

    def set(self, name: str, setting: str, text: str) -> None:
        """See OwnLinks."""
        with netlink_about(name) as netlink, told_of(f"{name} {setting}={text}"):
            index = index_of(netlink, name)
            match setting:
                case "address":
                    _set_address(netlink, index, text)
                case "bridge":
                    netlink.link("set", index=index, master=0 if text == _NONE else index_of(netlink, text))
                case "mac":
                    netlink.link("set", index=index, address=text)
                case "mtu":
                    netlink.link("set", index=index, mtu=int(text))
                case _:
                    netlink.link("set", index=index, state=text)

    def remove(self, name: str) -> None:
        """See OwnLinks."""
        with netlink_about(name) as netlink:
            netlink.link("del", index=index_of(netlink, name))


def _of_kind(netlink: "IPRoute", kind: str, link: Any, data: Any) -> dict[str, str]:  # noqa: ANN401 - pyroute2 has no types
    match kind:
        case "bridge":
            return {"address": _addresses(netlink, link["index"])}
        case "tap":
            many = data is not None and data.get_attr("IFLA_TUN_MULTI_QUEUE")
            return {"queues": "many" if many else "one", "bridge": _named(netlink, link.get_attr("IFLA_MASTER"))}
        case "macvtap":
            mode = str(data.get_attr("IFLA_MACVTAP_MODE")) if data else ""
            return {"over": _named(netlink, link.get_attr("IFLA_LINK")), "mode": mode}
        case _:
            return {}


def _named(netlink: "IPRoute", index: int | None) -> str:
    if not index:
        return _NONE
    (link,) = netlink.link("get", index=index)
    return str(link.get_attr("IFLA_IFNAME"))


def _addresses(netlink: "IPRoute", index: int) -> str:
    found = netlink.addr("dump", index=index, family=socket.AF_INET)
    return ",".join(f"{one.get_attr('IFA_ADDRESS')}/{one['prefixlen']}" for one in found) or _NONE


def _set_address(netlink: "IPRoute", index: int, text: str) -> None:
    netlink.flush_addr(index=index, family=socket.AF_INET)
    if text != _NONE:
        address, _, prefix = text.partition("/")
        netlink.addr("add", index=index, address=address, prefixlen=int(prefix))
