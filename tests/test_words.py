"""What is said of QEMU's events and of its last words. Each text is one that QEMU 7.2 or 10.0 printed."""

import signal
from typing import Any

import pytest

from qlaunch.errors import HostError, MonitorError, QemuError
from qlaunch.run.events import describe
from qlaunch.run.explain import explain_death


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("SHUTDOWN", {"guest": True, "reason": "guest-shutdown"}, "the guest powered off"),
        ("SHUTDOWN", {"guest": True, "reason": "guest-panic"}, "the guest panicked"),
        ("SHUTDOWN", {"guest": False, "reason": "host-qmp-quit"}, None),
        ("RESET", {"guest": True, "reason": "guest-reset"}, "the guest was reset by itself"),
        ("RESET", {"guest": False, "reason": "host-qmp-system-reset"}, "the guest was reset from outside"),
        ("GUEST_PANICKED", {"action": "pause"}, "the guest panicked"),
        ("GUEST_PANICKED", {"action": "pause", "info": {"type": "hyper-v"}}, "the guest panicked (hyper-v)"),
        (
            "BLOCK_IO_ERROR",
            {"device": "", "nospace": True, "node-name": "disk0-image", "operation": "write", "action": "stop"},
            (
                "I/O error on disk0-image while the guest tried to write: no space left on the host; "
                "the guest is paused, resume it when the cause is mended"
            ),
        ),
        (
            "BLOCK_IO_ERROR",
            {"node-name": "disk0-image", "operation": "read", "action": "report", "reason": "Input/output error"},
            "I/O error on disk0-image while the guest tried to read: Input/output error",
        ),
        ("DEVICE_DELETED", {"path": "/machine/peripheral/net0/virtio-backend"}, None),
        ("DEVICE_DELETED", {"device": "net0", "path": "/machine/peripheral/net0"}, "net0 was removed"),
        ("VSERPORT_CHANGE", {"id": "agent0", "open": True}, "the guest agent is there"),
        ("VSERPORT_CHANGE", {"id": "vdagent0", "open": True}, None),
        ("RTC_CHANGE", {"offset": -57600}, None),
        ("NEW_IN_QEMU_99", {}, None),
    ],
)
def test_an_event_is_said_in_words(name: str, data: dict[str, Any], words: str | None) -> None:
    assert describe(name, data) == words


@pytest.mark.parametrize(
    ("log", "meaning"),
    [
        (
            '-blockdev {}: Failed to get "write" lock\nIs another process using the image [/images/a.raw]?',
            "the disk /images/a.raw is in use by another QEMU",
        ),
        ("Could not access KVM kernel module: Permission denied", "/dev/kvm may not be opened"),
        ("Could not access KVM kernel module: No such file or directory", "there is no usable /dev/kvm"),
        ("cannot set up guest memory 'ram0': Cannot allocate memory", "not enough free memory"),
        ("unable to map backing store for guest RAM: Cannot allocate memory", "the hugepage pool is too small"),
        (
            "Could not set up host forwarding rule 'tcp:127.0.0.1:22-:22'",
            "the port of the forward tcp:127.0.0.1:22-:22",
        ),
        ("Could not open '/images/b.raw': Permission denied", "/images/b.raw may not be opened"),
        ("vfio 0000:0b:00.0: no such host device: No such file", "there is no PCI device 0000:0b:00.0"),
        (
            "vfio 0000:0b:00.0: couldn't open directory /sys/bus/pci/devices/0000:0b:00.0/vfio-dev: No such file",
            "the PCI device 0000:0b:00.0 is not there, or vfio-pci does not have it",
        ),
        (
            'vfio 0000:0b:00.0: failed to load "/sys/bus/pci/devices/0000:0b:00.0/vfio-dev/vfio0/dev"',
            "this kernel gives the PCI device 0000:0b:00.0 no node of its own",
        ),
        ("Perhaps you want to install qemu-system-modules-spice package?", "this QEMU lacks a module"),
        ("CPU model 'host' requires KVM or HVF", "the CPU model host needs KVM"),
        ("unable to find CPU model 'nix'", "QEMU ended with status 1"),
    ],
)
def test_last_words_are_explained_and_kept(log: str, meaning: str) -> None:
    explained = explain_death(MonitorError("closed"), 1, f"qemu-system-x86_64: {log}")
    assert isinstance(explained, QemuError)
    assert meaning in explained.message
    assert log in explained.stderr


def test_a_signal_is_named() -> None:
    explained = explain_death(MonitorError("closed"), -signal.SIGSYS, "")
    assert "QEMU died of SIGSYS" in str(explained)


def test_a_host_s_refusal_stays_what_it_is() -> None:
    refusal = HostError("cannot pin")
    assert explain_death(refusal, -signal.SIGKILL, "noise") is refusal


def test_a_qemu_that_had_to_be_killed_leaves_the_monitor_s_own_words() -> None:
    silence = MonitorError("QEMU did not open its monitor")
    assert explain_death(silence, -signal.SIGKILL, "") is silence
