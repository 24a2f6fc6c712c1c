"""The kernel's USB core in a host in memory: interfaces, and drivers that are taken from them and put back.

Source: ``drivers/usb/core/devio.c`` (proc_ioctl). Held against the kernel in ``tests/lab/test_usb.py``.
"""

from tests.fakes.host import FakeHost

DEVICES = "/sys/bus/usb/devices"


def plug_in(host: FakeHost, port: str, id_: str, drivers: list[str | None], number: int = 5) -> None:
    """Add a device; ``drivers`` are those of its interfaces, None where the kernel has none for it."""
    vendor, _, product = id_.partition(":")
    bus = port.partition("-")[0]
    for name, text in {"idVendor": vendor, "idProduct": product, "busnum": bus, "devnum": str(number)}.items():
        host.files[f"{DEVICES}/{port}/{name}"] = text
    links = [f"{DEVICES}/{port}:1.{interface}/driver" for interface in range(len(drivers))]
    for interface, link in enumerate(links):
        host.folders.add(f"{DEVICES}/{port}:1.{interface}")
        if drivers[interface]:
            host.symlinks[link] = f"../../bus/usb/drivers/{drivers[interface]}"

    def change(interface: int, attached: bool) -> None:  # noqa: FBT001 - as the host's door
        if not attached:
            host.symlinks.pop(links[interface], None)
        elif drivers[interface]:
            host.symlinks[links[interface]] = f"../../bus/usb/drivers/{drivers[interface]}"

    host.usb_reactions[f"/dev/bus/usb/{int(bus):03}/{number:03}"] = change


def pull(host: FakeHost, port: str) -> None:
    """Take a device away."""
    for table in (host.files, host.symlinks):
        for path in [path for path in table if path.startswith((f"{DEVICES}/{port}/", f"{DEVICES}/{port}:"))]:
            del table[path]
    host.folders = {path for path in host.folders if not path.startswith(f"{DEVICES}/{port}:")}


def desk() -> FakeHost:
    """A headset with three interfaces, one of which has no driver, and a stick."""
    host = FakeHost()
    plug_in(host, "1-2", "1038:12ad", ["snd-usb-audio", None, "usbhid"])
    plug_in(host, "3-4.1", "46f4:0001", ["usb-storage"], number=6)
    return host
