"""The doors to this computer's own kernel, where what is read goes away at that moment."""

import builtins
import errno
import os
import subprocess
from collections.abc import Callable
from typing import IO, Any

import pytest

from qlaunch.steps import host as module
from qlaunch.steps.host import LocalHost

GOING = [errno.ESRCH, errno.ENODEV, errno.EIO]


def after_opening(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let something happen between the opening of a file and its reading."""

    def opened(path: str, mode: str) -> IO[Any]:
        file = builtins.open(path, mode)  # noqa: SIM115 - whoever asked closes it
        act()
        return file

    monkeypatch.setattr(module, "open", opened, raising=False)


class Dying:
    """A file that is opened, and answers its reading with an error."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __enter__(self) -> "Dying":
        return self

    def __exit__(self, *_: object) -> None:
        return

    def read(self) -> bytes:
        raise OSError(self._number, os.strerror(self._number))


def test_a_process_that_ends_while_it_is_read_of_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        after_opening(monkeypatch, child.communicate)
        assert LocalHost().read(f"/proc/{child.pid}/status") is None


@pytest.mark.parametrize("number", GOING)
def test_a_file_that_goes_while_it_is_read_is_gone(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(module, "open", lambda *_: Dying(number), raising=False)
    assert LocalHost().read("/proc/irq/gone/smp_affinity") is None


@pytest.mark.parametrize("number", [*GOING, errno.EINVAL])
def test_a_file_that_stays_has_an_error(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(module, "open", lambda *_: Dying(number), raising=False)
    with pytest.raises(OSError, match=os.strerror(number)):
        LocalHost().read("/proc/self/status")


def test_an_error_that_says_nothing_of_going_is_one_of_a_file_that_has_gone_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "open", lambda *_: Dying(errno.EACCES), raising=False)
    with pytest.raises(PermissionError):
        LocalHost().read("/proc/irq/gone/smp_affinity")
