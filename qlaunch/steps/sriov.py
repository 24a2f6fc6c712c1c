"""How many virtual functions a card has: made where there are none, and never changed where there are some.

Changing a number that is not zero would take the functions away from whoever uses them; the kernel refuses it, too.

Source: the kernel's ``Documentation/PCI/pci-iov-howto.rst``; ``drivers/pci/iov.c`` (sriov_numvfs_store).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qlaunch.errors import HostError
from qlaunch.steps.kind import Kind
from qlaunch.steps.pyroute import begin_import

if TYPE_CHECKING:
    from qlaunch.steps.host import Host

# Resetting the card and starting every function; some take seconds each.
_DEADLINE_S = 60.0


class Sriov(Kind):
    """``…/sriov_numvfs`` of a physical function; a claim is how many functions a machine needs there to be."""

    name = "sriov"

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Make the functions, or take all of them away. Raises HostError, OSError, TimeoutError."""
        current, wanted = host.read(key), value or "0"
        if wanted != "0" and current not in ("0", None):
            message = f"{key} is {current}, and {wanted} are needed; it is not changed while functions may be in use"
            raise HostError(message, f"when none is in use: echo 0 > {key}; echo {wanted} > {key}")
        if wanted != "0":
            begin_import()  # they are set by netlink soon
        host.write(key, wanted, deadline_s=_DEADLINE_S)

    def merge(self, original: str | None, claims: Sequence[str]) -> str | None:
        """Give the largest claim where there was none; what there was otherwise, if it is enough."""
        most = max(map(int, claims))
        return original if original is not None and int(original) >= most else str(most)

    def agrees(self, claim: str, other: str) -> bool:  # noqa: ARG002 - as Kind
        """Whether both can be met: the first one in makes as many as it needs, and that is tried at the write."""
        return True

    def settle(self, current: str | None, original: str | None, claim: str, others: Sequence[str]) -> str | None:  # noqa: ARG002 - as Kind
        """Give no functions again when the last machine leaves; a number in between cannot be had.

        A number that was there before was never changed: another one is somebody else's.
        """
        return original if original == "0" and not others else current
