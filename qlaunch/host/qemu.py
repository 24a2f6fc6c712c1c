"""What the installed QEMU is and can do, read from QEMU itself over QMP, and remembered.

One QEMU is started without a machine, all questions are written to its standard input at once, and the answers are told
apart by their ids: some 60 ms, once for each QEMU. Blocking, without an event loop.

Source: QEMU's ``qapi/machine.json`` (query-machines), ``qapi/qdev.json`` (device-list-properties), ``qapi/qom.json``,
``qapi/introspect.json``. ``device-list-properties`` loads a device's module, so it tells what is installed, not what
was compiled.
"""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from qlaunch.errors import HostError, QemuError
from qlaunch.host.cache import program_key, remember
from qlaunch.host.interview import Question, interview

FLOOR = (7, 2)
# Counts up when what is asked, or how it is kept, changes.
_PROBE_VERSION = 3
_INSTALL = "install it: qemu-system-x86 (Debian, Ubuntu), qemu-system-x86-core (Fedora), qemu-base (Arch)"


class MachineType(msgspec.Struct, frozen=True):
    """A board that QEMU offers; ``alias`` is the name under which the newest of its family goes."""

    name: str
    alias: str = ""
    deprecated: bool = False
    cpu_max: int = 1


class QemuFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One QEMU. ``devices`` maps drivers that were asked for, and exist, to their properties with their types."""

    path: str
    version: tuple[int, int, int]
    package: str
    accelerators: list[str]
    machines: dict[str, MachineType]
    devices: dict[str, dict[str, str]]
    objects: list[str]
    options: dict[str, list[str]]
    cpu_models: list[str]

    def resolve_machine(self, name: str) -> str:
        """Give the versioned type that a name stands for. Raises QemuError naming near ones."""
        if name in self.machines:
            return name
        for machine in self.machines.values():
            if machine.alias == name:
                return machine.name
        family = name[: name.rfind("-") + 1]
        near = sorted((known for known in self.machines if known.startswith(family)), key=_numbers)
        version = ".".join(map(str, self.version))
        offers = f"it has {near[0]} to {near[-1]}" if family and near else "see: qemu-system-x86_64 -machine help"
        raise QemuError(f"QEMU {version} has no machine type {name!r}", offers)

    def has_device(self, driver: str) -> bool:
        """Whether a device can be made; False also for one that was not asked for."""
        return driver in self.devices

    def has_property(self, driver: str, name: str) -> bool:
        """Whether a device takes a property."""
        return name in self.devices.get(driver, {})


def read_qemu_facts(binary: str, drivers: Sequence[str], cache: str | None) -> QemuFacts:
    """Read what a QEMU can do. Raises HostError when there is none, QemuError when it is too old or does not answer."""
    path = find_qemu(binary)
    key = [_PROBE_VERSION, program_key(path), os.access("/dev/kvm", os.R_OK | os.W_OK), list(drivers)]
    facts = remember(cache, "qemu", key, QemuFacts, lambda: _probe(path, drivers))
    _check_version(path, facts.version)
    return facts


def read_qmp_schema(binary: str, cache: str | None) -> list[dict[str, Any]]:
    """Read QEMU's description of its own QMP commands, as ``query-qmp-schema`` gives it: some 230 kB, when needed."""
    path = find_qemu(binary)
    key = [_PROBE_VERSION, program_key(path)]
    ask = ["query-qmp-schema"]
    kind = list[dict[str, Any]]
    return remember(cache, "schema", key, kind, lambda: msgspec.convert(_answers(path, ask)["query-qmp-schema"], kind))


def find_qemu(binary: str) -> str:
    """Find the program on PATH, or where it was said to be. Raises HostError."""
    path = shutil.which(binary)
    if path:
        return os.path.abspath(path)
    if "/" in binary and os.path.exists(binary):
        raise HostError(f"{binary} is not a program that may be run", "check its mode with ls -l")
    raise HostError(f"{binary} is not installed", _INSTALL)


def _check_version(path: str, version: tuple[int, int, int]) -> None:
    if version[:2] < FLOOR:
        text = ".".join(map(str, version))
        raise QemuError(f"{path} is QEMU {text}; qlaunch needs {FLOOR[0]}.{FLOOR[1]} or newer", "update QEMU")


def _probe(path: str, drivers: Sequence[str]) -> QemuFacts:
    asked = {f"device {driver}": ("device-list-properties", {"typename": driver}) for driver in drivers}
    plain = ("query-version", "query-kvm", "query-machines", "query-command-line-options", "query-cpu-definitions")
    creatable = {"objects": ("qom-list-types", {"implements": "user-creatable"})}
    answers = _answers(path, plain, {**asked, **creatable})
    try:
        return _facts(path, answers, drivers)
    except (KeyError, TypeError, ValueError) as error:
        raise QemuError(f"{path} answers, but not as QEMU does: {error!r}", "check qemu.binary") from error


def _facts(path: str, answers: dict[str, Any], drivers: Sequence[str]) -> QemuFacts:
    version = answers["query-version"]["qemu"]
    devices = {driver: answers[f"device {driver}"] for driver in drivers if f"device {driver}" in answers}
    machines = [
        MachineType(
            machine["name"], machine.get("alias", ""), machine.get("deprecated", False), machine.get("cpu-max", 1)
        )
        for machine in answers["query-machines"]
    ]
    return QemuFacts(
        path=path,
        version=(version["major"], version["minor"], version["micro"]),
        package=answers["query-version"]["package"],
        accelerators=["kvm", "tcg"] if answers["query-kvm"]["present"] else ["tcg"],
        machines={machine.name: machine for machine in machines},
        devices={driver: {entry["name"]: entry["type"] for entry in known} for driver, known in devices.items()},
        objects=sorted(entry["name"] for entry in answers["objects"]),
        options={
            option["option"]: [parameter["name"] for parameter in option["parameters"]]
            for option in answers["query-command-line-options"]
        },
        cpu_models=sorted(model["name"] for model in answers["query-cpu-definitions"]),
    )


def _answers(
    path: str, plain: Sequence[str], named: dict[str, tuple[str, dict[str, str]]] | None = None
) -> dict[str, Any]:
    """Ask everything in one run. Gives the answers by id; a question that QEMU refuses has none. Raises QemuError."""
    questions: list[Question] = [{"execute": command, "id": command} for command in plain]
    for name, (command, arguments) in (named or {}).items():
        questions.append({"execute": command, "id": name, "arguments": arguments})
    answers, ending, said = interview(path, questions)
    if not set(plain) <= set(answers):
        # An old one does not know all the questions; that it is old is the better news.
        if version := _version(answers.get("query-version")):
            _check_version(path, version)
        last = (said.splitlines() or ["it said nothing"])[-1]
        raise QemuError(f"{path} {ending}: {last}", "check qemu.binary", said)
    return answers


def _version(answer: object) -> tuple[int, int, int] | None:
    with suppress(msgspec.ValidationError):
        numbers = msgspec.convert(answer, dict[str, Any]).get("qemu")
        known = msgspec.convert(numbers, dict[str, int])
        return known.get("major", 0), known.get("minor", 0), known.get("micro", 0)
    return None


def _numbers(name: str) -> list[int]:
    return [int(part) for part in name.rpartition("-")[2].split(".") if part.isdigit()]
