"""`qlaunch screenshot|sendkey|eject|resize|balloon NAME`: what people do to a machine that runs, by QMP.

Source: ``qapi/ui.json`` (screendump, send-key), ``qapi/block.json`` (eject, blockdev-change-medium),
``qapi/block-core.json`` (block_resize), ``qapi/machine.json`` (balloon).
"""

import argparse
import os
from collections.abc import Callable
from contextlib import suppress

from qlaunch.cli.keys import combination, typed
from qlaunch.cli.machines import control_socket
from qlaunch.errors import HostError, UsageError
from qlaunch.run.blocks import find_drive, find_node
from qlaunch.run.request import execute
from qlaunch.values.size import Size

Ask = Callable[..., object]


def run(options: argparse.Namespace) -> int:
    """Do what the verb says."""
    socket = control_socket(options.name)

    def ask(command: str, **arguments: object) -> object:
        given = {key.replace("_", "-"): value for key, value in arguments.items() if value is not None}
        return execute(socket, command, given)

    _VERBS[options.verb](ask, options)
    return 0


def _screenshot(ask: Ask, options: argparse.Namespace) -> None:
    path = os.path.abspath(options.file)
    if not os.path.isdir(os.path.dirname(path)):
        raise HostError(f"there is no folder {os.path.dirname(path)}")
    temporary = f"{path}.new"
    try:
        ask("screendump", filename=temporary, format="png", head=options.head)
        os.replace(temporary, path)
    except OSError as error:
        raise HostError(f"cannot write {path}: {(error.strerror or '').lower()}") from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def _sendkey(ask: Ask, options: argparse.Namespace) -> None:
    strokes = [*map(combination, options.keys), *typed(options.text.replace("\\n", "\n"))]
    if not strokes:
        raise UsageError("sendkey wants KEYS or --text", "example: qlaunch sendkey gaming ctrl-alt-f2")
    for stroke in strokes:
        ask("send-key", keys=[{"type": "qcode", "data": key} for key in stroke], hold_time=options.hold)


def _eject(ask: Ask, options: argparse.Namespace) -> None:
    drive = find_drive(ask("query-block"), options.device)
    if not options.insert:
        ask("eject", id=drive, force=options.force)
        return
    path = os.path.abspath(options.insert)
    if not os.path.exists(path):
        raise HostError(f"there is no file {path}")
    ask(
        "blockdev-change-medium", id=drive, filename=path, format="raw", read_only_mode="read-only", force=options.force
    )


def _resize(ask: Ask, options: argparse.Namespace) -> None:
    size = _size(options.size)
    node, now = find_node(ask("query-block"), options.device)
    if size < now:
        message = f"{options.device} has {Size(now)}, and would lose what lies beyond {size}"
        raise UsageError(message, "a disk only grows here; shrink one with qemu-img, while the machine is off")
    ask("block_resize", node_name=node, size=int(size))


def _balloon(ask: Ask, options: argparse.Namespace) -> None:
    if options.size is None:
        told = ask("query-balloon")
        print(Size(told["actual"] if isinstance(told, dict) else 0))
        return
    ask("balloon", value=int(_size(options.size)))


def _size(text: str) -> Size:
    try:
        return Size.parse(text)
    except ValueError as error:
        raise UsageError(str(error)) from error


_VERBS: dict[str, Callable[[Ask, argparse.Namespace], None]] = {
    "screenshot": _screenshot,
    "sendkey": _sendkey,
    "eject": _eject,
    "resize": _resize,
    "balloon": _balloon,
}
