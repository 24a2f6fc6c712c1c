"""pyroute2, without what its package imports for those who may want all of it: messages in 12 ms instead of 130.

Each start of a machine with virtual functions or links of its own waits for this import.

Owns: the order of the imports. Must not: open a socket.

Source: pyroute2's ``pyroute2/__init__.py``, which imports every public name.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyroute2 import NetlinkError
    from pyroute2.nftables.main import NFTables

Message = Any  # one of netlink's, as pyroute2 has it: without types

_PACKAGE = "pyroute2"
_turn = threading.Lock()  # lanes run side by side, and none must find the bare package of another
_whole = threading.Event()


def want_whole() -> None:
    """Import it whole from now on: for a process with threads of somebody else, which may import it meanwhile."""
    _whole.set()


@cache
def link_message() -> type[Message]:
    """Give the class of what is said of a link."""
    found: type[Message] = _part("pyroute2.netlink.rtnl.ifinfmsg", "ifinfmsg")
    return found


def begin_import() -> None:
    """Import what is said of links in a thread of its own, for a caller that is about to wait for the kernel."""
    # Not in the thread: it registers what is done at forks, and a lane that forks meanwhile would do half of that.
    import logging  # noqa: F401, PLC0415 - see above

    def fetch() -> None:
        with suppress(ImportError, AttributeError):  # raised again where it is needed
            link_message()

    with suppress(RuntimeError):  # no thread can be had: it is imported where it is needed
        threading.Thread(target=fetch, name="import of pyroute2").start()


@cache
def address_message() -> type[Message]:
    """Give the class of what is said of an address."""
    found: type[Message] = _part("pyroute2.netlink.rtnl.ifaddrmsg", "ifaddrmsg")
    return found


@cache
def nftables_socket() -> "type[NFTables]":
    """Give the class of a socket that speaks of the packet filter."""
    found: type[NFTables] = _part("pyroute2.nftables.main", "NFTables")
    return found


@cache
def netlink_error() -> "type[NetlinkError]":
    """Give the class of what the kernel refuses."""
    found: type[NetlinkError] = _part("pyroute2.netlink.exceptions", "NetlinkError")
    return found


def _part(module: str, name: str) -> Any:  # noqa: ANN401 - a class of the library
    """Import one name from where it is made, or from the package in a version that makes it elsewhere."""
    with _bare_package():
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError):
            pass  # what is wrong with a whole package is raised below
    package = import_module(_PACKAGE)
    return getattr(package if hasattr(package, name) else import_module(module), name)


@contextmanager
def _bare_package() -> Iterator[None]:
    """Let modules of the package be imported without its own file; who imports the package later gets all of it."""
    with _turn:
        spec = None if _whole.is_set() or _PACKAGE in sys.modules else find_spec(_PACKAGE)
        if spec is None:
            yield
            return
        sys.modules[_PACKAGE] = module_from_spec(spec)
        try:
            yield
        finally:
            del sys.modules[_PACKAGE]
