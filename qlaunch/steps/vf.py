"""The settings of a virtual function: VLAN, MAC address, checks, rate. The card keeps them, whoever has the function.

A key is ``enp7s0f1 vf 1``, a value all its settings in a row. Only those that differ are written: many drivers refuse
even to be told what they do already.

Source: ``ip-link(8)``; the kernel's ``net/core/rtnetlink.c``, ``drivers/net/ethernet/intel/i40e/i40e_virtchnl_pf.c``
(EAGAIN while a function is in reset), ``igb/igb_main.c`` (igb_ndo_set_vf_bw), ``ixgbe/ixgbe_sriov.c``
(ixgbe_ndo_set_vf_bw: EINVAL for a rate without a carrier).
"""

import errno
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from qlaunch.errors import HostError
from qlaunch.steps.kind import Kind

if TYPE_CHECKING:
    from qlaunch.steps.host import Host


_PATIENCE_S = 10.0


class Vf(Kind):
    """One virtual function of one link; a claim has the settings that matter to a machine."""

    name = "vf"
    exclusive = True

    def read(self, host: "Host", key: str) -> str | None:
        """Give all settings, or None where there is no such function."""
        settings = host.netlink.function(*_split(key))
        return None if settings is None else printed(settings)

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Set what differs. Raises HostError, OSError."""
        pf, number = _split(key)
        current = host.netlink.function(pf, number)
        if current is None:
            raise HostError(f"{pf} has no virtual function {number}", f"see: ip link show {pf}")
        wanted = parsed(value or "")
        for name, text in wanted.items():
            if current.get(name) != text:
                _set(host, pf, number, {name: text})

    def merge(self, original: str | None, claims: Sequence[str]) -> str | None:
        """Give the original settings with those of the claim; a function belongs to one machine."""
        return None if original is None else printed(parsed(original) | parsed(claims[-1]))

    def is_halfway(self, current: str | None, original: str | None, claim: str) -> bool:
        """Whether each setting is either the old or the new one."""
        if current is None or original is None:
            return False
        old, new = parsed(original), parsed(original) | parsed(claim)
        return all(text in (old.get(name), new.get(name)) for name, text in parsed(current).items())


def _set(host: "Host", pf: str, number: int, setting: dict[str, str]) -> None:
    """Set one thing. Raises HostError, OSError.

    A function that is being reset, as a new one is by some cards, asks to be asked again; and a card that has just been
    set up may take no rate before it has found the other end of its cable.
    """
    refused: list[OSError] = []

    def done() -> bool:
        passes_on = "rate" not in setting or _has_carrier(host, pf)
        try:
            host.netlink.set_function(pf, number, setting)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EBUSY) and (passes_on or error.errno != errno.EINVAL):
                raise
            refused[:] = [error]
            return False
        return True

    if host.wait(done, _PATIENCE_S):
        return
    if refused[0].errno == errno.EINVAL:
        message = f"the driver of {pf} takes no rate while the card has no carrier"
        raise HostError(message, "plug in its cable, or leave max_tx_mbps out")
    raise refused[0]


def _has_carrier(host: "Host", pf: str) -> bool:
    try:
        return host.read(f"/sys/class/net/{pf}/carrier") == "1"
    except OSError:  # EINVAL, of a card that is down
        return False


def printed(settings: Mapping[str, str]) -> str:
    """Print settings as ``mac=… vlan=69:0:802.1Q``."""
    return " ".join(f"{name}={text}" for name, text in settings.items())


def parsed(text: str) -> dict[str, str]:
    """Read what ``printed`` wrote."""
    return dict(word.split("=", 1) for word in text.split())


def _split(key: str) -> tuple[str, int]:
    pf, _, number = key.partition(" vf ")
    return pf, int(number)
