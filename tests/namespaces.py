"""A network namespace of a test's own: its links, routes and tables are the kernel's, and nobody else's.

Source: ``unshare(2)``, ``setns(2)``. They move the thread that calls; Python has them from 3.12 on.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pytest

_NEWNET = 0x40000000  # CLONE_NEWNET


def _call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


@contextmanager
def network_namespace() -> Iterator[None]:
    """Let this thread, and the programs that it starts, have a namespace of their own, with a loopback that is down."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call("unshare", _NEWNET)
        try:
            yield
        finally:
            _call("setns", home, _NEWNET)
    finally:
        os.close(home)


@cache
def why_none() -> str:
    """Why this machine cannot make one; empty if it can, and has what links need."""
    if os.geteuid() != 0:
        return "a network namespace needs root"
    try:
        with network_namespace():
            pass
    except OSError as error:
        return f"this machine makes no network namespaces: {error}"
    return "" if os.path.exists("/dev/net/tun") else "there is no /dev/net/tun on this machine"


@pytest.fixture
def namespace() -> Iterator[None]:
    """A namespace of the test's own, which is gone after it."""
    if why_none():
        pytest.skip(why_none())
    with network_namespace():
        yield
