"""Libvirt's hook scripts as keys of a machine file: what the well-known lines mean, and the rest as hooks. Pure.

Nothing is run. Every line that does something is told with its file and line: as a key, as needless, or as a hook that
keeps it. A line at the end of a machine that only gives back what one at the start took needs no key: qlaunch does
that by itself.

Owns: which script runs when, and what becomes of what it does. Must not: read files (see `hooks_folder`).

Source: libvirt's ``docs/hooks.rst`` (operations, arguments, ``qemu`` and ``qemu.d``); the tree below
``qemu.d/NAME/OPERATION/SUB-OPERATION`` is the habit of a widespread dispatcher script, which is itself such a hook.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import msgspec

from qlaunch.errors import Problem, Severity
from qlaunch.libvirt.hooks_facts import Fact
from qlaunch.libvirt.hooks_folder import read_folder
from qlaunch.libvirt.hooks_gather import keys_of
from qlaunch.libvirt.hooks_run import Event, Walk, sources
from qlaunch.libvirt.hooks_tokens import UnreadableError
from qlaunch.libvirt.hooks_words import UNKNOWN

__all__ = ["Hooks", "read", "read_folder"]

# In the order in which libvirt runs them.
_PHASES = (("prepare", "begin"), ("start", "begin"), ("started", "begin"), ("stopped", "end"), ("release", "end"))
_SCRIPTS = re.compile(r"(?:.*/)?(?:qemu|qemu\.d/[^/]+)", re.ASCII)
_OTHERS = ("network.d", "lxc.d", "libxl.d", "daemon.d")  # what belongs to no domain of QEMU
_PATIENCE_S = 60  # for a script that sleeps: libvirt waits for ever, and a hook only for a while
_DISPATCHER = re.compile(r"qemu\.d|\$\{?(?:HOOKPATH|BASEDIR)\b")


class Hooks(msgspec.Struct, frozen=True):
    """Tables of a machine file by their sections, ``[[hook]]`` tables, and what is told of each line."""

    keys: dict[str, Any]
    hooks: list[dict[str, Any]]
    findings: list[Problem]


class _Script(msgspec.Struct, frozen=True, kw_only=True):
    """One script in one phase."""

    path: str
    text: str
    name: str  # of the domain, or UNKNOWN
    operation: str
    sub: str

    @property
    def starts(self) -> bool:
        """Whether it runs before the guest is up."""
        return self.sub == "begin"


def read(files: Mapping[str, str], name: str | None = None, folder: str = "") -> Hooks:
    """Read hook scripts by their paths below ``folder``, which libvirt has as ``/etc/libvirt/hooks``.

    With a domain's ``name``, scripts of other domains are told and left out.
    """
    findings: list[Problem] = []
    scripts = _scripts(files, name, findings)
    used: set[str] = set()  # by a script, with source
    events = [(script, event) for script in scripts for event in _events(script, sources(files, used), findings)]
    begun = {(fact.key, fact.item) for script, event in events if script.starts for fact in event.facts or ()}
    kept: list[tuple[_Script, Event]] = []
    taken: list[Fact] = []
    for script, event in events:
        facts = event.facts
        if facts is None or (not script.starts and any(_unmatched(fact, begun) for fact in facts)):
            kept.append((script, event))
            continue
        taken += facts if script.starts else ()
        findings += _told(script, event, facts)
    understood = {script.path for script, event in events if any(fact.key for fact in event.facts or ())}
    hooks, told = _hooks(kept, understood, folder)
    keys, clashes = keys_of(taken)
    findings += _silent(files, scripts, used, {problem.where.rpartition(":")[0] for problem in (*findings, *told)})
    unique = {(problem.where, problem.message): problem for problem in (*findings, *told, *clashes)}
    return Hooks(keys, hooks, sorted(unique.values(), key=_by_place))


def _scripts(files: Mapping[str, str], name: str | None, findings: list[Problem]) -> list[_Script]:
    found = []
    for operation, sub in _PHASES:
        for path in sorted(files):
            parts = path.split("/")
            at = next((at for at, pair in enumerate(pairwise(parts)) if pair == (operation, sub)), None)
            if at is not None and parts[0] not in _OTHERS:
                domain = parts[at - 1] if at and parts[at - 1] != "qemu.d" else name or UNKNOWN
                if name in (None, domain):
                    found.append(_Script(path=path, text=files[path], name=domain, operation=operation, sub=sub))
                elif sub == "begin":
                    findings.append(_finding(path, 1, "hook-other", "", f"is of the domain {domain}, and left out"))
            elif _SCRIPTS.fullmatch(path) and not _is_dispatcher(path, files[path], findings):
                domain = name or UNKNOWN
                found.append(_Script(path=path, text=files[path], name=domain, operation=operation, sub=sub))
    return found


def _silent(files: Mapping[str, str], scripts: list[_Script], used: set[str], told: set[str]) -> Iterator[Problem]:
    """Tell of each file of which there was nothing to tell, so that none is dropped in silence."""
    mine = {script.path for script in scripts}
    for path in sorted(set(files) - used - told):
        what = "does nothing but set variables" if path in mine else "is no script that libvirt runs for this domain"
        yield _finding(path, 1, "hook-needless" if path in mine else "hook-other", "", what)


def _is_dispatcher(path: str, text: str, findings: list[Problem]) -> bool:
    if path.rpartition("/")[2] != "qemu" or not _DISPATCHER.search(text):
        return False
    told = _finding(path, 1, "hook-needless", "", "runs the scripts below qemu.d, which are read here one by one")
    if told not in findings:
        findings.append(told)
    return True


def _events(script: _Script, files: Callable[[str], str | None], findings: list[Problem]) -> list[Event]:
    arguments = [script.path, script.name, script.operation, script.sub, "-"]
    try:
        return Walk(script.text, arguments, files, starts=script.starts).run()
    except (UnreadableError, RecursionError) as error:
        message = f"is not understood ({error}), and runs as it is"
        findings.append(_finding(script.path, 1, "hook-unread", "hook", message, severity="warning"))
        return [Event(line=1, text="", facts=None)]


def _unmatched(fact: Fact, begun: set[tuple[str, str]]) -> bool:
    return bool(fact.key) and fact.key != "pci" and (fact.key, fact.item) not in begun


def _told(script: _Script, event: Event, facts: tuple[Fact, ...]) -> list[Problem]:
    """Tell what becomes of a line; one that only prints, tests or steers is not worth a word."""
    keys = ", ".join(dict.fromkeys(fact.key for fact in facts if fact.key))
    if keys and script.starts:
        return [_finding(script.path, event.line, "hook-key", keys, f"{_first_line(event.text)}: said by {keys}")]
    note = f"{keys} is given back at the end by itself" if keys else next((fact.note for fact in facts), "")
    message = f"{_first_line(event.text)}: not needed, {note}"
    return [_finding(script.path, event.line, "hook-needless", "", message)] if note else []


def _hooks(
    kept: list[tuple[_Script, Event]], understood: set[str], folder: str
) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Give the hooks: a script of which nothing is understood runs as it is, else line by line what is left of it."""
    hooks: list[dict[str, Any]] = []
    findings = []
    done: set[tuple[str, str, int]] = set()
    for script, event in kept:
        by_line = script.path in understood and bool(event.text)
        place = (script.path, script.operation, event.block if by_line else 0)
        if place in done:
            continue
        done.add(place)
        if by_line:
            shell = "bash" if "bash" in script.text.partition("\n")[0] else "sh"
            words, what = [shell, "-c", event.alone], f"{_first_line(event.text)}: kept as a hook"
        else:
            path = f"{folder.rstrip('/')}/{script.path}" if folder else script.path
            words = [path, "guest" if script.name == UNKNOWN else script.name, script.operation, script.sub, "-"]
            what = "nothing of it has a key of its own; it is kept as a hook, and runs where it is"
        late = "; libvirt ran it once the guest was up, a hook runs before" if script.operation == "started" else ""
        line = event.block if by_line else 1
        findings.append(_finding(script.path, line, "hook-kept", "hook", what + late, severity="warning"))
        waits = "sleep" in (event.alone if by_line else script.text)
        hooks.append({"start" if script.starts else "stop": words} | ({"timeout_s": _PATIENCE_S} if waits else {}))
    return hooks, findings


def _first_line(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return line if len(line) <= 60 and line == text.strip() else line[:60] + " …"


def _finding(  # noqa: PLR0913 - they are a sentence
    path: str, line: int, code: str, key: str, message: str, *, severity: Severity = "info"
) -> Problem:
    return Problem(code=code, key=key, where=f"{path}:{line}", message=message, severity=severity)


def _by_place(problem: Problem) -> tuple[str, int]:
    path, _, line = problem.where.rpartition(":")
    return path, int(line or "0")
