"""Keyboards and mice that host and guest share: QEMU's user may open them, and what stands against it."""

from collections.abc import Iterator

from qlaunch.errors import Problem
from qlaunch.host.account import is_self, uid_of
from qlaunch.host.input import EventDevice
from qlaunch.host.permissions import may_open, what_lacks
from qlaunch.preparation.wish import Wish
from qlaunch.steps.input import AS_IT_IS, step_for
from qlaunch.steps.owner import claim_for
from qlaunch.steps.step import Step


def steps(wish: Wish) -> Iterator[Step]:
    """Yield the claim of each device that is plugged in; the others are waited for."""
    for evdev in wish.machine.evdev:
        device = _found(wish, evdev.path)
        if device:
            yield step_for(evdev.path, device.event, _claim(wish, device.event))


def refusals(wish: Wish) -> Iterator[Problem]:
    """Yield devices that are not there, no event devices, or not to be opened."""
    for number, evdev in enumerate(wish.machine.evdev):
        key, path, tree = f"evdev.{number}.path", evdev.path, wish.facts.tree
        if _found(wish, path) is None:
            if tree.exists(path):
                message = f"{path} is no event device"
                yield Problem(code="no-evdev", key=key, message=message, hint="see: ls -l /dev/input/by-id")
            elif not evdev.optional:
                names = [name for device in wish.facts.inputs for name in device.by_id]
                hint = f"there are: {', '.join(names)}" if names else "plug it in, or say optional = true"
                yield Problem(code="no-evdev", key=key, message=f"{path} is not there", hint=hint)
        elif may_open(tree, path, None) is False:
            hint = "run as root, or: usermod -aG input $USER, and log in again"
            yield Problem(code="no-access", key=key, message=f"you may not open {path}", hint=hint)


def _claim(wish: Wish, node: str) -> str:
    tree, user = wish.facts.tree, wish.machine.host.user
    uid = uid_of(tree, user) if user and not is_self(tree, user) else None
    return (claim_for(what_lacks(tree, node, user), uid) if user and uid else None) or AS_IT_IS


def _found(wish: Wish, path: str) -> EventDevice | None:
    # A rule of the user's own may have made another link.
    target = f"/dev/input/{wish.facts.tree.linked_name(path)}"
    for device in wish.facts.inputs:
        if path in (device.event, *device.by_id, *device.by_path) or target == device.event:
            return device
    return None
