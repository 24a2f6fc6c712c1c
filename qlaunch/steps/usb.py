"""Whether the host's drivers have a USB device. A key is ``1-2 046d:c547``, a value ``1.0=usbhid 1.1=none``.

QEMU takes the interfaces from their drivers itself, and gives them back when it ends; one that is killed does not. So
it is done here, where it is recorded. A program that has an interface through usbfs, such as QEMU, is no driver.

Source: the kernel's ``Documentation/driver-api/usb/usb.rst`` (usbfs), ``drivers/usb/core/devio.c``; names of
interfaces, ``1-2:1.0`` with the configuration first, are those of ``drivers/usb/core/message.c``.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qlaunch.errors import HostError
from qlaunch.host.usb import UsbDevice
from qlaunch.steps.kind import Kind
from qlaunch.steps.step import Step

if TYPE_CHECKING:
    from qlaunch.steps.host import Host

GUEST = "guest"
LANE = "devices"
_NONE = "none"
_DEVICES = "/sys/bus/usb/devices"
# A disk that does not answer is waited for by its driver.
_CHANGE_S = 30.0


class Usb(Kind):
    """The drivers of a device's interfaces."""

    name = "usb"
    exclusive = True

    def read(self, host: "Host", key: str) -> str | None:
        """Give the driver of each interface; None where this device is not plugged in there."""
        port, _, wanted = key.partition(" ")
        folder = f"{_DEVICES}/{port}"
        if f"{host.read(f'{folder}/idVendor')}:{host.read(f'{folder}/idProduct')}" != wanted:
            return None
        names = (name for name in host.listdir(_DEVICES) if name.startswith(f"{port}:"))
        return " ".join(f"{name.partition(':')[2]}={_driver(host, name)}" for name in names)

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Give each interface to the host, or take it. Raises HostError, OSError, TimeoutError."""
        port = key.partition(" ")[0]
        node = _node(host, port)
        for number, driver in _parsed(value).items():
            name = f"{port}:{number}"
            if (_driver(host, name) == _NONE) == (driver == _NONE):
                continue
            attached = driver != _NONE
            host.set_usb_driver(node, int(number.partition(".")[2]), attached=attached, deadline_s=_CHANGE_S)
            if not host.wait(lambda: (_driver(host, name) != _NONE) == attached, _CHANGE_S):  # noqa: B023 - called at once
                message = f"the driver {driver} did not {'take' if attached else 'let go of'} the USB device {key}"
                raise HostError(message, "unplug it and plug it in again; see: journalctl -k")

    def merge(self, original: str | None, claims: Sequence[str]) -> str | None:  # noqa: ARG002 - as Kind
        """Give the device without drivers."""
        return None if original is None else " ".join(f"{number}={_NONE}" for number in _parsed(original))

    def is_halfway(self, current: str | None, original: str | None, claim: str) -> bool:  # noqa: ARG002 - as Kind
        """Whether some interfaces have their driver and others have none."""
        old, new = _parsed(original), _parsed(current)
        return old.keys() == new.keys() and all(driver in (_NONE, old[number]) for number, driver in new.items())

    def settle(self, current: str | None, original: str | None, claim: str, others: Sequence[str]) -> str | None:
        """Give what was found; a device that was unplugged, or has its drivers again since, stays as it is."""
        new = _parsed(current)
        if current is None or original is None:
            return current
        if all(new.get(number, _NONE) != _NONE for number, driver in _parsed(original).items() if driver != _NONE):
            return current
        return super().settle(current, original, claim, others)


def step_for(device: UsbDevice) -> Step:
    """Give the step that takes a device from the host's drivers."""
    claims = {key_of(device): GUEST}
    return Step(kind=Usb.name, summary=f"USB device {device} to the guest", claims=claims, lane=LANE, needs_root=False)


def key_of(device: UsbDevice) -> str:
    """Give the key of a device."""
    return f"{device.port} {device.id}"


def _parsed(value: str | None) -> dict[str, str]:
    pairs = (word.partition("=") for word in (value or "").split())
    return {number: driver for number, _, driver in pairs}


def _driver(host: "Host", name: str) -> str:
    driver = (host.readlink(f"{_DEVICES}/{name}/driver") or "").rpartition("/")[2]
    return _NONE if driver in ("", "usbfs") else driver


def _node(host: "Host", port: str) -> str:
    bus, number = (host.read(f"{_DEVICES}/{port}/{name}") or "0" for name in ("busnum", "devnum"))
    return f"/dev/bus/usb/{int(bus):03}/{int(number):03}"
