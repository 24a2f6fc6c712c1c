"""Services that are stopped for a machine, as steps, and what stands against it."""

from collections.abc import Iterator

from qlaunch.errors import Problem
from qlaunch.host.account import uid_of
from qlaunch.host.display_manager import DISPLAY_MANAGER, read_display_manager
from qlaunch.host.tree import Tree
from qlaunch.preparation.wish import Wish
from qlaunch.steps.service import INACTIVE
from qlaunch.steps.step import Step

_IRQBALANCE = "/run/irqbalance"
_BUS = "/run/dbus/system_bus_socket"
# systemd.unit(5), "Unit File Load Path", and what generators and other programs make there.
_RUN = "/run/systemd"
_UNITS = (
    *("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"),
    *("/lib/systemd/system", f"{_RUN}/generator", f"{_RUN}/generator.early", f"{_RUN}/generator.late"),
    *(f"{_RUN}/transient", f"{_RUN}/system.control", "/etc/systemd/system.control"),
)


def steps(wish: Wish) -> Iterator[Step]:
    """Yield the services that are named, and irqbalance where it would undo what is done to interrupts."""
    side = wish.machine.host
    if side.services.stop:
        claims = dict.fromkeys(side.services.stop, INACTIVE)
        # A login screen holds no network card: virtual functions are made while it stops.
        only_draw = claims.keys() <= {DISPLAY_MANAGER, read_display_manager(wish.facts.tree)}
        lane = "devices/pci" if only_draw else "devices"
        yield Step(kind="service", summary=f"without {', '.join(claims)}", claims=claims, lane=lane)
    if _irqbalance_moves_back(wish) and wish.facts.cgroups.systemd:
        claims = {"irqbalance.service": INACTIVE}
        yield Step(
            kind="service", summary="without irqbalance, which would move interrupts back", claims=claims, lane="cpu"
        )


def refusals(wish: Wish) -> Iterator[Problem]:
    """Yield a host without systemd or D-Bus, and units that it does not know."""
    tree, stop, key = wish.facts.tree, wish.machine.host.services.stop, "host.services.stop"
    if _irqbalance_moves_back(wish) and not wish.facts.cgroups.systemd:
        message = "irqbalance runs, and moves interrupts back to the guest's CPUs"
        hint = "stop it, by a [[hook]] for example"
        yield Problem(code="irqbalance", key="host.irq", message=message, hint=hint, severity="warning")
    if not stop:
        return
    if not wish.facts.cgroups.systemd:
        message = "needs systemd, which does not run this host"
        yield Problem(code="no-systemd", key=key, message=message, hint="stop them by a [[hook]] instead")
        return
    if tree.live and not tree.exists(_BUS):
        message = f"needs D-Bus to speak to systemd, and there is no {_BUS}"
        yield Problem(code="no-dbus", key=key, message=message, hint="systemctl start dbus.socket")
    for unit in stop:
        user, slash, _ = unit.partition("/")
        if slash and uid_of(tree, user) is None:
            yield Problem(code="no-user", key=key, message=f"{unit}: there is no user {user} on this host")
        elif "." not in unit:
            hint = f'write "{unit}.service"'
            yield Problem(code="no-unit", key=key, message=f"{unit!r} does not say what kind of unit it is", hint=hint)
        elif not slash and not _is_known(tree, unit):
            hint = "see: systemctl list-unit-files"
            yield Problem(code="no-unit", key=key, message=f"there is no unit {unit} on this host", hint=hint)


def _irqbalance_moves_back(wish: Wish) -> bool:
    return bool(wish.machine.host.irq and wish.vcpu_cpus and wish.facts.tree.exists(_IRQBALANCE))


def _is_known(tree: Tree, unit: str) -> bool:
    """Whether a unit has a file, as itself or as an instance of a template."""
    prefix, at, rest = unit.partition("@")
    names = [unit, f"{prefix}@.{rest.rpartition('.')[2]}"] if at else [unit]
    # An alias is a link to another unit, whose file a captured tree may not have.
    return any(
        tree.exists(f"{folder}/{name}") or tree.readlink(f"{folder}/{name}") for folder in _UNITS for name in names
    )
