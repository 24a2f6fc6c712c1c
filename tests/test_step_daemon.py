"""Helper processes that machines share: found by their command line alone, started once, and gone when ended."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qlaunch.errors import HostError
from qlaunch.steps.daemon import RUNNING, Daemon
from qlaunch.steps.host import LocalHost

# It goes into the background once it serves, and then waits until it is ended.
SERVES = """
import os, signal, sys
if os.fork():
    os._exit(0)
os.setsid()
for n in (0, 1, 2):
    os.close(n)
signal.pause()
"""
CANNOT = "import sys\nsys.exit('port 53: address already in use')"
STUBBORN = SERVES.replace("os.setsid()", "os.setsid()\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)")


@pytest.fixture
def host() -> Iterator[LocalHost]:
    """Give this computer; whatever a failed test left running is ended."""
    yield LocalHost()
    for text in (SERVES, STUBBORN):
        argv = [sys.executable, "-c", text, str(os.getpid())]
        for pid in LocalHost().processes(argv):
            LocalHost().end_process(pid, argv)


def command(text: str) -> str:
    return shlex.join([sys.executable, "-c", text, str(os.getpid())])


@pytest.mark.parametrize("text", [SERVES, STUBBORN], ids=["polite", "stubborn"])
def test_it_is_found_by_its_command_line_and_gone_when_ended(
    host: LocalHost, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qlaunch.steps.processes._END_S", 0.5)
    kind, key = Daemon(), command(text)
    assert kind.read(host, key) is None
    kind.write(host, key, RUNNING)
    assert kind.read(host, key) == RUNNING
    assert kind.read(host, f"{key} more") is None
    kind.write(host, key, None)
    assert kind.read(host, key) is None
    kind.write(host, key, None)


def test_a_number_that_is_another_s_by_now_is_left_alone(host: LocalHost) -> None:
    with subprocess.Popen(["tail", "-f", "/dev/null"]) as other:
        host.end_process(other.pid, ["dnsmasq"])
        assert other.poll() is None
        other.kill()


def test_one_that_does_not_end_is_told(host: LocalHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qlaunch.steps.processes._END_S", 0.1)
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *_words: None)  # as where it is inside the kernel
    argv = ["tail", "-f", "/dev/null"]
    with subprocess.Popen(argv) as stuck:
        assert host.wait(lambda: stuck.pid in host.processes(argv), 60)  # exec has two moments
        with pytest.raises(HostError, match="tail .* was killed and does not end"):
            host.end_process(stuck.pid, argv)
        stuck.kill()


def test_what_it_says_against_it_is_told_without_its_command_line(host: LocalHost) -> None:
    with pytest.raises(HostError) as caught:
        Daemon().write(host, command(CANNOT), RUNNING)
    assert caught.value.message == f"{sys.executable}: port 53: address already in use"


def test_one_that_is_not_installed_is_a_sentence(host: LocalHost, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="is not installed"):
        Daemon().write(host, f"{tmp_path}/dnsmasq --pid-file=", RUNNING)
