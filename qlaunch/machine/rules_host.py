"""Rules of the host's side, and of texts that go into paths, programs and kernel files."""

from collections.abc import Iterator, Sequence

import msgspec

from qlaunch.errors import Problem
from qlaunch.machine.keys import join_key
from qlaunch.machine.model import Machine
from qlaunch.machine.read import PATH_KEYS
from qlaunch.machine.rule import fault

# Sections whose texts are words for programs: a script over several lines is one.
_SCRIPTS = ("sidecar", "hook")


def texts_are_plain(machine: Machine) -> Iterator[Problem]:
    """No program takes a NUL; another control character would become part of a name, a path or a log line."""
    for section in machine.__struct_fields__:
        for key, text in _texts(getattr(machine, section), (section,)):
            bad = next((character for character in text if _is_control(character, section in _SCRIPTS)), None)
            if bad is not None:
                yield fault(
                    "control-character", join_key(key), f"holds the control character U+{ord(bad):04X}", "take it out"
                )


def _is_control(character: str, is_script: bool) -> bool:  # noqa: FBT001 - one caller
    return character == "\0" if is_script else character < " " or "\x7f" <= character <= "\x9f"


def _texts(value: object, at: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield every text below a value, keys of tables too, with its key."""
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            if not isinstance(inner := getattr(value, name), bool | int | float | None):
                yield from _texts(inner, (*at, name))
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield at, name
            yield from _texts(inner, (*at, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, (*at, str(number)))


def paths_are_not_empty(machine: Machine) -> Iterator[Problem]:
    """An empty path is a forgotten one."""
    for section, *names in PATH_KEYS:
        holder = getattr(machine, section)
        holders = enumerate(holder) if isinstance(holder, list) else [(None, holder)]
        for number, part in holders:
            if getattr(part, names[-1]) == "":
                at = section if number is None else f"{section}.{number}"
                yield fault("empty-path", f"{at}.{names[-1]}", "is empty", "write a path, or take the key out")
    if not machine.qemu.binary:
        yield fault(
            "empty-path", "qemu.binary", "is empty", "write a path or the name of a program, or take the key out"
        )


def kernel_files_are_below_sys(machine: Machine) -> Iterator[Problem]:
    """Values are written as root: only below the folders that are meant for it."""
    for path in machine.host.sysfs:
        if not path.startswith(("/sys/", "/proc/sys/")) or ".." in path.split("/"):
            message = "is not a file below /sys or /proc/sys"
            yield fault(
                "sysfs-path",
                join_key(("host", "sysfs", path)),
                message,
                'write "/sys/module/kvm/parameters/ignore_msrs", for example',
            )
    for name in machine.host.sysctl:
        if (
            not name
            or name.startswith("/")
            or ".." in name
            or any(not part for part in name.replace("/", ".").split("."))
        ):
            yield fault(
                "sysctl-name",
                join_key(("host", "sysctl", name)),
                "is not a sysctl name",
                'write "vm.stat_interval", for example',
            )


def names_are_words(machine: Machine) -> Iterator[Problem]:
    """Names become words of other programs' command lines: none may look like an option, or be two."""
    host = machine.host
    named: dict[str, Sequence[str | None]] = {
        "host.user": [host.user],
        "host.governor": [host.governor],
        "host.energy_preference": [host.energy_preference],
        "host.services.stop": host.services.stop,
        "host.modules.unload": host.modules.unload,
        "host.modules.load": host.modules.load,
        **{f"sidecar.{number}.user": [sidecar.user] for number, sidecar in enumerate(machine.sidecar)},
        **{f"hook.{number}.user": [hook.user] for number, hook in enumerate(machine.hook)},
    }
    for key, words in named.items():
        for number, word in enumerate(words):
            if word is not None and (not word or word.startswith(("-", "/", ".")) or len(word.split()) != 1):
                at = f"{key}.{number}" if key.endswith(("stop", "unload", "load")) else key
                yield fault("name", at, f'"{word}" is not a name', "a name is one word that begins with a letter")


def commands_say_something(machine: Machine) -> Iterator[Problem]:
    """A hook that does nothing at either end, or a command without a program, is a forgotten key."""
    for number, hook in enumerate(machine.hook):
        if not (hook.start or hook.stop):
            yield fault(
                "empty-hook", f"hook.{number}", "has neither start nor stop", 'add start = ["program", "argument"]'
            )
        for name in ("start", "stop"):
            if getattr(hook, name)[:1] == [""]:
                yield fault("empty-command", f"hook.{number}.{name}", "names no program")
    for number, sidecar in enumerate(machine.sidecar):
        if not sidecar.command[0]:
            yield fault("empty-command", f"sidecar.{number}.command", "names no program")


def environments_have_names(machine: Machine) -> Iterator[Problem]:
    """The kernel's environment is made of NAME=value."""
    environments = [
        *((("sidecar", str(number)), sidecar.environment) for number, sidecar in enumerate(machine.sidecar)),
        *((("hook", str(number)), hook.environment) for number, hook in enumerate(machine.hook)),
    ]
    for at, environment in environments:
        for name in environment:
            if not name or "=" in name:
                key = join_key((*at, "environment", name))
                yield fault(
                    "environment",
                    key,
                    "is not the name of an environment variable",
                    "a name is not empty and has no '='",
                )


RULES = (
    *(texts_are_plain, paths_are_not_empty, kernel_files_are_below_sys, names_are_words, commands_say_something),
    environments_have_names,
)
