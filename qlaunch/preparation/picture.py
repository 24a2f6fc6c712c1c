"""What the guest's picture needs of the host: Looking Glass' shared memory, a folder for the socket of SPICE or VNC.

Source: Looking Glass' documentation (the client's user must be able to open the file; kvmfr's ``static_size_mb``).
"""

from collections.abc import Iterator

from qlaunch.devices.display import KVMFR, looking_glass_path
from qlaunch.errors import Problem
from qlaunch.host.account import ids_of, is_self, uid_of
from qlaunch.preparation.wish import Wish
from qlaunch.steps.own_file import file_claim, folder_claim
from qlaunch.steps.step import Step

_SIZE_OF_KVMFR = "/sys/module/kvmfr/parameters/static_size_mb"


def steps(wish: Wish) -> Iterator[Step]:
    """Yield the shared file, and the folder in which QEMU's user makes a socket."""
    display, tree = wish.machine.display, wish.facts.tree
    if display.looking_glass and display.looking_glass_path is None:
        qemu = ids_of(tree, wish.machine.host.user)
        client = ids_of(tree, display.looking_glass_user or wish.machine.host.user)
        if qemu and client:
            # QEMU reaches it as root, as the same user, or by its own group.
            mode = 0o600 if qemu[0] in (0, client[0]) else 0o660
            claims = {looking_glass_path(wish.name): file_claim(int(display.looking_glass), client[0], qemu[1], mode)}
            yield _step("shared memory of Looking Glass", claims, needs_root=client != ids_of(tree, None))
    folder, ids = socket_folder(wish), ids_of(tree, wish.machine.host.user)
    if folder and ids:
        yield _step("a folder for the display's socket", {folder: folder_claim(*ids, 0o700)}, needs_root=True)


def socket_folder(wish: Wish) -> str | None:
    """Give the folder for the display's socket, where QEMU's user has none; None where qlaunch's own does."""
    user, tree = wish.machine.host.user, wish.facts.tree
    if wish.machine.display.type not in ("spice", "vnc") or user is None or uid_of(tree, user) is None:
        return None
    return None if is_self(tree, user) else f"{wish.state}/display"


def refusals(wish: Wish) -> Iterator[Problem]:
    """Yield a user of the client who does not exist, and a kvmfr that is not there or has another size."""
    display, tree = wish.machine.display, wish.facts.tree
    if not display.looking_glass:
        return
    user = display.looking_glass_user
    if user and uid_of(tree, user) is None:
        message = f"there is no user {user} on this host"
        yield Problem(code="no-user", key="display.looking_glass_user", message=message, hint="see: getent passwd")
    path = display.looking_glass_path
    if path is None:
        return
    wanted = int(display.looking_glass) >> 20
    if not tree.exists(path):
        hint = f"modprobe kvmfr static_size_mb={wanted}; or leave the key out for a shared file"
        message = f"there is no {path}: the module kvmfr of Looking Glass is not loaded"
        yield Problem(code="no-kvmfr", key="display.looking_glass_path", message=message, hint=hint)
        return
    sizes = (tree.read(_SIZE_OF_KVMFR) or "").split(",")
    number = path.removeprefix(KVMFR)
    size = sizes[int(number)] if number.isdigit() and int(number) < len(sizes) else ""
    if size.isdigit() and int(size) not in (0, wanted):
        hint = f'write looking_glass = "{size}M", or load it with static_size_mb={wanted}'
        message = f"{path} has {size} MiB, and not {wanted}"
        yield Problem(code="kvmfr-size", key="display.looking_glass", message=message, hint=hint)


def _step(summary: str, claims: dict[str, str], *, needs_root: bool) -> Step:
    return Step(kind="own-file", summary=summary, claims=claims, lane="devices", needs_root=needs_root)
