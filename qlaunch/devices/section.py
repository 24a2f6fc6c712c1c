"""What every section of the machine file is: frozen, keyword-only, and strict about unknown keys."""

from collections.abc import Iterator

import msgspec

from qlaunch.devices.arg import Arg
from qlaunch.devices.site import Controller, Site


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the machine file. A section without options of its own keeps the two methods as they are here."""

    def needs(self) -> frozenset[Controller]:
        """Name the controllers that this section's devices sit on."""
        return frozenset()

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield this section's options; ``index`` counts the sections of one kind from 0."""
        del site, index
        yield from ()
