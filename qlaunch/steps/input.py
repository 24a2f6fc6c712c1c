"""Who may open a keyboard or mouse: as ``owner.py`` has it, with the node as the key, ``/dev/input/event5``.

Also where nothing of that changes it is a claim: two QEMUs cannot grab the same device.

Source: ``acl(5)``, ``chown(2)``; the node, and with it what is set here, is gone once the device is unplugged.
"""

from collections.abc import Sequence

import msgspec

from qlaunch.steps.owner import Owner
from qlaunch.steps.step import Step
from qlaunch.values.access import Access

AS_IT_IS = "as it is"
LANE = "devices"


class Input(Owner):
    """Who may open one event device. A claim of a bare number is of a qlaunch that took the node from its owner."""

    name = "input"
    exclusive = True

    def merge(self, original: str | None, claims: Sequence[str]) -> str | None:
        """Let the claimed user in; where nothing is claimed it stays as it is."""
        return original if claims[0] == AS_IT_IS else super().merge(original, claims)

    def is_kept(self, current: str | None, original: str | None, claim: str) -> bool:  # noqa: ARG002 - as Kind
        """Whether nothing was claimed but the device itself: who else may open it comes and goes with sessions."""
        return claim == AS_IT_IS

    def settle(self, current: str | None, original: str | None, claim: str, others: Sequence[str]) -> str | None:
        """Give it back, if it was changed."""
        return current if claim == AS_IT_IS else super().settle(current, original, claim, others)

    def _given(self, access: Access, claim: str) -> Access:
        if claim.isdecimal():
            return msgspec.structs.replace(access, uid=int(claim))
        return super()._given(access, claim)


def step_for(path: str, node: str, claim: str = AS_IT_IS) -> Step:
    """Give the step that reserves a device for the guest, with a claim on its node."""
    return Step(
        kind=Input.name, summary=f"{path} for the guest", claims={node: claim}, lane=LANE, needs_root=claim != AS_IT_IS
    )
