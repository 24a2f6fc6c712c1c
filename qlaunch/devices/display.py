"""``[display]``: what shows the guest's picture, and what draws it.

Source: ``qemu-options.hx`` (-spice, -vnc, -display), ``hw/misc/ivshmem.c`` (the size must be a power of two),
Looking Glass' documentation of its shared memory.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from qlaunch.devices.arg import Arg, Value, device, keyval, qom_object, raw
from qlaunch.devices.ports import fixed
from qlaunch.devices.section import Section
from qlaunch.devices.site import Controller, Site
from qlaunch.values.guest import GuestAddress
from qlaunch.values.size import Size

_VGA = {"std": "VGA", "bochs": "bochs-display", "cirrus": "cirrus-vga", "vmware": "vmware-svga"}
_REDIRECTION_PORTS = 6  # of the 15 that the controller has
KVMFR = "/dev/kvmfr"
Kvmfr = Annotated[
    str, msgspec.Meta(pattern=r"^/dev/kvmfr[0-9]+$", description="a node of the module kvmfr, such as '/dev/kvmfr0'")
]


class Display(Section, frozen=True, kw_only=True):
    """The picture. Without a GPU of its own the guest has only what is passed through."""

    type: Literal["none", "spice", "gtk", "vnc"] = "none"
    gpu: Literal["none", "virtio", "virtio-gpu", "qxl", "std", "bochs", "cirrus", "vmware", "ramfb"] | None = (
        None  # none, or virtio where there is something to show it
    )
    address: GuestAddress | None = None
    heads: Annotated[int, msgspec.Meta(ge=1, le=16)] | None = None
    agent: bool = True  # SPICE's channel for clipboard and pointer
    usb_redirection: Annotated[int, msgspec.Meta(ge=0, le=8)] = 0
    looking_glass: Size | None = None
    looking_glass_address: GuestAddress | None = None
    looking_glass_user: str | None = None
    looking_glass_path: Kvmfr | None = None
    tablet: bool | None = None
    virtio_input: bool = False

    @property
    def drawn_by(self) -> str:
        """The emulated GPU, with its default filled in."""
        return self.gpu or ("none" if self.type == "none" else "virtio")

    def needs(self) -> frozenset[Controller]:
        """SPICE's agent speaks over virtio-serial, the tablet sits on USB."""
        wanted: set[Controller] = set()
        if self.type in ("spice", "gtk") and self.agent:
            wanted.add("virtio-serial")
        if self._has_tablet() or self.usb_redirection:
            wanted.add("usb")
        return frozenset(wanted)

    def _has_tablet(self) -> bool:
        return self.type != "none" if self.tablet is None else self.tablet

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield display, GPU, pointer and the agent's channel."""
        del index
        yield from self._shown(site)
        yield from self._gpu(site)
        if self._has_tablet():
            yield device("usb-tablet", "tablet0", **site.usb_place(1, None, 0))
        if self.virtio_input:
            yield device("virtio-keyboard-pci", "kbd0", **site.on(fixed("kbd")))
            yield device("virtio-mouse-pci", "mouse0", **site.on(fixed("mouse")))
        if self.looking_glass:
            path = self.looking_glass_path or looking_glass_path(site.name)
            yield qom_object(
                "memory-backend-file", "lg0-mem", size=int(self.looking_glass), share=True, **{"mem-path": path}
            )
            place = site.built_in("0x10", "0x1f", self.looking_glass_address)
            yield device("ivshmem-plain", "lg0", memdev="lg0-mem", **place)
        for number in range(self.usb_redirection):
            yield keyval("chardev", "spicevmc", id=f"redir{number}-chr", name="usbredir")
            # The first ports are those of [[usb]], whose devices come later.
            port = str(10 + number) if number < _REDIRECTION_PORTS else None
            yield device("usb-redir", f"redir{number}", chardev=f"redir{number}-chr", bus="usb0.0", port=port)

    def _shown(self, site: Site) -> Iterator[Arg]:
        match self.type:
            case "none":
                yield raw("display", "none")
            case "gtk":
                yield keyval("display", "gtk", **{"zoom-to-fit": True})
                if self.agent:
                    yield from _agent_channel("qemu-vdagent", clipboard=True)
            case "vnc":
                yield raw("display", "none")
                yield keyval("vnc", f"unix:{site.display_socket('vnc')}")
            case "spice":
                yield raw("display", "none")
                options: dict[str, Value] = {
                    "disable-ticketing": True,
                    "image-compression": "off",
                    "seamless-migration": False,
                }
                yield keyval("spice", unix=True, addr=site.display_socket("spice"), **options)
                if self.agent:
                    yield from _agent_channel("spicevmc")

    def _gpu(self, site: Site) -> Iterator[Arg]:
        place = site.built_in("0x1", "0x1e", self.address)
        match self.drawn_by:
            case "virtio":
                yield device("virtio-vga", "gpu0", max_outputs=self.heads, **place)
            case "virtio-gpu":
                yield device("virtio-gpu-pci", "gpu0", max_outputs=self.heads, **place)
            case "qxl":
                yield device("qxl-vga", "gpu0", max_outputs=self.heads or 1, **place)
            case "std" | "bochs" | "cirrus" | "vmware" as name:
                yield device(_VGA[name], "gpu0", **place)
            case "ramfb":
                yield device("ramfb", "gpu0")
            case _:
                return


def looking_glass_path(name: str) -> str:
    """Give the shared file that the Looking Glass client opens."""
    return f"/dev/shm/looking-glass-{name}"  # noqa: S108 - the client looks there


def _agent_channel(chardev: str, *, clipboard: bool | None = None) -> Iterator[Arg]:
    """The channel of the SPICE agent, which carries the clipboard and the pointer."""
    yield keyval("chardev", chardev, id="vdagent", name="vdagent", clipboard=clipboard)
    channel = {"chardev": "vdagent", "name": "com.redhat.spice.0"}
    yield device("virtserialport", "vdagent0", bus="vserial0.0", nr=1, **channel)
