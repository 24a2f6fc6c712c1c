"""QEMU's user is let in at the nodes of devices, beside those who are in, and all of them have what they had after."""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.lab.failure import LabError
from tests.lab.host import LabHost
from tests.lab.test_evdev import KEYBOARD, MOUSE, plug_in, unplug
from tests.lab.test_usb import IDLE

pytestmark = pytest.mark.lab

USER = "visitor"
SECTIONS = f"""
[[evdev]]
path = "{KEYBOARD}"
[[evdev]]
path = "{MOUSE}"
[host]
user = "{USER}"
"""


@pytest.fixture
def shared(host: LabHost) -> Iterator[LabHost]:
    """A user who may open the mouse alone, and one at the computer who may open the keyboard, as logind has it."""
    unplug(host)
    plug_in(host)
    host.shell(f"useradd --system --groups kvm --no-create-home {USER}")
    host.shell(f"setfacl -m u:daemon:rw {KEYBOARD}; setfacl -m u:{USER}:rw {MOUSE}")
    host.machine("idle", IDLE + SECTIONS)
    try:
        yield host
    finally:
        with suppress(LabError):
            host.qlaunch("down", "idle", "--force", expect=None)
        host.shell(f"userdel {USER}; setfacl -b {KEYBOARD} {MOUSE}")


def lists(host: LabHost) -> list[str]:
    """Owner and list of each node, as getfacl has it."""
    return [
        " ".join(
            host.shell(f"getfacl --omit-header --skip-base {path} || exit 0; stat -Lc %U:%G:%a {path}").split()
        ).replace(" #", "#")
        for path in (KEYBOARD, MOUSE)
    ]


def kill_all(host: LabHost) -> None:
    status = host.json("status", "idle")
    host.shell(f"kill -9 {status['supervisor_pid']} {status['pid']}")
    host.wait_until(f"[ ! -d /proc/{status['pid']} ]")


def test_a_user_is_let_in_beside_those_who_are_and_taken_out_again_twice(shared: LabHost) -> None:
    host, before = shared, lists(shared)
    assert "user:daemon:rw-" in before[0]
    for _ in range(2):
        host.qlaunch("up", "idle", "--detach")
        keyboard, mouse = lists(host)
        pid = host.json("status", "idle")["pid"]
        assert host.shell(f"stat -c %U /proc/{pid}").strip() == USER
        assert {"user:daemon:rw-", f"user:{USER}:rw-"} <= set(keyboard.split())
        assert keyboard.split()[-1] == before[0].split()[-1]  # its owner, group and mode are what they were
        assert mouse == before[1]  # there was nothing to do
        unplug(host)
        host.wait_until("grep -q 'was unplugged' /var/lib/qlaunch/idle/supervisor.log")
        plug_in(host)  # a new node, which udev makes
        host.wait_until(f"getfacl {KEYBOARD} 2>/dev/null | grep -q {USER}")
        host.shell(f"setfacl -m u:daemon:rw {KEYBOARD}")
        host.qlaunch("down", "idle", "--force")
        assert lists(host) == before


def test_a_session_that_came_and_went_meanwhile_is_left_and_told_after_a_kill(shared: LabHost) -> None:
    host = shared
    host.qlaunch("up", "idle", "--detach")
    host.shell(f"setfacl -x u:daemon -m u:games:rw {KEYBOARD}")
    kill_all(host)
    said = host.qlaunch("recover").err
    keyboard, _ = lists(host)
    assert USER not in keyboard
    assert "user:games:rw-" in keyboard
    assert "daemon" not in keyboard
    assert "somebody has set /dev/input/event" in said


def test_a_list_that_udev_has_emptied_goes_with_the_machine(shared: LabHost) -> None:
    """As at every event of a device with the tag uaccess."""
    host = shared
    host.shell(f"setfacl -b {KEYBOARD}")
    before = lists(host)
    host.qlaunch("up", "idle", "--detach")
    host.shell(f"setfacl -x u:{USER} {KEYBOARD}")
    emptied = host.shell(f"getfacl --omit-header --skip-base {KEYBOARD}").split()
    host.qlaunch("down", "idle", "--force")
    assert "mask::rw-" in emptied
    assert lists(host) == before
