"""Which driver has a PCI function. A key is an address, a value ``amdgpu``, ``none``, ``vfio-pci override=vfio-pci``.

A driver is chosen by ``driver_override``, a function at a time: ``new_id`` would also take its twin. On the way back
the override names the recorded driver until it has the function again, so that none that probes meanwhile gets it.

Source: the kernel's ``Documentation/ABI/testing/sysfs-bus-pci`` (driver_override, drivers_probe, unbind; an override is
cleared by an empty line and reads "(null)"), ``Documentation/driver-api/vfio.rst`` (the node of a group).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qlaunch.errors import HostError
from qlaunch.steps.kind import Kind

if TYPE_CHECKING:
    from qlaunch.steps.host import Host

VFIO = "vfio-pci"
_NONE = "none"
_DEVICES = "/sys/bus/pci/devices"
# Drivers of graphics cards have taken 20 s to let go, and the firmware of a card as long to start again.
_WRITE_S = 60.0
_BIND_S = 30.0
_RELEASE_S = 10.0
_REGISTER_S = 10.0


class PciDriver(Kind):
    """The driver of one function, and its override."""

    name = "pci-driver"
    exclusive = True

    def read(self, host: "Host", key: str) -> str | None:
        """Give driver and override, or None where there is no such function."""
        if not host.exists(f"{_DEVICES}/{key}"):
            return None
        override = host.read(f"{_DEVICES}/{key}/driver_override")
        return _printed(_driver(host, key), None if override in (None, "", "(null)") else override)

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Give the function to a driver, or to none. Raises HostError, OSError, TimeoutError."""
        if not host.exists(f"{_DEVICES}/{key}"):
            raise HostError(f"the PCI function {key} has gone", "see: journalctl -k")
        driver, override = _parsed(value or _NONE)
        current = _driver(host, key)
        if current != driver:
            self._change(host, key, current, driver)
        _set_override(host, key, override)

    def merge(self, original: str | None, claims: Sequence[str]) -> str | None:  # noqa: ARG002 - as Kind
        """Give the claimed driver, held by an override."""
        return _printed(claims[0], claims[0])

    def is_halfway(self, current: str | None, original: str | None, claim: str) -> bool:
        """Whether driver and override are each one of those that a hand-over goes through."""
        if current is None or original is None:
            return False
        (old, old_override), (driver, override) = _parsed(original), _parsed(current)
        return driver in (old, claim, _NONE) and override in (old, old_override, claim, None)

    def _change(self, host: "Host", key: str, current: str, driver: str) -> None:
        if driver != _NONE and not host.exists(f"/sys/bus/pci/drivers/{driver}"):
            host.run(["modprobe", driver], timeout_s=_BIND_S)
        _set_override(host, key, None if driver == _NONE else driver)
        if current != _NONE:
            if current != VFIO:
                _wait_for_holders(host, key)
            _unbind(host, key)
        if driver == _NONE:
            return
        host.write("/sys/bus/pci/drivers_probe", key, deadline_s=_WRITE_S)
        if not host.wait(lambda: _driver(host, key) == driver, _BIND_S):
            message = f"the driver {driver} did not take {key} ({_driver(host, key)} has it)"
            raise HostError(message, "see: journalctl -k")
        group = (host.readlink(f"{_DEVICES}/{key}/iommu_group") or "").rpartition("/")[2]
        if driver == VFIO and group and not host.wait(lambda: _has_node(host, key, group), _BIND_S):
            raise HostError(f"/dev/vfio/{group} did not appear for {key}", "is udev running? see: journalctl -k")


def _has_node(host: "Host", key: str, group: str) -> bool:
    """Whether a program can get at it: by its group, or by itself where the kernel was built without groups."""
    own = host.listdir(f"{_DEVICES}/{key}/vfio-dev")
    nodes = (f"/dev/vfio/{group}", *(f"/dev/vfio/devices/{name}" for name in own))
    return any(map(host.exists, nodes))


def _printed(driver: str, override: str | None) -> str:
    return f"{driver} override={override}" if override else driver


def _parsed(text: str) -> tuple[str, str | None]:
    driver, _, override = text.partition(" override=")
    return driver, override or None


def _driver(host: "Host", key: str) -> str:
    return (host.readlink(f"{_DEVICES}/{key}/driver") or "").rpartition("/")[2] or _NONE


def _set_override(host: "Host", key: str, override: str | None) -> None:
    path = f"{_DEVICES}/{key}/driver_override"
    current = host.read(path)
    if override != (None if current in (None, "", "(null)") else current):
        # Nothing at all would be no write: an empty line clears it.
        host.write(path, override or "\n")


def _unbind(host: "Host", key: str) -> None:
    """Take the function from its driver, which may still be registering it: that one refuses with EACCES."""
    refused: list[OSError] = []

    def gone() -> bool:
        if _driver(host, key) == _NONE:
            return True
        try:
            host.write(f"{_DEVICES}/{key}/driver/unbind", key, deadline_s=_WRITE_S)
        except (PermissionError, FileNotFoundError) as error:
            refused[:] = [error]
        return _driver(host, key) == _NONE

    if not host.wait(gone, _REGISTER_S):
        if refused:
            raise refused[0]
        raise HostError(f"{_driver(host, key)} did not let go of {key}", "see: journalctl -k")


def _wait_for_holders(host: "Host", key: str) -> None:
    """Wait until nobody has the device open: a driver that is unbound under a program may hang for ever."""
    if not host.wait(lambda: not host.holders(key), _RELEASE_S):
        names = ", ".join(host.holders(key))
        raise HostError(f"{key} is held open by {names}", "end it first, or stop its service in host.services")
