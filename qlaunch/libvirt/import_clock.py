"""``clock`` with its timers.

Source: libvirt's ``docs/formatdomain.rst``, "Time keeping"; ``src/qemu/qemu_command.c``, ``qemuBuildClockCommandLine``.
"""

from qlaunch.libvirt.import_draft import Draft, shown
from qlaunch.libvirt.import_node import Node
from qlaunch.libvirt.import_places import Places


def clock(draft: Draft, places: Places) -> None:
    """Read the clock. A timer that is not named is as QEMU has it, and QEMU has an HPET."""
    del places
    node = draft.root.one("clock")
    if node is not None:
        _offset(draft, node)
    timers: dict[str, Node] = {}
    for timer in node.each("timer") if node else []:
        name = timer.get("name") or ""
        if name in timers:
            draft.lost(timer, f"the timer {shown(name)} stands there twice")
        timers.setdefault(name, timer)
    hpet = draft.flag(timers.get("hpet"), "present")
    draft.set(timers.get("hpet", draft.root), "clock", "hpet", hpet is not False)
    for name, timer in timers.items():
        _timer(draft, name, timer)


def _offset(draft: Draft, node: Node) -> None:
    offset = node.get("offset") or "utc"
    other = {"timezone": "timezone", "absolute": "start", "variable": "basis"}
    draft.idle(
        node, f"is not for a clock that is {shown(offset)}", *(name for kind, name in other.items() if kind != offset)
    )
    base = node.get("basis") if offset == "variable" else offset
    adjustment = node.get("adjustment")
    match offset:
        case "utc" | "localtime":
            if adjustment not in (None, "0", "reset"):
                draft.idle(node, "is kept by libvirt between runs", "adjustment")
        case "variable":
            if adjustment not in (None, "0", "reset"):
                message = f"the clock starts from the host's, and {shown(adjustment)} s of difference are not kept"
                draft.differs(node, message, ("clock", "base"), "adjustment")
            base = "localtime" if base == "localtime" else "utc"
        case "timezone":
            zone = node.get("timezone") or ""
            message = f"the host's own time zone is shown; libvirt asked for {shown(zone)}"
            draft.differs(node, message, ("clock", "base"), "timezone")
            base = "localtime"
        case _:
            node.get("start")
            draft.asks(
                node, f'a clock that is "{shown(offset)}" has no key; UTC is written', ("clock", "base"), "offset"
            )
            base = "utc"
    draft.set(node, "clock", "base", base)


def _timer(draft: Draft, name: str, timer: Node) -> None:
    present = draft.flag(timer, "present")
    match name:
        case "rtc":
            _rtc(draft, timer)
        case "pit":
            _pit(draft, timer)
            if present is False:
                draft.lost(timer, "boards of QEMU's have a PIT", "present")
        case "hpet":
            draft.idle(timer, "the HPET has no policy of its own", "tickpolicy")
        case "kvmclock":
            draft.set(timer, "clock", "kvmclock", present)
        case "hypervclock":
            if draft.tables.get("cpu", {}).get("hyperv", {}).get("preset") != "passthrough" and present is not None:
                draft.set(timer, "cpu.hyperv", "time", present)
        case "tsc":
            _tsc(draft, timer)
        case _:
            draft.lost(timer, f'the timer "{shown(name)}" is not for QEMU on x86')
    draft.lost(timer.one("catchup"), "QEMU itself decides how fast it catches up")
    unread = [detail for detail in ("tickpolicy", "frequency", "mode", "track") if detail not in timer.read]
    if unread:
        draft.idle(timer, "is not for this timer", *unread)


def _rtc(draft: Draft, timer: Node) -> None:
    policy = timer.get("tickpolicy")
    draft.set(timer, "clock", "rtc_catchup", True if policy == "catchup" else None)
    track = draft.choice(timer, "track", {"guest": "guest", "wall": "wall", "realtime": "realtime"})
    draft.set(timer, "clock", "track", track)
    if policy not in (None, "catchup", "delay"):
        draft.asks(timer, f'"{shown(policy)}" has no counterpart', ("clock",), "tickpolicy")


def _pit(draft: Draft, timer: Node) -> None:
    policy = timer.get("tickpolicy")
    if policy in ("delay", "discard"):
        draft.set(timer, "clock", "pit", policy)
    elif policy is not None:
        draft.differs(timer, f'"{shown(policy)}" is what KVM does not do', ("clock", "pit"), "tickpolicy")


def _tsc(draft: Draft, timer: Node) -> None:
    draft.idle(timer, "libvirt does nothing with it for QEMU; what counts is the CPU feature invtsc", "mode")
    draft.idle(timer, "libvirt does nothing with it for QEMU", "present", "tickpolicy", "track")
    hertz = draft.number(timer, "frequency", 1000)
    if hertz:
        draft.set(timer, "clock", "tsc_khz", hertz // 1000)
        if hertz % 1000:
            draft.differs(timer, "is rounded to kHz", ("clock", "tsc_khz"), "frequency")
