"""Rules of ``[qemu] extra``: words that would undo what the rest of the file says, or what the supervisor relies on.

Source: ``system/vl.c``: a second -cpu replaces the first, -machine options are merged, and
``qemu_create_cli_devices`` makes all
key-value devices before all JSON ones, so that a bus which a JSON device makes does not exist for them yet.
"""

from collections.abc import Iterator

from qlaunch.errors import Problem
from qlaunch.machine.model import Machine
from qlaunch.machine.rule import fault

# Options that the machine file has a key for: a second one replaces, contradicts or is merged with qlaunch's own.
_KEY_OF = {
    **dict.fromkeys(("cpu",), "cpu.model and cpu.features"),
    **dict.fromkeys(("machine", "M"), "[machine]"),
    **dict.fromkeys(("accel", "enable-kvm", "no-kvm"), "machine.accel"),
    **dict.fromkeys(("no-reboot",), "machine.on_reboot"),
    **dict.fromkeys(("no-shutdown", "action"), "machine.on_poweroff, on_reboot and on_crash"),
    **dict.fromkeys(("uuid",), "machine.uuid"),
    **dict.fromkeys(("smp",), "cpu.topology"),
    **dict.fromkeys(("m",), "memory.size"),
    **dict.fromkeys(("mem-path", "mem-prealloc"), "memory.hugepages and memory.prealloc"),
    **dict.fromkeys(("overcommit",), "memory.lock and cpu.power_management"),
    **dict.fromkeys(("rtc",), "clock.base"),
    **dict.fromkeys(("boot",), "boot_index and boot.menu"),
    **dict.fromkeys(("kernel", "initrd", "append"), "[boot]"),
    **dict.fromkeys(("bios", "pflash", "L"), "firmware.code"),
    **dict.fromkeys(("display", "nographic", "curses", "spice", "vnc"), "display.type"),
    **dict.fromkeys(("vga",), "display.gpu"),
    **dict.fromkeys(("runas", "run-with", "chroot"), "host.user"),
}
# Options that take from the supervisor what it relies on.
_OURS = {
    "S": "the supervisor starts the guest itself",
    "daemonize": "the supervisor would lose QEMU",
    "preconfig": "the supervisor starts the guest itself",
    "incoming": "the supervisor starts the guest itself",
    "name": "the machine's name is that of its file",
    "sandbox": "the sandbox is set once",
    "readconfig": "what it says would be checked by nobody",
    "monitor": "use `qlaunch console`",
    "qmp": "use `qlaunch console`",
    "help": "qlaunch runs machines; ask QEMU itself",
    "h": "qlaunch runs machines; ask QEMU itself",
    "version": "qlaunch runs machines; ask QEMU itself",
}
# Options that QEMU refuses without a word after them.
_NEED_A_WORD = frozenset(
    ("device", "object", "global", "drive", "blockdev", "netdev", "chardev", "fw_cfg", "smbios", "set")
)
_OUR_BUSES = ("usb0.", "vserial0.", "scsi0.", "sound0.", "at-")


def extra_words_are_options(machine: Machine) -> Iterator[Problem]:
    """An option has one word at most; QEMU would take a stray one for a disk image."""
    previous = "first"
    for number, word in enumerate(machine.qemu.extra):
        if not word.startswith("-") and previous != "option":
            message = f'"{word}" does not belong to an option'
            yield fault(
                "extra-word",
                f"qemu.extra.{number}",
                message,
                'write ["-option", "value", …], each word in quotes of its own',
            )
        previous = "option" if word.startswith("-") else "value"
    for number, flag, value in _options(machine):
        if flag in _NEED_A_WORD and value is None:
            yield fault("extra-word", f"qemu.extra.{number}", f'"-{flag}" needs a word after it')


def extra_options_have_no_key(machine: Machine) -> Iterator[Problem]:
    """What a key can say is not said twice."""
    for number, flag, _ in _options(machine):
        if key := _KEY_OF.get(flag):
            yield fault(
                "extra-option", f"qemu.extra.{number}", f'"-{flag}" would contradict what qlaunch writes', f"use {key}"
            )
        elif reason := _OURS.get(flag):
            yield fault("extra-option", f"qemu.extra.{number}", f'"-{flag}" cannot be given: {reason}')


def extra_devices_find_their_bus(machine: Machine) -> Iterator[Problem]:
    """QEMU makes a key-value device before the buses that qlaunch's JSON devices make."""
    for number, flag, value in _options(machine):
        if flag != "device" or value is None or value.startswith("{"):
            continue
        bus = next((part.removeprefix("bus=") for part in value.split(",") if part.startswith("bus=")), "")
        if bus.startswith(("rp-", *_OUR_BUSES)):
            driver = value.partition(",")[0].removeprefix("driver=")
            message = f'bus "{bus}" does not exist yet when QEMU makes a device that is not written in JSON'
            hint = f"""write '{{"driver":"{driver}","bus":"{bus}", …}}' after "-device\""""
            yield fault("extra-bus", f"qemu.extra.{number + 1}", message, hint)


def _options(machine: Machine) -> Iterator[tuple[int, str, str | None]]:
    """Yield (place in the list, option without its hyphens, its word)."""
    words = machine.qemu.extra
    for number, word in enumerate(words):
        if word.startswith("-"):
            following = words[number + 1] if number + 1 < len(words) else None
            yield (
                number,
                word[2:] if word.startswith("--") else word[1:],
                None if following and following.startswith("-") else following,
            )


RULES = (extra_words_are_options, extra_options_have_no_key, extra_devices_find_their_bus)
