"""Hosts of any size, for the tests of speed: two sockets, SMT, and PCI functions eight to a slot."""

from typing import Any


def large(cpus: int, devices: int) -> dict[str, Any]:
    """Describe a host with so many CPUs (a multiple of 4) and PCI functions."""
    quarter = cpus // 4
    rows = [
        {
            "first": f"{socket * quarter}-{(socket + 1) * quarter - 1}",
            "second": f"{(socket + 2) * quarter}-{(socket + 3) * quarter - 1}",
            "socket": socket,
            "node": socket,
            "l3": "65536K",
            "max_khz": 3600000,
            "perf": 200,
        }
        for socket in (0, 1)
    ]
    return {"cores": rows, "pci": [_function(number) for number in range(devices)]}


def _function(number: int) -> dict[str, Any]:
    bus, rest = divmod(number, 256)
    return {
        "at": f"{bus // 256:04x}:{bus % 256:02x}:{rest // 8:02x}.{rest % 8}",
        "id": "15b3:101d",
        "subsystem": "15b3:0016",
        "class": "020000",
        "driver": "mlx5_core",
        "group": number,
        "node": number % 2,
        "reset": "flr bus",
        "bars": [[0x380000000000 + number * 0x2000000, 0x2000000, 0x14220C]],
        "extra": {"sriov_totalvfs": "8", "sriov_numvfs": "0", "msi_irqs/40": "msix"},
    }
