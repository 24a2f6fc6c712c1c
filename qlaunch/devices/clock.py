"""``[clock]``: the guest's wall clock and its timers.

Source: ``qemu-options.hx`` (-rtc), ``hw/i386/pc.c`` (hpet is on by default), ``hw/i386/kvm/i8254.c``
(lost_tick_policy).
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from qlaunch.devices.arg import Arg, keyval
from qlaunch.devices.section import Section
from qlaunch.devices.site import Site

_TRACKS = {"guest": "vm", "wall": "host", "realtime": "rt", None: None}


class Clock(Section, frozen=True, kw_only=True):
    """Clock and timers. ``localtime`` follows the time zone of whoever starts the machine, as Windows expects."""

    base: Literal["utc", "localtime"] = "utc"
    track: Literal["guest", "wall", "realtime"] | None = None
    tsc_khz: Annotated[int, msgspec.Meta(ge=1, le=100_000_000)] | None = None
    hpet: bool = False
    tsc: Literal["native"] | None = None
    pit: Literal["delay", "discard"] | None = None
    rtc_catchup: bool = False
    kvmclock: bool = True

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield -rtc and the timers."""
        del index
        yield keyval("rtc", base=self.base, clock=_TRACKS[self.track], driftfix="slew" if self.rtc_catchup else None)
        yield keyval("machine", hpet=self.hpet)
        if site.accel == "kvm":
            yield keyval(
                "cpu",
                **{"tsc-frequency": self.tsc_khz and self.tsc_khz * 1000},
                invtsc=self.tsc == "native" or None,
                kvmclock=None if self.kvmclock else False,
            )
            if self.pit:
                yield keyval("global", driver="kvm-pit", property="lost_tick_policy", value=self.pit)
