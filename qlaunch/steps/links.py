"""Network links by netlink, through pyroute2.

Owns: the translation between netlink's attributes and words such as ``vlan=69``. Must not: decide anything.

Source: the kernel's ``include/uapi/linux/if_link.h`` (IFLA_VF_*), ``net/core/rtnetlink.c``; ``ip-link(8)``.
"""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from qlaunch.steps.pyroute import netlink_error, route_socket
from qlaunch.steps.waits import KERNEL, waiting

if TYPE_CHECKING:
    from pyroute2 import IPRoute

_WITH_FUNCTIONS = 1  # RTEXT_FILTER_VF: a link is listed with its virtual functions
_UP = 0x1  # IFF_UP
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
            found = netlink.link_lookup(ifname=name)
            if not found:
                return None
            (link,) = netlink.link("get", index=found[0])
            return "up" if link["flags"] & _UP else "down"

    def set_state(self, name: str, state: str) -> None:
        """See Links."""
        with netlink_about(name) as netlink:
            index = index_of(netlink, name)
            with waiting(KERNEL):
                netlink.link("set", index=index, state=state)

    def function(self, pf: str, number: int) -> dict[str, str] | None:
        """See Links."""
        with netlink_about(pf) as netlink:
            found = netlink.link_lookup(ifname=pf)
            if not found:
                return None
            (link,) = netlink.link("get", index=found[0], ext_mask=_WITH_FUNCTIONS)
            listed = link.get_attr("IFLA_VFINFO_LIST")
            functions = listed.get_attrs("IFLA_VF_INFO") if listed else []
            return _settings(functions[number]) if number < len(functions) else None

    def set_function(self, pf: str, number: int, settings: Mapping[str, str]) -> None:
        """See Links."""
        with netlink_about(pf) as netlink:
            index = index_of(netlink, pf)
            for name, text in settings.items():
                with told_of(f"{pf} vf {number} {name}={text}"), waiting(KERNEL):
                    netlink.link("set", index=index, vf={"vf": number, name: _attribute(name, text)})


def index_of(netlink: "IPRoute", name: str) -> int:
    """Give a link's number. Raises OSError."""
    found: list[int] = netlink.link_lookup(ifname=name)
    if not found:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), name)
    return found[0]


def _settings(function: Any) -> dict[str, str]:  # noqa: ANN401 - pyroute2 has no types
    def value(name: str) -> Any:  # noqa: ANN401 - same
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


def _attribute(name: str, text: str) -> object:
    match name:
        case "vlan":
            vlan, qos, protocol = text.split(":")
            if protocol == "802.1Q":
                return {"vlan": int(vlan), "qos": int(qos)}
            return [{"vlan": int(vlan), "qos": int(qos), "proto": 0x88A8}]
        case "spoofchk" | "trust":
            return int(text == "on")
        case "link_state":
            return _LINK_STATES.index(text)
        case "rate":
            least, _, most = text.partition("-")
            return {"min_tx_rate": int(least), "max_tx_rate": int(most)}
        case _:
            return text


@contextmanager
def netlink_about(name: str) -> "Iterator[IPRoute]":
    """Open a netlink socket for what is done to one link. Raises OSError with its name."""
    with told_of(name), route_socket()() as netlink:
        yield netlink


@contextmanager
def told_of(name: str) -> Iterator[None]:
    """Turn pyroute2's errors into those of the kernel, with what was being set."""
    try:
        yield
    except netlink_error() as error:
        raise OSError(error.code, os.strerror(error.code), name) from error
