"""``[audio]``: the guest's sound card and the host's sound server.

Source: ``qapi/audio.json``: latency in µs is ``buffer-length``/``latency`` by driver; ``timer-period`` is in µs; in
pipewire and pa ``name`` is the target sink, ``stream-name`` the label.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from qlaunch.devices.arg import Arg, Value, device
from qlaunch.devices.section import Section
from qlaunch.devices.site import Controller, Site

Microseconds = Annotated[int, msgspec.Meta(ge=100, le=1_000_000)]


class Audio(Section, frozen=True, kw_only=True):
    """Sound. ``hda-micro`` shows a speaker and a microphone, ``hda-duplex`` a line out and a line in."""

    backend: Literal["pipewire", "pulse", "jack", "alsa", "spice", "none"] = "none"
    card: Literal["hda-micro", "hda-duplex", "hda-output", "usb", "virtio"] = "hda-micro"
    server: str | None = None
    latency_us: Microseconds | None = None
    period_us: Microseconds | None = None

    def needs(self) -> frozenset[Controller]:
        """A USB card needs the USB controller."""
        return frozenset({"usb"}) if self.card == "usb" else frozenset()

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield the connection to the server and the card."""
        del index
        yield Arg("audiodev", self._backend(site.name), json=True)
        audio: dict[str, Value] = {"audiodev": "audio0"}
        match self.card:
            case "usb":
                yield device("usb-audio", "sound0", bus="usb0.0", port="9", **audio)
            case "virtio":
                yield device("virtio-sound-pci", "sound0", bus=site.root_bus, addr=_address(site), **audio)
            case _:
                yield device("ich9-intel-hda", "sound0", bus=site.root_bus, addr=_address(site))
                yield device(self.card, "sound0-codec", bus="sound0.0", cad=0, **audio)

    def _backend(self, label: str) -> dict[str, Value]:
        driver = "pa" if self.backend == "pulse" else self.backend
        backend: dict[str, Value] = {"driver": driver, "id": "audio0", "timer-period": self.period_us}
        match driver:
            case "pipewire" | "pa":
                stream: dict[str, Value] = {"stream-name": label, "latency": self.latency_us}
                return {**backend, "server": self.server if driver == "pa" else None, "out": stream, "in": dict(stream)}
            case "jack":
                jack: dict[str, Value] = {"client-name": label, "server-name": self.server}
                return {**backend, "out": jack, "in": dict(jack)}
            case _:
                return backend


def _address(site: Site) -> str:
    return "0x1b" if site.board == "q35" else "0x11"
