"""QMP events in words. Pure.

Source: QEMU's ``qapi/run-state.json``, ``qapi/block-core.json``, ``qapi/qdev.json``, ``qapi/char.json``,
``qapi/net.json``.
"""

from collections.abc import Callable, Mapping
from typing import Any

Data = Mapping[str, Any]


def describe(name: str, data: Data) -> str | None:
    """Say what an event means, or None for one that concerns nobody (RTC_CHANGE, the supervisor's own STOP …)."""
    words = _WORDS.get(name)
    return words(data) if words else None


def _shutdown(data: Data) -> str | None:
    return {
        "guest-shutdown": "the guest powered off",
        "guest-reset": "the guest asked for a reset, and on_reboot says stop",
        "guest-panic": "the guest panicked",
        "host-ui": "the display window was closed",
        "host-error": "QEMU stopped because of an error of the host",
    }.get(str(data.get("reason")))


def _reset(data: Data) -> str | None:
    return "the guest was reset by itself" if data.get("guest") else "the guest was reset from outside"


def _panicked(data: Data) -> str:
    info = data.get("info") or {}
    detail = f" ({info['type']})" if isinstance(info, Mapping) and info.get("type") else ""
    return f"the guest panicked{detail}"


def _io_error(data: Data) -> str:
    node = data.get("node-name") or data.get("device") or "a disk"
    full = ": no space left on the host" if data.get("nospace") else ""
    reason = f": {data['reason']}" if data.get("reason") and not full else ""
    stopped = "; the guest is paused, resume it when the cause is mended" if data.get("action") == "stop" else ""
    return f"I/O error on {node} while the guest tried to {data.get('operation', 'use it')}{full or reason}{stopped}"


def _agent(data: Data) -> str | None:
    if data.get("id") != "agent0":
        return None
    return "the guest agent is there" if data.get("open") else "the guest agent is gone"


_WORDS: dict[str, Callable[[Data], str | None]] = {
    "SHUTDOWN": _shutdown,
    "RESET": _reset,
    "POWERDOWN": lambda _: "the power button was pressed",
    "GUEST_PANICKED": _panicked,
    "GUEST_CRASHLOADED": lambda _: "the guest panicked and loads its crash kernel",
    "WATCHDOG": lambda data: f"the watchdog fired; action: {data.get('action', 'none')}",
    "SUSPEND": lambda _: "the guest went to sleep",
    "WAKEUP": lambda _: "the guest woke up",
    "BLOCK_IO_ERROR": _io_error,
    "BLOCK_IMAGE_CORRUPTED": lambda data: (
        f"the image of {data.get('node-name') or data.get('device')} is corrupted: {data.get('msg')}"
    ),
    "MEMORY_FAILURE": lambda data: f"a memory error hit {data.get('recipient', 'the guest')}: {data.get('action')}",
    "DEVICE_DELETED": lambda data: f"{data['device']} was removed" if data.get("device") else None,
    "DEVICE_UNPLUG_GUEST_ERROR": lambda data: (
        f"the guest refused to give {data.get('device') or data.get('path')} back"
    ),
    "VSERPORT_CHANGE": _agent,
    "NETDEV_STREAM_DISCONNECTED": lambda data: (
        f"passt is gone, and with it the guest's way out by {str(data.get('netdev-id')).removesuffix('-host')}"
    ),
}
