"""``[[evdev]]``: the host's keyboard and mouse, switched between host and guest by a key.

Source: QEMU's ``docs/system/devices`` (input-linux), ``ui/input-linux.c``: the device is grabbed the moment the
object exists, paused guest or not. So these objects are not in the argv: the supervisor adds them beside ``cont``.
"""

from typing import Literal

from qlaunch.devices.arg import Value
from qlaunch.devices.section import Section


class Evdev(Section, frozen=True, kw_only=True):
    """One input device. ``grab_all`` belongs on the keyboard: its toggle then moves all of them."""

    path: str
    grab_all: bool = False
    repeat: bool = False
    optional: bool = False  # it may be plugged in later
    grab_toggle: Literal["ctrl-ctrl", "alt-alt", "shift-shift", "meta-meta", "scrolllock", "ctrl-scrolllock"] | None = (
        None
    )

    def late_object(self, index: int) -> dict[str, Value]:
        """Give the arguments of ``object-add``."""
        return {
            "qom-type": "input-linux",
            "id": f"evdev{index}",
            "evdev": self.path,
            "grab_all": self.grab_all or None,
            "repeat": self.repeat or None,
            "grab-toggle": self.grab_toggle,
        }
