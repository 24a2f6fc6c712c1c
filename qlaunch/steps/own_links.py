"""Links that qlaunch makes, by netlink: bridges, taps and macvtaps, described, made, set and removed.

Owns: the translation between netlink's attributes and words such as ``bridge=br0``. Must not: decide anything.

Source: the kernel's ``include/uapi/linux/if_link.h`` (IFLA_INFO_KIND, IFLA_MACVLAN_MODE, IFLA_BR_*), ``ip-link(8)``.
"""

import errno
import socket
from collections.abc import Mapping
from typing import Protocol

from qlaunch.steps.links import described_link, found_link, index_of, netlink_about, set_link_state, state_of, told_of
from qlaunch.steps.pyroute import Message, address_message, link_message
from qlaunch.steps.rtnetlink import DELADDR, DELLINK, DUMP, GETADDR, GETLINK, NEW, NEWADDR, NEWLINK, Rtnetlink
from qlaunch.steps.tun import make_tap

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
            link = found_link(netlink, name)
            if link is None:
                return None
            info = link.get_attr("IFLA_LINKINFO")
            kind = (info.get_attr("IFLA_INFO_KIND") if info else "") or "device"
            kind = {"tun": "tap"}.get(kind, kind)
            data = info.get_attr("IFLA_INFO_DATA") if info else None
            settings = {"mac": str(link.get_attr("IFLA_ADDRESS")), "mtu": str(link.get_attr("IFLA_MTU"))}
            return kind, settings | _of_kind(netlink, kind, link, data) | {"state": state_of(link)}

    def make(self, name: str, kind: str, settings: Mapping[str, str]) -> None:
        """See OwnLinks."""
        if kind == "tap":
            make_tap(name, many_queues=settings.get("queues") == "many")
            return
        with netlink_about(name) as netlink:
            attributes: dict[str, object] = {"IFLA_ADDRESS": settings["mac"]}
            if kind == "macvtap":
                attributes["IFLA_LINK"] = index_of(netlink, settings["over"])
                data: list[tuple[str, object]] = [("IFLA_MACVTAP_MODE", settings["mode"])]
            else:
                # Without the delay that a port of a bridge waits before it carries anything: 15 s twice, by default.
                data = [("IFLA_BR_FORWARD_DELAY", 0), ("IFLA_BR_STP_STATE", 0)]
            attributes["IFLA_LINKINFO"] = {"attrs": [("IFLA_INFO_KIND", kind), ("IFLA_INFO_DATA", {"attrs": data})]}
            netlink.ask(NEWLINK, described_link(name, **attributes), NEW)

    def set(self, name: str, setting: str, text: str) -> None:
        """See OwnLinks."""
        with netlink_about(name) as netlink, told_of(f"{name} {setting}={text}"):
            match setting:
                case "address":
                    _set_address(netlink, index_of(netlink, name), text)
                case "bridge":
                    _change(netlink, name, IFLA_MASTER=0 if text == _NONE else index_of(netlink, text))
                case "mac":
                    _change(netlink, name, IFLA_ADDRESS=text)
                case "mtu":
                    _change(netlink, name, IFLA_MTU=int(text))
                case _:
                    set_link_state(netlink, name, text)

    def remove(self, name: str) -> None:
        """See OwnLinks."""
        with netlink_about(name) as netlink:
            netlink.ask(DELLINK, described_link(name))


def _change(netlink: Rtnetlink, name: str, **attributes: object) -> None:
    netlink.ask(NEWLINK, described_link(name, **attributes))


def _of_kind(netlink: Rtnetlink, kind: str, link: Message, data: Message) -> dict[str, str]:
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


def _named(netlink: Rtnetlink, index: int | None) -> str:
    if not index:
        return _NONE
    message = link_message()()
    message["index"] = index
    (link,) = netlink.ask(GETLINK, message)
    return str(link.get_attr("IFLA_IFNAME"))


def _addresses(netlink: Rtnetlink, index: int) -> str:
    found = _found_addresses(netlink, index)
    return ",".join(f"{one.get_attr('IFA_ADDRESS')}/{one['prefixlen']}" for one in found) or _NONE


def _set_address(netlink: Rtnetlink, index: int, text: str) -> None:
    for one in _found_addresses(netlink, index):
        try:
            netlink.ask(DELADDR, one)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:  # the first one of a network takes the others with it
                raise
    if text != _NONE:
        address, _, prefix = text.partition("/")
        message = _address(index, int(prefix))
        message["attrs"] = [("IFA_LOCAL", address), ("IFA_ADDRESS", address)]
        netlink.ask(NEWADDR, message, NEW)


def _found_addresses(netlink: Rtnetlink, index: int) -> list[Message]:
    # Linux before 4.20 lists those of every link, whatever it is asked for.
    return [one for one in netlink.ask(GETADDR, _address(index), DUMP) if one["index"] == index]


def _address(index: int, prefix: int = 0) -> Message:
    message = address_message()()
    message |= {"family": socket.AF_INET, "index": index, "prefixlen": prefix}
    return message
