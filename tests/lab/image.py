"""Builds the lab's image and keeps it: a disk with a whole Debian, its kernel, and the emulator that runs it.

The emulator is the image's own, started through its own loader: what this machine has installed plays no part, and no
root is needed to run it. What is built lies under ``images/KEY`` of the cache, and KEY follows from what it is made
of (recipe.py).
"""

import contextlib
import lzma
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import IO, NamedTuple

from tests.lab import cache, debian, initramfs, recipe
from tests.lab.failure import LabError

BUILD_ROOM_MIB = 4096
UNUSED_S = 24 * 3600.0  # an image that nobody used for so long goes when another is built
DISK_SIZE = "4G"  # sparse: what is free in it takes no room
LIBRARIES = Path("usr/lib/x86_64-linux-gnu")
OUTER_FOLDERS = ("usr/share/qemu", "usr/share/seabios", "usr/share/OVMF", str(LIBRARIES / "qemu"))
OUTER_PROGRAMS = ("usr/bin/qemu-system-x86_64", "usr/bin/qemu-img", f"usr/bin/python{recipe.PYTHON}")
OLD_QEMU = "opt/qemu-7.2"


class Image(NamedTuple):
    """A finished image, and how its programs are started on this machine."""

    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "root.img"

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd"

    @property
    def firmware(self) -> Path:
        return self.folder / "outer/usr/share/OVMF"

    def qemu(self) -> list[str]:
        """The start of a command line of the image's qemu-system-x86_64, with its data folders."""
        data = ("usr/share/qemu", "usr/share/seabios")
        return [
            *self._program("qemu-system-x86_64"),
            *(word for part in data for word in ("-L", str(self.folder / "outer" / part))),
        ]

    def qemu_img(self) -> list[str]:
        return self._program("qemu-img")

    def python(self) -> list[str]:
        """The image's own Python, here on this machine: it compiles what will run inside."""
        return self._program(f"python{recipe.PYTHON}")

    def environment(self) -> dict[str, str]:
        outer = self.folder / "outer"
        return os.environ | {"QEMU_MODULE_DIR": str(outer / LIBRARIES / "qemu"), "PYTHONHOME": str(outer / "usr")}

    def _program(self, name: str) -> list[str]:
        outer = self.folder / "outer"
        loader = [str(outer / "usr/lib64/ld-linux-x86-64.so.2"), "--library-path", str(outer / LIBRARIES)]
        return [*loader, str(outer / "usr/bin" / name)]


def ready() -> Image:
    """The image of today's recipe, built first if it is not there. Raises LabError with the place of the log."""
    images = cache.folder() / "images"
    image = Image(images / recipe.key())
    if not image.folder.is_dir():
        with cache.locked("image"):
            if not image.folder.is_dir():  # another run may have built it while this one waited
                images.mkdir(mode=0o755, exist_ok=True)
                _build(image.folder)
                cache.forget_unused(images, cache.IMAGE, UNUSED_S, holding="root.img")
    with contextlib.suppress(PermissionError):  # root built it, somebody else uses it
        os.utime(image.folder)
    return image


def is_built() -> bool:
    """Whether the image of today's recipe is there."""
    return (cache.folder() / "images" / recipe.key()).is_dir()


def _build(target: Path) -> None:
    debian.need_tools()
    cache.need_room(BUILD_ROOM_MIB, "building the lab's image")
    for left in target.parent.glob(".build-*"):
        shutil.rmtree(left, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=".build-", dir=target.parent))
    try:
        with (cache.folder() / "build.log").open("w") as log:
            _fill(work, log)
        for part in ("root", "kernel"):
            shutil.rmtree(work / part)
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _fill(work: Path, log: IO[str]) -> None:
    root, kernel = work / "root", work / "kernel"
    work.chmod(0o755)
    debian.unpack(recipe.SUITE, "minbase", recipe.PACKAGES, root, log)
    debian.unpack(recipe.SUITE, "extract", ("linux-image-amd64",), kernel, log)
    debian.unpack(recipe.OLD_SUITE, "extract", ("qemu-system-x86", "qemu-utils", "ipxe-qemu"), root / OLD_QEMU, log)
    debian.unpack_wheels(recipe.wheels(), root / "opt/packages", log)
    inside = Inside(root, log)
    inside.run("python3", "-m", "compileall", "-q", "/opt/packages")
    modules = _install_kernel(inside, kernel)
    busybox = (root / "usr/bin/busybox").read_bytes()
    early, guest = (_in_load_order(modules, names) for names in (recipe.EARLY_MODULES, recipe.GUEST_MODULES))
    (work / "initrd").write_bytes(initramfs.archive(initramfs.HOST, busybox, early))
    (root / "boot/guest-initrd").write_bytes(initramfs.archive(initramfs.GUEST, busybox, guest))
    shutil.copy(next((kernel / "boot").glob("vmlinuz-*")), work / "vmlinuz")
    _settle(inside)
    _wrap_old_qemu(inside)
    _copy_outer(inside, work / "outer")
    disk = work / "root.img"
    make = ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal,^metadata_csum", "-E", "lazy_itable_init=1"]
    done = subprocess.run([*make, "-d", str(root), str(disk), DISK_SIZE], stdout=log, stderr=log, check=False)
    if done.returncode != 0:
        raise LabError("mke2fs could not make the lab's disk", f"its log is {log.name}")


class Inside:
    """The tree that will be the emulated host's, and how to run its programs by chroot.

    None of them needs /proc or /dev.
    """

    def __init__(self, root: Path, log: IO[str]) -> None:
        self.root = root
        self._log = log

    def run(self, *argv: str) -> str:
        self._log.write(f"\n$ {' '.join(argv)}\n")
        self._log.flush()
        environment = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin", "LANG": "C.UTF-8"}
        done = subprocess.run(
            ["chroot", str(self.root), *argv],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
            check=False,
        )
        if done.returncode != 0:
            raise LabError(
                f"{argv[0]} failed inside the lab's image with status {done.returncode}", f"its log is {self._log.name}"
            )
        return done.stdout


