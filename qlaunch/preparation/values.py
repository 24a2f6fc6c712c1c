"""What ``[host]`` names itself: values of /sys and /proc/sys, modules, consoles."""

from collections.abc import Iterable, Iterator

from qlaunch.errors import Problem
from qlaunch.machine.keys import join_key
from qlaunch.preparation.pci import wanted
from qlaunch.preparation.wish import Wish
from qlaunch.steps.step import Step

_CONSOLES = "/sys/class/vtconsole"


def steps(wish: Wish) -> Iterator[Step]:
    """Yield them in the order of what depends on what: consoles let go of a card before its modules are unloaded."""
    side = wish.machine.host
    consoles = _consoles(wish) if side.vtconsoles == "unbind" else []
    if consoles:
        claims = dict.fromkeys(consoles, "0")
        yield Step(kind="vtconsole", summary="consoles unbound", claims=claims, lane="devices/pci")
    framebuffers = _boot_framebuffers(wish) if side.vtconsoles == "unbind" else []
    if framebuffers:
        claims = dict.fromkeys(framebuffers, "unbound")
        yield Step(kind="framebuffer", summary="the boot framebuffer off the card", claims=claims, lane="devices/pci")
    if side.modules.unload:
        claims = dict.fromkeys(side.modules.unload, "unloaded")
        names = ", ".join(side.modules.unload)
        yield Step(kind="module", summary=f"without the modules {names}", claims=claims, lane="devices")
    if side.modules.load:
        claims = dict.fromkeys(side.modules.load, "loaded")
        names = ", ".join(side.modules.load)
        yield Step(kind="module", summary=f"with the modules {names}", claims=claims, lane="devices")
    files = dict(side.sysfs)
    files |= {_sysctl(name): value for name, value in side.sysctl.items()}
    for path, value in files.items():
        lane = "devices" if _is_of(path, side.modules.load) else "values"
        yield Step(kind="sysfs", summary=f"{path} = {value}", claims={path: value}, lane=lane)


def refusals(wish: Wish) -> Iterator[Problem]:
    """Yield files that this kernel does not have."""
    side = wish.machine.host
    wanted = [(join_key(("host", "sysfs", path)), path) for path in side.sysfs]
    wanted += [(join_key(("host", "sysctl", name)), _sysctl(name)) for name in side.sysctl]
    loaded = (*side.modules.load, *side.modules.unload)
    for key, path in wanted:
        # A parameter of a module that is loaded first is not there yet.
        if not wish.facts.tree.exists(path) and not _is_of(path, loaded):
            yield Problem(code="no-file", key=key, message=f"this kernel has no {path}", hint="take it out")


def _is_of(path: str, modules: Iterable[str]) -> bool:
    """Whether a file is a module's, such as a parameter."""
    return any(path.startswith(f"/sys/module/{name.replace('-', '_')}/") for name in modules)


def _sysctl(name: str) -> str:
    """Give the file of a sysctl name; dots and slashes change places, as sysctl(8) has it."""
    return "/proc/sys/" + name.translate(str.maketrans("./", "/."))


def _consoles(wish: Wish) -> list[str]:
    """Give the bind files of consoles that are bound to a framebuffer."""
    tree = wish.facts.tree
    return [
        f"{_CONSOLES}/{name}/bind"
        for name in tree.listdir(_CONSOLES)
        if "frame buffer" in (tree.read(f"{_CONSOLES}/{name}/name") or "")
        and tree.read(f"{_CONSOLES}/{name}/bind") == "1"
    ]


def _boot_framebuffers(wish: Wish) -> list[str]:
    """Give what the firmware left on a card that goes to the guest: nothing where another card shows the host."""
    facts = wish.facts.framebuffers
    given = {device.address for pci in wish.machine.pci for device in wanted(wish, pci)}
    return list(facts.firmware) if any(holder.boot and holder.address in given for holder in facts.holders) else []
