"""Whether the user that QEMU runs as may open input devices and the sound server, and lock the guest's memory.

Source: ``getrlimit(2)``; VFIO pins all of the guest's memory, and counts it against the limit.
"""

import os
from collections.abc import Iterator

from qlaunch.check.question import Question
from qlaunch.check.result import Check, failed, passed, unknown
from qlaunch.host.permissions import is_root, may_open
from qlaunch.host.tree import whole_number

TITLE = "Permissions"
# Beside the guest's memory: what the devices' own memory and tables need.
_SLACK = 1 << 30


def checks(question: Question) -> Iterator[Check]:
    """Yield the checks."""
    yield from _evdev(question)
    yield from _sound(question)
    if question.passes_devices:
        yield _memlock(question)


def _evdev(question: Question) -> Iterator[Check]:
    tree = question.facts.tree
    known = {path for device in question.facts.inputs for path in (device.event, *device.by_id, *device.by_path)}
    for evdev in question.machine.evdev if question.machine else ():
        path = evdev.path
        if path not in known and not tree.exists(path):
            where = "see: ls -l /dev/input/by-id"
            yield failed("evdev", f"{path} is not there", where)
            continue
        allowed = may_open(tree, path, question.user)
        if allowed is None:
            yield unknown("evdev", f"{path} is there; who may open it is not to be seen here")
        elif allowed:
            yield passed("evdev", f"{path} may be opened")
        elif question.lets_in(path):
            yield passed("evdev", f"{path} is there; {question.user} is let in while the machine runs")
        else:
            who = question.user or "you"
            hint = f"run: usermod -aG input {question.user or '$USER'}, and log in again"
            yield failed("evdev", f"{who} may not open {path}", hint)


def _sound(question: Question) -> Iterator[Check]:
    audio = question.machine.audio if question.machine else None
    if audio is None or audio.backend not in ("pipewire", "pulse"):
        return
    uid = _uid(question)
    if uid is None:
        yield unknown("sound", "whose sound server is to be used is not to be seen here")
        return
    name = "pipewire-0" if audio.backend == "pipewire" else "pulse/native"
    path = f"/run/user/{uid}/{name}"
    if question.facts.tree.exists(path):
        yield passed("sound", f"the sound server listens on {path}")
    else:
        hint = f"log in as {question.user or 'the user'}, or run: loginctl enable-linger {question.user or '$USER'}"
        yield failed("sound", f"no sound server: {path} is not there", hint, "warning")


def _uid(question: Question) -> int | None:
    if not question.facts.tree.live:
        return None
    if question.user is None:
        return os.getuid()
    import pwd  # noqa: PLC0415 - few machines name a user

    try:
        return pwd.getpwnam(question.user).pw_uid
    except KeyError:
        return None


def _memlock(question: Question) -> Check:
    tree = question.facts.tree
    needed = (int(question.machine.memory.size) if question.machine else 0) + _SLACK
    if is_root(tree):
        return passed("memlock", "root raises the limit of locked memory by itself")
    line = next((line for line in tree.lines("/proc/self/limits") if line.startswith("Max locked memory")), "")
    word = (line.split() or ["", ""])[-2] if line else ""
    limit = whole_number(word)
    if word == "unlimited" or (limit is not None and limit >= needed):
        return passed("memlock", f"{needed >> 20} MiB of memory may be locked")
    if limit is None:
        return unknown("memlock", "the limit of locked memory is not to be seen here")
    hint = f"run as root, or put '{question.user or '*'} hard memlock {needed >> 10}' into /etc/security/limits.d"
    return failed("memlock", f"{limit >> 20} MiB of memory may be locked, and {needed >> 20} are needed", hint)
