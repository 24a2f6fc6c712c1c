"""Sections that say what happens on the host while the machine runs; they have no QEMU options.

They are validated here; ``qlaunch.plan`` turns them into steps.
"""

from typing import Annotated, Literal

import msgspec

from qlaunch.devices.section import Section

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]
Command = Annotated[list[str], msgspec.Meta(min_length=1)]


class Services(Section, frozen=True, kw_only=True):
    """systemd units to stop before the start, and to start again after the end."""

    stop: list[str] = []


class Modules(Section, frozen=True, kw_only=True):
    """Kernel modules to unload, in this order, and to load again in the reverse one."""

    unload: list[str] = []
    load: list[str] = []


class HostSide(Section, frozen=True, kw_only=True):
    """``[host]``: the host while this machine runs."""

    user: str | None = None
    iommu_backend: Literal["auto", "container", "iommufd"] = "auto"
    governor: str | None = None
    energy_preference: str | None = None
    shield: bool | Literal["isolated"] = False
    irq: bool = False
    inhibit_sleep: bool = False
    services: Services = Services()
    modules: Modules = Modules()
    vtconsoles: Literal["unbind", "keep"] = "keep"
    sysfs: dict[str, str] = {}
    sysctl: dict[str, str] = {}


class Sidecar(Section, frozen=True, kw_only=True):
    """``[[sidecar]]``: a process that lives with the machine."""

    command: Command
    user: str | None = None
    environment: dict[str, str] = {}
    restart: Literal["no", "on-failure", "always"] = "no"
    socket: str | None = None  # ready when it listens there


class Hook(Section, frozen=True, kw_only=True):
    """``[[hook]]``: a command at the start and one at the end."""

    start: list[str] = []
    stop: list[str] = []
    user: str | None = None
    environment: dict[str, str] = {}
    timeout_s: Seconds = 10


class Shutdown(Section, frozen=True, kw_only=True):
    """``[shutdown]``: how long the guest has to go down by itself before it is made to."""

    timeout_s: Seconds = 90
    resend_s: Seconds = 5
    agent_s: Seconds = 5
    quit_s: Seconds = 10
    term_s: Seconds = 5
