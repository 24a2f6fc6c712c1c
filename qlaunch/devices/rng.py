"""``[rng]``: randomness for the guest, from the host's pool.

Source: ``hw/virtio/virtio-rng-pci.c``, ``qapi/qom.json`` (RngRandomProperties).
"""

from collections.abc import Iterator
from typing import Annotated

import msgspec

from qlaunch.devices.arg import Arg, Value, device, qom_object
from qlaunch.devices.ports import fixed
from qlaunch.devices.section import Section
from qlaunch.devices.site import Site
from qlaunch.values.guest import GuestAddress


class Rng(Section, frozen=True, kw_only=True):
    """A virtio random number generator."""

    enabled: bool = True
    source: str = "/dev/urandom"  # or "builtin", QEMU's own
    max_bytes: Annotated[int, msgspec.Meta(ge=1)] | None = None
    period_ms: Annotated[int, msgspec.Meta(ge=1)] = 1000
    address: GuestAddress | None = None

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield the generator."""
        del index
        if self.enabled:
            if self.source == "builtin":
                yield qom_object("rng-builtin", "rng0-source")
            else:
                yield qom_object("rng-random", "rng0-source", filename=self.source)
            rate: dict[str, Value] = {"max-bytes": self.max_bytes, "period": self.period_ms if self.max_bytes else None}
            place = site.on(fixed("rng"), address=self.address)
            yield device("virtio-rng-pci", "rng0", rng="rng0-source", **rate, **place)
