"""The kernel's PCI driver core in a host in memory: overrides, probing, unbinding, and VFIO's nodes.

Source: ``drivers/pci/pci-driver.c`` (pci_match_device: an override that is set matches alone), ``drivers/base/bus.c``
(unbind_store, drivers_probe_store), ``drivers/pci/pci-sysfs.c`` (driver_override_show). Held against the kernel in
``tests/lab/test_passthrough.py``.
"""

from collections.abc import Callable

from tests.fakes.host import FakeHost

DEVICES = "/sys/bus/pci/devices"


def add_function(host: FakeHost, address: str, driver: str | None, *, group: int, native: str | None = None) -> None:
    """Add a function that has a driver; ``native`` is the one that takes it without an override."""
    folder = f"{DEVICES}/{address}"
    host.folders.add(folder)
    host.files[f"{folder}/driver_override"] = "(null)"
    host.files[f"{folder}/power/control"] = "auto"
    host.symlinks[f"{folder}/iommu_group"] = f"../../kernel/iommu_groups/{group}"
    host.files["/sys/bus/pci/drivers_probe"] = ""
    host.folders.update(f"/sys/bus/pci/drivers/{name}" for name in (driver, native, "vfio-pci") if name)

    def override(text: str) -> None:
        host.files[f"{folder}/driver_override"] = text.strip() or "(null)"

    def bind(name: str) -> None:
        host.symlinks[f"{folder}/driver"] = f"../../../bus/pci/drivers/{name}"
        host.files[f"{folder}/driver/unbind"] = ""
        if name == "vfio-pci":
            host.files[f"/dev/vfio/{group}"] = ""

    def unbind(_text: str) -> None:
        del host.symlinks[f"{folder}/driver"], host.files[f"{folder}/driver/unbind"]
        host.files.pop(f"/dev/vfio/{group}", None)

    def probe(text: str) -> None:
        if text == address and f"{folder}/driver" not in host.symlinks:
            wanted = host.files[f"{folder}/driver_override"]
            name = wanted if wanted != "(null)" else native or driver
            if name:
                bind(name)

    if driver:
        bind(driver)
    host.reactions[f"{folder}/driver_override"] = override
    host.reactions[f"{folder}/driver/unbind"] = unbind
    _add_probe(host, probe)


def _add_probe(host: FakeHost, probe: Callable[[str], None]) -> None:
    """Let one more function hear of a probe."""
    others = host.reactions.get("/sys/bus/pci/drivers_probe")

    def probe_all(text: str) -> None:
        if others:
            others(text)
        probe(text)

    host.reactions["/sys/bus/pci/drivers_probe"] = probe_all


def graphics_card() -> FakeHost:
    """A card with picture, sound and USB, and a function that has no driver."""
    host = FakeHost()
    add_function(host, "0000:0b:00.0", "amdgpu", group=14)
    add_function(host, "0000:0b:00.1", "snd_hda_intel", group=15)
    add_function(host, "0000:0b:00.2", None, group=16)
    add_function(host, "0000:0c:00.0", "vfio-pci", group=17, native="igb")
    return host
