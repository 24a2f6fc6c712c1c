"""The helpers that QEMU itself needs: swtpm for a TPM, virtiofsd for each shared folder.

Their sockets are made by the supervisor, so QEMU can connect however late they are. They end as the last thing of the
machine, by the undo of their step: neither has to notice that QEMU has gone.

Source: ``swtpm(8)`` (--ctrl with fd=; the state of a TPM is written as it changes), virtiofsd's README (--fd; its own
sandbox, which needs no root), QEMU's ``docs/specs/tpm.rst``.
"""

from collections.abc import Iterator

from qlaunch.errors import Problem
from qlaunch.machine.sidecar import MARK, SidecarSpec
from qlaunch.preparation.wish import Wish


def helpers(wish: Wish) -> Iterator[SidecarSpec]:
    """Yield the helpers of a machine, with the names of their sockets as QEMU's options have them."""
    programs = wish.facts.software.programs
    if tpm := wish.machine.tpm:
        kind = ["--tpm2"] if tpm.version == "2.0" else []
        state = ["--tpmstate", f"dir={wish.state}/tpm,mode=0600"]
        argv = [programs.get("swtpm", "swtpm"), "socket", *kind, "--ctrl", "type=unixio,fd={fd}", *state]
        yield _spec(wish, "swtpm", "swtpm", argv, f"{wish.state}/tpm")
    for number, share in enumerate(wish.machine.share):
        if share.type == "virtiofs":
            program = programs.get("virtiofsd", "virtiofsd")
            # QEMU's own of before 8.0 lies there, and has other options.
            is_old = program.startswith("/usr/lib/qemu/")
            folder = ["-o", f"source={share.path}"] if is_old else ["--shared-dir", share.path]
            argv = [program, "--fd={fd}", *folder, *(["--readonly"] if share.read_only else [])]
            yield _spec(wish, f"virtiofsd{number}", f"share{number}", argv)


def refusals(wish: Wish) -> Iterator[Problem]:
    """Yield programs that are not installed, and shared folders that are none."""
    programs, tree = wish.facts.software.programs, wish.facts.tree
    if wish.machine.tpm and "swtpm" not in programs:
        message = "a TPM needs swtpm, which is not installed"
        yield Problem(code="no-swtpm", key="tpm", message=message, hint="install swtpm, or take out [tpm]")
    if any(share.type == "virtiofs" for share in wish.machine.share) and "virtiofsd" not in programs:
        message = "virtiofs needs virtiofsd, which is not installed"
        yield Problem(code="no-virtiofsd", key="share", message=message, hint='install it, or say type = "9p"')
    for number, share in enumerate(wish.machine.share):
        if tree.names(share.path) is None:
            message = f"{share.path} {'is no folder' if tree.exists(share.path) else 'does not exist'}"
            yield Problem(code="no-folder", key=f"share.{number}.path", message=message, hint="make it")


def _spec(wish: Wish, name: str, socket: str, argv: list[str], folder: str | None = None) -> SidecarSpec:
    return SidecarSpec(
        name=name,
        argv=argv,
        mark=f"{MARK}={wish.runtime}/{name}",
        log=f"{wish.state}/{name}.log",
        user=wish.machine.host.user,
        socket=f"{wish.runtime}/{socket}.sock",
        listens_for_it=True,
        before_qemu=True,
        folder=folder,
    )
