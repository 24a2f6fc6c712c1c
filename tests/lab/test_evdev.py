"""Keyboard and mouse go to a guest and come back: what is typed outside arrives inside, also after a pulled plug."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab import faults, guest
from tests.lab.host import PATIENCE_S, LabHost
from tests.lab.test_usb import IDLE, WAIT

pytestmark = pytest.mark.lab

KEYBOARD = "/dev/input/by-id/usb-QEMU_QEMU_USB_Keyboard_KEYS0-event-kbd"
MOUSE = "/dev/input/by-id/usb-QEMU_QEMU_USB_Mouse_MOUSE0-event-mouse"
SECTIONS = f"""
[display]
virtio_input = true
[[evdev]]
path = "{KEYBOARD}"
grab_all = true
repeat = true
grab_toggle = "scrolllock"
[[evdev]]
path = "{MOUSE}"
"""
# Source: the kernel's include/uapi/linux/input.h: 16 bytes of time, then type 1 (a key), its code, 1 for down.
KEY_A, KEY_B = "0100 1e00 0100 0000", "0100 3000 0100 0000"
LISTEN = f"""{WAIT}
wait_for 'grep -q "Virtio Keyboard" /sys/class/input/event*/device/name'
event=$(basename $(dirname $(dirname $(grep -l "Virtio Keyboard" /sys/class/input/event*/device/name))))
exec 3< /dev/input/$event
hear() {{ timeout 1000 dd bs=24 count=1 <&3 2>/dev/null | tail -c 8 | hexdump -v -e '2/1 "%02x" " "'; echo; }}
echo listening
while line=$(hear) && [ "$line" != "{KEY_B} " ]; do [ -n "$line" ] && echo "heard $line" || exit 1; done
echo "heard $line"
"""
GRAB = """
import fcntl, os, sys, time
fcntl.ioctl(os.open(sys.argv[1], os.O_RDWR), 0x40044590, 1)
print("grabbed", flush=True)
time.sleep(86400)
"""


def press(host: LabHost, key: str) -> None:
    """Press a key of the emulated host's keyboard, and let it go."""
    with host.emulator.monitor() as monitor:
        for down in (True, False):
            data = {"down": down, "key": {"type": "qcode", "data": key}}
            monitor.execute("input-send-event", events=[{"type": "key", "data": data}])


def plug_in(host: LabHost) -> None:
    with host.emulator.monitor() as monitor:
        monitor.execute("device_add", driver="usb-kbd", id="keyboard", bus="usb.0", port="1", serial="KEYS0")
    host.wait_until(f"[ -e {KEYBOARD} ] && udevadm settle")


@pytest.fixture(autouse=True)
def keyboard(host: LabHost) -> None:
    """Plug the keyboard in anew: in one of a snapshot the emulator forgets its configuration."""
    unplug(host)
    plug_in(host)


def unplug(host: LabHost) -> None:
    faults.pull(host, "keyboard")
    host.wait_until(f"[ ! -e {KEYBOARD} ]")


@contextmanager
def up(host: LabHost) -> Iterator[None]:
    host.machine("idle", IDLE.replace("tablet = true", "") + SECTIONS.replace("[display]\n", "", 1))
    host.qlaunch("up", "idle", "--detach")
    try:
        yield
    finally:
        host.qlaunch("down", "idle", "--force", expect=None)


def holds_grab(host: LabHost, path: str) -> bool:
    """Whether somebody has grabbed a device: a second one is refused then."""
    script = GRAB.replace("time.sleep(86400)", "")
    return host.channel.run("python3", "-c", script, path).status != 0


def test_a_key_arrives_in_the_guest_also_after_the_keyboard_was_pulled(host: LabHost) -> None:
    initrd = guest.with_drivers(host, "evdev", "virtio_input")
    job = guest.start(host, SECTIONS, LISTEN, initrd)
    job.wait_for_output("listening", PATIENCE_S)
    assert holds_grab(host, KEYBOARD)
    assert holds_grab(host, MOUSE)
    press(host, "a")
    job.wait_for_output(f"heard {KEY_A}", PATIENCE_S)
    unplug(host)
    host.wait_until("grep -q 'was unplugged' /var/lib/qlaunch/linux/supervisor.log")
    plug_in(host)
    host.wait_until("grep -q 'is plugged in, and the guest has it' /var/lib/qlaunch/linux/supervisor.log")
    press(host, "b")
    said = guest.finish(job)
    host.shell(f"rm {initrd}")
    assert f"heard {KEY_B}" in said
    assert not holds_grab(host, KEYBOARD)


def test_the_toggle_and_the_repeat_are_those_of_the_file_and_a_kill_is_undone(host: LabHost) -> None:
    with up(host):
        asked = ("grab_all", "repeat", "grab-toggle")
        said = [
            host.qlaunch("console", "idle", "-c", f"qom-get path=/objects/evdev0 property={name}").out.strip()
            for name in asked
        ]
        assert said == ["true", "true", '"scrolllock"']
        status = host.json("status", "idle")
        host.shell(f"kill -9 {status['supervisor_pid']} {status['pid']}")
        host.wait_until(f"[ ! -d /proc/{status['pid']} ]")
        host.qlaunch("recover")
    assert not holds_grab(host, KEYBOARD)


def test_a_keyboard_that_another_program_has_grabbed_is_refused_with_its_name(host: LabHost) -> None:
    job = host.channel.start(["python3", "-c", GRAB, KEYBOARD])
    job.wait_for_output("grabbed")
    host.machine("idle", IDLE + f'[[evdev]]\npath = "{KEYBOARD}"\n')
    refused = host.qlaunch("up", "idle", "--detach", expect=3)
    job.kill()
    job.wait()
    assert f"{KEYBOARD} is grabbed by another program" in refused.err
    assert "python3 (process " in refused.err


def test_what_is_absent_or_no_event_device_is_refused(host: LabHost) -> None:
    for path, words in (("/dev/null", "is no event device"), ("/dev/input/by-id/none", "is not there")):
        host.machine("idle", IDLE + f'[[evdev]]\npath = "{path}"\n')
        assert f"{path} {words}" in host.qlaunch("up", "idle", "--detach", expect=3).err


def test_two_machines_cannot_share_a_keyboard(host: LabHost) -> None:
    with up(host):
        host.machine("other", IDLE + f'[[evdev]]\npath = "{KEYBOARD}"\n')
        refused = host.qlaunch("up", "other", "--detach", expect=3)
        assert "is grabbed by another program" in refused.err
        assert "ql-idle (process " in refused.err
