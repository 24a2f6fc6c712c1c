"""Descriptors are opened here and handed to QEMU, which runs as nobody; helpers end with it and with nothing else."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from qlaunch.devices.host_end import HostEnd
from qlaunch.errors import HostError
from qlaunch.run.descriptors import Handed, host_ends
from qlaunch.run.events import describe
from qlaunch.steps.host import LocalHost
from qlaunch.steps.own_link import Bridge, Macvtap, Tap, claim
from tests.live import PATIENCE_S, QEMU
from tests.namespaces import namespace

__all__ = ["namespace"]

BRIDGE = claim("bridge", "52:51:4c:00:00:01", "1500", address="none")
TAP = claim("tap", "fe:54:00:00:00:01", "1500", queues="many", bridge="br0")
MACVTAP = claim("macvtap", "52:54:00:00:00:03", "1500", over="br0", mode="bridge")
NOBODY = 65534
# A passt that goes into the background once it serves, says in a file that it has ended, and hears of QEMU by its end.
PASST = """#!{python}
import os, sys
words = sys.argv[1:]
with open("{folder}/words", "w") as file:
    file.write(" ".join(words))
if os.fork() == 0:
    for stream in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), stream)
    while os.read(int(words[-1]), 65536):
        pass
    os.mknod("{folder}/ended")
"""
BROKEN = "#!/bin/sh\necho 'Could not open namespace' >&2\nexit 1\n"


def start(handed: Handed, *words: str) -> subprocess.Popen[str]:
    """Start a QEMU with no rights at all, whose monitor is its standard input and output."""
    argv = [QEMU, "-M", "q35", "-accel", "tcg", "-nodefaults", "-display", "none", "-S", "-qmp", "stdio", *words]
    argv += ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
    nobody = NOBODY if os.geteuid() == 0 else None
    return subprocess.Popen(
        handed.instead(argv),
        pass_fds=handed.descriptors,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        user=nobody,
        group=nobody,
        extra_groups=None if nobody is None else [],
    )


def ask(qemu: subprocess.Popen[str], *commands: Mapping[str, object]) -> list[object]:
    """Give what QEMU answers to commands, and let it quit."""
    every: list[Mapping[str, object]] = [{"execute": "qmp_capabilities"}, *commands, {"execute": "quit"}]
    said, errors = qemu.communicate(
        "".join(f"{msgspec.json.encode(command).decode()}\n" for command in every), timeout=PATIENCE_S
    )
    assert not errors
    answers = [answer["return"] for answer in map(msgspec.json.decode, said.splitlines()) if "return" in answer]
    return answers[1:-1]


def netdev(kind: str, number: int) -> tuple[str, str, str, str]:
    card = {"driver": "virtio-net-pci", "netdev": f"net{number}-host", "romfile": "", "mq": True}
    body = {"type": kind, "id": f"net{number}-host", "ifname": "ql0", "script": "no"}
    return "-netdev", msgspec.json.encode(body).decode(), "-device", msgspec.json.encode(card).decode()


@pytest.mark.qemu
@pytest.mark.usefixtures("namespace")
def test_a_qemu_without_rights_has_every_queue_of_its_links() -> None:
    host = LocalHost()
    Bridge().write(host, "br0", BRIDGE)
    Tap().write(host, "ql0", TAP)
    Macvtap().write(host, "ql1", MACVTAP)
    ends = [
        HostEnd(netdev="net0-host", kind="tap", link="ql0", queues=2),
        HostEnd(netdev="net1-host", kind="macvtap", link="ql1"),
    ]
    with host_ends(ends) as handed:
        assert len(handed.descriptors) == 3
        qemu = start(handed, *netdev("tap", 0), *netdev("tap", 1))
    network = {"execute": "human-monitor-command", "arguments": {"command-line": "info network"}}
    (shown,) = ask(qemu, network)
    assert str(shown).count("net0-host: index=") == 2
    assert str(shown).count("net1-host: index=") == 1
    assert Tap().read(host, "ql0") == TAP  # it stays when QEMU goes: the undo removes it


@pytest.mark.qemu
def test_passt_lives_as_long_as_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, PASST)
    end = HostEnd(netdev="net0-host", kind="passt", passt=["passt", "--one-off"])
    with host_ends([end]) as handed:
        qemu = start(handed, *netdev("stream", 0))
    words = (tmp_path / "words").read_text().split()
    assert words[:2] == ["--one-off", "--fd"]
    assert not (tmp_path / "ended").exists()
    ask(qemu)
    assert LocalHost().wait((tmp_path / "ended").exists, PATIENCE_S)


def test_a_start_that_fails_leaves_no_passt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, PASST)
    ends = [
        HostEnd(netdev="net0-host", kind="passt", passt=["passt"]),
        HostEnd(netdev="net1-host", kind="passt", passt=["there is no such program"]),
    ]
    with pytest.raises(HostError, match="passt is not installed"), host_ends(ends):
        pytest.fail("it was opened")
    assert LocalHost().wait((tmp_path / "ended").exists, PATIENCE_S)


def test_a_passt_that_cannot_is_told_in_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, BROKEN)
    with (
        pytest.raises(HostError, match="passt: Could not open namespace"),
        host_ends([HostEnd(netdev="net0-host", kind="passt", passt=["passt"])]),
    ):
        pytest.fail("it was opened")


@pytest.mark.parametrize(
    ("missing", "words"), [("/dev/net/tun", "cannot open /dev/net/tun: no such file"), ("/dev/vhost-net", "vhost-net")]
)
def test_a_device_that_is_missing_is_a_sentence(
    missing: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    really = os.open

    def pretend(path: str, flags: int, *more: int) -> int:
        if path == missing:
            raise FileNotFoundError(2, os.strerror(2), path)
        return really(tmp_path / "device" if path.startswith("/dev/") else path, flags | os.O_CREAT, *more)

    monkeypatch.setattr(os, "open", pretend)
    monkeypatch.setattr("fcntl.ioctl", lambda *_: 0)
    before = opened()
    with (
        pytest.raises(HostError, match=words) as caught,
        host_ends([HostEnd(netdev="net0-host", kind="tap", link="ql0", vhost=True)]),
    ):
        pytest.fail("it was opened")
    assert "modprobe" in caught.value.hint
    assert opened() == before


def test_other_netdevs_stay_as_they_are() -> None:
    argv = ["qemu", "-netdev", '{"type":"user","id":"net0-host"}', "-netdev", '{"type":"tap","id":"net1-host"}']
    handed = Handed(netdevs={"net1-host": {"type": "tap", "fds": "7"}})
    assert handed.instead(argv) == [*argv[:4], '{"type":"tap","fds":"7"}']


def test_the_end_of_passt_is_told() -> None:
    assert describe("NETDEV_STREAM_DISCONNECTED", {"netdev-id": "net0-host"}) == (
        "passt is gone, and with it the guest's way out by net0"
    )


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    path = folder / "passt"
    path.write_text(text.replace("{python}", sys.executable).replace("{folder}", str(folder)))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def opened() -> Sequence[str]:
    return sorted(os.listdir("/proc/self/fd"))
