"""A helper process as it will be started: what a ``[[sidecar]]``, a TPM or a shared folder comes to. Pure.

It is part of what a supervisor owes the machine, and therefore on disk while the machine runs.
"""

from typing import Literal

import msgspec

MARK = "QLAUNCH_SIDECAR"
"""The variable by which a helper, and all that it starts, is known: see ``qlaunch.steps.process``."""


class SidecarSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One helper.

    ``socket`` is a path: the helper is ready when it listens there. With ``listens_for_it`` the supervisor makes that
    socket itself, and the helper gets it as a descriptor, whose number stands for ``{fd}`` in its argv: whoever
    connects is served, however late the helper is. ``before_qemu`` is for helpers that QEMU connects to at its start.
    ``mark`` is a word ``QLAUNCH_SIDECAR=…`` of its environment that no other process has.
    """

    name: str
    argv: list[str]
    mark: str
    log: str
    user: str | None = None
    environment: dict[str, str] = {}
    restart: Literal["no", "on-failure", "always"] = "no"
    socket: str | None = None
    listens_for_it: bool = False
    before_qemu: bool = False
    folder: str | None = None  # of its own, made before it starts
