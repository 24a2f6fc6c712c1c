"""A part of pyroute2 is imported where a part is wanted, and it is all there for who wants all of it."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from qlaunch.steps import pyroute

BEGIN = "import sys; from qlaunch.steps import pyroute"
PARTS = "Link, Filter, Error = pyroute.link_message(), pyroute.nftables_socket(), pyroute.netlink_error()"
SOCKETS = "print('pyroute2.netlink.nlsocket' in sys.modules)"
IS_WHOLE = "print('pyroute2.ndb' in sys.modules)"


def printed(*lines: str) -> str:
    """What a Python prints that has imported nothing of it before."""
    argv = [sys.executable, "-c", "\n".join((BEGIN, *lines))]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def test_what_nobody_asked_for_is_not_imported() -> None:
    assert printed(PARTS, "print('pyroute2.netlink' in sys.modules)", IS_WHOLE) == "True\nFalse"


def test_whether_a_link_is_up_needs_nothing_of_it() -> None:
    lines = (
        "from qlaunch.steps.links import Netlink",
        "print(Netlink().state('lo') in ('up', 'down'), Netlink().state('eth9'))",
        "try: Netlink().set_state('eth9', 'up')\nexcept OSError as error: print(error.filename)",
    )
    assert printed(*lines, "print('pyroute2.common' in sys.modules)") == "True None\neth9\nFalse"


def test_links_need_no_socket_of_it() -> None:
    use = "from qlaunch.steps.links import Netlink; print(Netlink().function('lo', 0))"
    assert printed(use, SOCKETS, IS_WHOLE) == "None\nFalse\nFalse"


def test_messages_are_imported_while_the_kernel_makes_functions_and_sets_their_card_up() -> None:
    lines = (
        "import importlib, threading",
        "from qlaunch.steps.links import Netlink",
        "from qlaunch.steps.sriov import Sriov",
        "begun, wanted, in_time = threading.Event(), threading.Event(), []",
        "def held(module):",
        "    begun.set()",
        "    in_time.append(wanted.wait(10))",
        "    return importlib.import_module(module)",
        "pyroute.import_module = held",
        "class Host:",
        "    def read(self, path): return '0'",
        "    def write(self, path, text, *, deadline_s): print(text, begun.wait(10))",
        "Sriov().write(Host(), 'sriov_numvfs', '4')",
        "try: Netlink().set_state('eth9', 'up')",
        "except OSError as error: print(error.filename)",
        "wanted.set()",
        "print(pyroute.link_message().__name__, set(in_time))",
    )
    assert printed(*lines) == "4 True\neth9\nifinfmsg {True}"


def test_nothing_is_imported_to_take_functions_away() -> None:
    host = "class Host:\n read = lambda *_: '4'\n write = lambda *_, **__: None"
    lines = ("from qlaunch.steps.sriov import Sriov", host, "Sriov().write(Host(), 'sriov_numvfs', None)")
    assert printed(*lines, "print('pyroute2.common' in sys.modules)") == "False"


def test_what_cannot_be_imported_early_is_said_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ImportError("pyroute2 is broken")

    said: list[object] = []
    monkeypatch.setattr(threading, "excepthook", said.append)
    monkeypatch.setattr(pyroute, "link_message", broken)
    before = set(threading.enumerate())
    pyroute.begin_import()
    for thread in set(threading.enumerate()) - before:
        thread.join()
    assert said == []


def test_using_it_imports_no_more_of_it() -> None:
    use = "from qlaunch.steps.own_links import OwnNetlinks; print(OwnNetlinks().described('lo')[0])"
    opened = "try: Filter().close()\nexcept (Error, PermissionError): pass"
    assert printed(PARTS, use, opened, IS_WHOLE) == "device\nFalse"


def test_whoever_imports_the_package_later_gets_all_of_it() -> None:
    names = (
        "from pyroute2 import IPRoute, NDB, NetlinkError, netlink; from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg"
    )
    told = "print(ifinfmsg is Link, NetlinkError is Error, IPRoute().close())"
    assert printed(PARTS, names, told, IS_WHOLE) == "True True None\nTrue"


def test_a_package_that_is_there_already_is_left_as_it_is() -> None:
    told = "print(sys.modules['pyroute2'] is whole, Error is whole.NetlinkError)"
    assert printed("import pyroute2 as whole", PARTS, told) == "True True"


def test_a_process_with_other_peoples_threads_imports_it_whole() -> None:
    assert printed("pyroute.want_whole()", PARTS, IS_WHOLE) == "True"


def test_programs_have_such_threads() -> None:
    session = "from qlaunch.run.python import _Session; _Session(None, print)"
    assert printed(session, PARTS, IS_WHOLE) == "True"


@pytest.mark.parametrize("place", ["pyroute2.elsewhere", "pyroute2.common"])
def test_a_name_that_has_moved_is_found_in_the_package(place: str) -> None:
    told = f"print(pyroute._part('{place}', 'NetlinkError') is Error)"
    assert printed("Error = pyroute.netlink_error()", told, IS_WHOLE) == "True\nTrue"


@pytest.mark.parametrize(("place", "error"), [("pyroute2.elsewhere", ImportError), ("pyroute2.common", AttributeError)])
def test_a_name_that_is_nowhere_is_said(place: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="elsewhere|nonsense"):
        pyroute._part(place, "nonsense")


def test_a_module_that_wants_the_whole_package_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of the packet filter may one day, whose class is no public name of the package."""
    folder = tmp_path / "wanted"
    folder.mkdir()
    (folder / "__init__.py").write_text("everything = 1")
    (folder / "needy.py").write_text("from wanted import everything\nclass Made: pass")
    (folder / "broken.py").write_text("import not_installed")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(pyroute, "_PACKAGE", "wanted")
    assert pyroute._part("wanted.needy", "Made").__name__ == "Made"
    with pytest.raises(ImportError, match="not_installed"):
        pyroute._part("wanted.broken", "Made")


def test_lanes_that_ask_at_the_same_time_get_the_same() -> None:
    """The second one asks while the package of the first one is bare."""
    lines = (
        "import threading, importlib",
        "begun, found = threading.Event(), []",
        "def late(module):",
        "    begun.set()",
        "    others[0].join(0.2)  # it waits for its turn",
        "    return importlib.import_module(module)",
        "pyroute.import_module = late",
        "def second():",
        "    begun.wait()",
        "    pyroute.import_module = importlib.import_module",
        "    with pyroute._bare_package(): found.append('pyroute2.netlink' in sys.modules)",
        "others = [threading.Thread(target=second)]",
        "others[0].start()",
        "pyroute.link_message()",
        "others[0].join()",
        "print(found)",
    )
    assert printed(*lines) == "[True]"
