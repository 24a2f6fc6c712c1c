"""One change to the host, as a machine wants it: data, made by ``preparation``, carried out by ``journal``."""

from typing import Literal

import msgspec

Moment = Literal["first", "before-launch", "beside-launch", "after-launch"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What one machine claims of one kind.

    ``claims`` has, by key (mostly a path), what the machine wants there; what is written is what all machines' claims
    come to, which the kind decides. Steps of one ``lane`` are carried out in their order, and the lanes of one
    ``moment`` side by side. A lane may have branches, ``devices/pci`` beside ``devices/vf``: those that follow each
    other go side by side, after what the lane has before them, and before what it has after them.
    ``{qemu}`` in a key stands for the process number of QEMU, which is known after its launch alone.
    What is made beside the launch is begun before QEMU is started, which does not wait for it; the guest does.
    ``summary`` is a phrase for people, without a full stop: ``performance governor on CPUs 4-7``.
    """

    kind: str
    summary: str
    claims: dict[str, str]
    lane: str
    needs_root: bool = True
    moment: Moment = "before-launch"
