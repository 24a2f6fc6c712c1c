"""Network links by netlink, in pyroute2's messages.

Owns: the translation between netlink's attributes and words such as ``vlan=69``. Must not: decide anything.

Whether a link is up is asked and said in bytes, since the messages need not have been imported by then: a machine's
virtual functions are made, and their card is set up, while they are.

Source: the kernel's ``include/uapi/linux/if_link.h`` (IFLA_VF_*), ``include/uapi/linux/rtnetlink.h`` (ifinfomsg),
``net/core/rtnetlink.c``; ``ip-link(8)``.
"""

import errno
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from qlaunch.steps.pyroute import Message, link_message
from qlaunch.steps.rtnetlink import GETLINK, NEWLINK, Rtnetlink
from qlaunch.steps.waits import KERNEL, waiting

# RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS: a link with its virtual functions, but for their counters, for which some
# drivers ask the card, a function at a time.
_WITH_FUNCTIONS = 0x1 | 0x8
_UP = 0x1  # IFF_UP
_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, which of them to change
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_IFNAME = 3
_PROTOCOLS = {0x8100: "802.1Q", 0x88A8: "802.1ad"}
_LINK_STATES = ("auto", "enable", "disable")


class Links(Protocol):
    """What steps do with links. Each raises OSError with the link's name as its file name."""

    def state(self, name: str) -> str | None:
        """Give ``up`` or ``down`` as an administrator set it; None where there is no such link."""

    def set_state(self, name: str, state: str) -> None:
        """Set it up or down."""

    def function(self, pf: str, number: int) -> dict[str, str] | None:
        """Give the settings of a virtual function by name; None where there is no such link or function."""

    def set_function(self, pf: str, number: int, settings: Mapping[str, str]) -> None:
        """Set some of them, one after the other."""


class Netlink:
    """The links of this computer."""

    def state(self, name: str) -> str | None:
        """See Links."""
        with netlink_about(name) as netlink:
            try:
                (link,) = netlink.ask_bytes(GETLINK, _link_bytes(name))
            except OSError as error:
                if _is_absent(error):
                    return None
                raise
        return _state(_LINK.unpack_from(link.body)[3])

    def set_state(self, name: str, state: str) -> None:
        """See Links."""
        with netlink_about(name) as netlink, waiting(KERNEL):
            set_link_state(netlink, name, state)

    def function(self, pf: str, number: int) -> dict[str, str] | None:
        """See Links."""
        with netlink_about(pf) as netlink:
            link = found_link(netlink, pf, IFLA_EXT_MASK=_WITH_FUNCTIONS)
            listed = link.get_attr("IFLA_VFINFO_LIST") if link else None
            functions = listed.get_attrs("IFLA_VF_INFO") if listed else []
            return _settings(functions[number]) if number < len(functions) else None

    def set_function(self, pf: str, number: int, settings: Mapping[str, str]) -> None:
        """See Links."""
        with netlink_about(pf) as netlink:
            for name, text in settings.items():
                info = {"attrs": [_attribute(number, name, text)]}
                message = described_link(pf, IFLA_VFINFO_LIST={"attrs": [("IFLA_VF_INFO", info)]})
                with told_of(f"{pf} vf {number} {name}={text}"), waiting(KERNEL):
                    netlink.ask(NEWLINK, message)


def described_link(name: str, **attributes: object) -> Message:
    """Give a message about the link of this name."""
    message = link_message()()
    message["attrs"] = [("IFLA_IFNAME", name), *attributes.items()]
    return message


def set_link_state(netlink: Rtnetlink, name: str, state: str) -> None:
    """Set a link up or down, and nothing else of it. Raises OSError."""
    netlink.ask_bytes(NEWLINK, _link_bytes(name, _UP if state == "up" else 0, _UP))


def _link_bytes(name: str, flags: int = 0, change: int = 0) -> bytes:
    text = name.encode() + b"\0"
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(text), _IFNAME) + text
    return _LINK.pack(0, 0, 0, flags, change) + attribute + bytes(-len(attribute) % 4)


def found_link(netlink: Rtnetlink, name: str, **attributes: object) -> Message | None:
    """Give what the kernel says of a link; None where there is none of that name. Raises OSError."""
    try:
        (link,) = netlink.ask(GETLINK, described_link(name, **attributes))
    except OSError as error:
        if _is_absent(error):
            return None
        raise
    return link


def _is_absent(error: OSError) -> bool:
    return error.errno in (errno.ENODEV, errno.ERANGE)  # the latter: longer than names are


def index_of(netlink: Rtnetlink, name: str) -> int:
    """Give a link's number. Raises OSError with its name."""
    with told_of(name):
        (link,) = netlink.ask(GETLINK, described_link(name))
    return int(link["index"])


def state_of(link: Message) -> str:
    """Give ``up`` or ``down``."""
    return _state(link["flags"])


def _state(flags: int) -> str:
    return "up" if flags & _UP else "down"


def _settings(function: Message) -> dict[str, str]:
    def value(name: str) -> Message:
        return function.get_attr(f"IFLA_VF_{name}") or {}

    vlans = function.get_attr("IFLA_VF_VLAN_LIST")
    vlan = (vlans.get_attrs("IFLA_VF_VLAN_INFO") or [value("VLAN")])[0] if vlans else value("VLAN")
    rate = value("RATE")
    state = value("LINK_STATE").get("link_state", 0)
    return {
        "mac": value("MAC").get("mac", ""),
        "vlan": _vlan(vlan.get("vlan", 0), vlan.get("qos", 0), _PROTOCOLS.get(vlan.get("proto", 0x8100), "802.1Q")),
        "spoofchk": _switch(value("SPOOFCHK").get("spoofchk", 0)),
        "trust": _switch(value("TRUST").get("trust", 0)),
        "link_state": _LINK_STATES[state] if state < len(_LINK_STATES) else "auto",
        "rate": f"{rate.get('min_tx_rate', 0)}-{rate.get('max_tx_rate', 0)}",
    }


def _vlan(vlan: int, qos: int, protocol: str) -> str:
    return f"{vlan}:{qos}:{protocol}"


def _switch(value: int) -> str:
    # Drivers without the feature answer with all bits set (net/core/rtnetlink.c).
    return "on" if value == 1 else "off"


def _attribute(number: int, name: str, text: str) -> tuple[str, object]:
    """Give one setting of a function as an attribute; what has several fields has all of them."""
    match name:
        case "vlan":
            vlan, qos, protocol = text.split(":")
            fields = {"vf": number, "vlan": int(vlan), "qos": int(qos)}
            if protocol == "802.1Q":
                return "IFLA_VF_VLAN", fields
            return "IFLA_VF_VLAN_LIST", {"attrs": [("IFLA_VF_VLAN_INFO", fields | {"proto": 0x88A8})]}
        case "spoofchk" | "trust":
            value: object = int(text == "on")
        case "link_state":
            value = _LINK_STATES.index(text)
        case "rate":
            least, _, most = text.partition("-")
            return "IFLA_VF_RATE", {"vf": number, "min_tx_rate": int(least), "max_tx_rate": int(most)}
        case _:
            value = text
    return f"IFLA_VF_{name.upper()}", {"vf": number, name: value}


@contextmanager
def netlink_about(name: str) -> Iterator[Rtnetlink]:
    """Open a netlink socket for what is done to one link. Raises OSError with its name."""
    with told_of(name), Rtnetlink() as netlink:
        yield netlink


@contextmanager
def told_of(name: str) -> Iterator[None]:
    """Tell with an error what was being set, unless it tells that already."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = name
        raise
