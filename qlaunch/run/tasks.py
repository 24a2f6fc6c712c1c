"""What a caller wants to happen beside a guest, apart from its supervision."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

import msgspec

from qlaunch.run.notify import ServiceManager

if TYPE_CHECKING:
    import trio

    from qlaunch.run.supervisor import Supervisor


class Companion(Protocol):
    """A task that lives beside the guest. The guest's first instruction waits until it has called ``started``."""

    async def __call__(self, supervisor: "Supervisor", *, task_status: "trio.TaskStatus[None]") -> None:
        """Run until cancelled, or to an end of its own."""


class Tasks(msgspec.Struct, frozen=True, kw_only=True):
    """A status line, a word when the guest runs, a companion, and the systemd that is told of all of it."""

    show: Callable[[str], None] | None = None
    on_up: Callable[[], None] | None = None
    companion: Callable[..., Awaitable[None]] | None = None  # a Companion: msgspec cannot hold a Protocol here
    manager: ServiceManager = ServiceManager()