def _install_kernel(inside: Inside, kernel: Path) -> Path:
    """Puts the kernel and the chosen modules, unpacked, into the tree; hands back the modules' folder."""
    modules = next((kernel / "usr/lib/modules").iterdir())
    release = modules.name
    ours = inside.root / "usr/lib/modules" / release
    shutil.copytree(modules, ours, ignore=shutil.ignore_patterns("build", "source"))
    inside.run("depmod", release)
    builtin = {_module_name(line) for line in (ours / "modules.builtin").read_text().splitlines()}
    needed = _needed(ours)
    wanted = {module.replace("-", "_") for module in recipe.MODULES}
    if unknown := wanted - needed.keys() - builtin:
        raise LabError(
            f"Debian's kernel {release} has no module {', '.join(sorted(unknown))}",
            "see MODULES in tests/lab/recipe.py",
        )
    _keep_only(ours, {part for name in wanted & needed.keys() for part in needed[name]})
    inside.run("depmod", release)
    (inside.root / "boot/vmlinuz").write_bytes(next((kernel / "boot").glob("vmlinuz-*")).read_bytes())
    return ours


def _needed(modules: Path) -> dict[str, list[str]]:
    """The files that a module needs, its own first, as depmod found them: the last is to be loaded first."""
    lines = (modules / "modules.dep").read_text().splitlines()
    return {_module_name(line.split(":")[0]): line.replace(":", "").split() for line in lines}


def _in_load_order(modules: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Some modules and what they need, by file name, in an order in which insmod takes them."""
    needed = _needed(modules)
    files: dict[str, bytes] = {}
    for name in names:
        for part in reversed(needed.get(name.replace("-", "_"), [])):
            files.setdefault(Path(part).name, (modules / part).read_bytes())
    return files


def _module_name(path: str) -> str:
    return Path(path).name.split(".ko")[0].replace("-", "_")


def _keep_only(modules: Path, kept: set[str]) -> None:
    for path in list(modules.rglob("*.ko*")):
        name = str(path.relative_to(modules))
        if name in kept:
            path.with_suffix("").write_bytes(lzma.decompress(path.read_bytes()))
        path.unlink()


def _settle(inside: Inside) -> None:
    """The files of the lab's own, the units that it leaves out, and an ordinary user."""
    root = inside.root
    shutil.copytree(recipe.HERE / "root", root, dirs_exist_ok=True)
    agent = root / "usr/local/libexec/lab-agent.py"
    shutil.copy(recipe.HERE / "agent.py", agent)
    units = root / "etc/systemd/system"
    for unit in recipe.MASKED_UNITS:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    inside.run("systemctl", "disable", *recipe.DISABLED_UNITS)
    wants = units / "multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    for unit in ("lab-agent.service", "lab-display.service"):
        (wants / unit).symlink_to(f"/etc/systemd/system/{unit}")
    (units / "display-manager.service").symlink_to("/etc/systemd/system/lab-display.service")
    default = units / "default.target"
    default.unlink(missing_ok=True)
    default.symlink_to("/usr/lib/systemd/system/multi-user.target")
    (root / "etc/machine-id").write_text(uuid.uuid4().hex + "\n")
    (root / "opt/qlaunch").mkdir()
    inside.run("useradd", "--create-home", "player")


def _wrap_old_qemu(inside: Inside) -> None:
    """A command qemu-7.2 that starts the older QEMU with its own loader, libraries and data.

    Its process is QEMU's own.
    """
    old = f"/{OLD_QEMU}"
    folders = " ".join(f"-L {old}/usr/{part}" for part in ("share/qemu", "share/seabios", "lib/ipxe/qemu"))
    loader = f"{old}/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
    libraries = f"{old}/lib/x86_64-linux-gnu:{old}/{LIBRARIES}"
    wrapper = inside.root / "usr/local/bin/qemu-7.2"
    wrapper.write_text(
        f"#!/bin/sh\nexport QEMU_MODULE_DIR={old}/{LIBRARIES}/qemu\n"
        f'exec {loader} --library-path {libraries} {old}/usr/bin/qemu-system-x86_64 {folders} "$@"\n'
    )
    wrapper.chmod(0o755)
    inside.run("qemu-7.2", "--version")


def _copy_outer(inside: Inside, outer: Path) -> None:
    """The programs that run here, with just the libraries that they need."""
    root = inside.root
    for folder in OUTER_FOLDERS:
        shutil.copytree(root / folder, outer / folder, symlinks=True)
    shutil.copytree(root / f"usr/lib/python{recipe.PYTHON}", outer / f"usr/lib/python{recipe.PYTHON}", symlinks=True)
    (outer / LIBRARIES).mkdir(exist_ok=True)
    (outer / "usr/lib64").mkdir()
    (outer / "usr/bin").mkdir()
    loader = "/usr/lib64/ld-linux-x86-64.so.2"
    shutil.copy(root / loader[1:], outer / loader[1:])
    linked = [*OUTER_PROGRAMS, *(str(path.relative_to(root)) for path in (root / LIBRARIES / "qemu").glob("*.so"))]
    for program in linked:
        if program in OUTER_PROGRAMS:
            shutil.copy(root / program, outer / program)
        for word in inside.run(loader, "--list", f"/{program}").split():
            if word.startswith("/") and not (found := outer / LIBRARIES / Path(word).name).exists():
                shutil.copy(root / Path(word).relative_to("/"), found)
