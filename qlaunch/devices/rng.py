"""``[rng]``: randomness for the guest, from the host's pool.

Source: ``hw/virtio/virtio-rng-pci.c``, ``qapi/qom.json`` (RngRandomProperties).
"""

from collections.abc import Iterator

from qlaunch.devices.arg import Arg, device, qom_object
from qlaunch.devices.ports import fixed
from qlaunch.devices.section import Section
from qlaunch.devices.site import Site


class Rng(Section, frozen=True, kw_only=True):
    """A virtio random number generator."""

    enabled: bool = True

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield the generator."""
        del index
        if self.enabled:
            yield qom_object("rng-random", "rng0-source", filename="/dev/urandom")
            yield device("virtio-rng-pci", "rng0", rng="rng0-source", **site.on(fixed("rng")))
