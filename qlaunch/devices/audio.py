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
from qlaunch.values.guest import GuestAddress

Microseconds = Annotated[int, msgspec.Meta(ge=100, le=1_000_000)]


class Audio(Section, frozen=True, kw_only=True):
    """Sound. ``hda-micro`` shows a speaker and a microphone, ``hda-duplex`` a line out and a line in.

    ``user`` is whose sound server it is, where that is not the one of QEMU's own user.
    """

    backend: Literal["pipewire", "pulse", "jack", "alsa", "spice", "none"] = "none"
    card: Literal["hda-micro", "hda-duplex", "hda-output", "usb", "virtio", "ac97", "es1370", "sb16"] = "hda-micro"
    controller: Literal["ich9", "ich6"] = "ich9"  # of the hda cards
    address: GuestAddress | None = None
    server: str | None = None
    user: str | None = None
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
                yield device("usb-audio", "sound0", **site.usb_place(9, None, 0), **audio)
            case "virtio":
                yield device("virtio-sound-pci", "sound0", **self._place(site), **audio)
            case "ac97" | "es1370":
                yield device(self.card.upper(), "sound0", **self._place(site), **audio)
            case "sb16":
                yield device("sb16", "sound0", **audio)
            case _:
                chip = "ich9-intel-hda" if self.controller == "ich9" else "intel-hda"
                yield device(chip, "sound0", **self._place(site))
                yield device(self.card, "sound0-codec", bus="sound0.0", cad=0, **audio)

    def _place(self, site: Site) -> dict[str, Value]:
        return site.built_in("0x1b", "0x11", self.address)

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
