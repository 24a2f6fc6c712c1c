"""A capture made in the emulated host answers elsewhere as the host did; and `check` with the machine that we ship."""

from typing import Any

import msgspec
import pytest

from tests.lab.host import LabHost

pytestmark = pytest.mark.lab

# What moves on between two looks: free memory, and what is said about it.
MOVING = ("memory_free", "available", "MiB are free", "MiB free", "the free memory makes")
# What a capture cannot know: who may open a node of the host, and whose sound server runs there.
UNKNOWN = ("user-kvm", "kvm", "sound", "no-sound")
GAMING = "/opt/qlaunch/machines/gaming.toml"
VERBS = ("groups --json", "topology --json", f"plan {GAMING} --json", f"check {GAMING} --json", "check --json")


def steady(answer: Any) -> Any:
    """An answer without what moves on by itself."""
    if isinstance(answer, dict):
        return {key: steady(value) for key, value in answer.items() if key not in MOVING}
    if isinstance(answer, list):
        known = [one for one in answer if not (isinstance(one, dict) and one.get("code") in UNKNOWN)]
        return [steady(one) for one in known if not any(word in str(one) for word in MOVING) or isinstance(one, dict)]
    return "" if isinstance(answer, str) and any(word in answer for word in MOVING) else answer


def test_a_capture_of_the_host_answers_as_the_host(host: LabHost) -> None:
    host.shell(f"rm -f /tmp/c.tar.gz /tmp/p.tar.gz; qlaunch capture /tmp/c.tar.gz {GAMING} --private")
    try:
        for verb in VERBS:
            here = msgspec.json.decode(host.shell(f"qlaunch {verb} 2>/dev/null || true"))
            there = msgspec.json.decode(host.shell(f"qlaunch {verb} --host-root /tmp/c.tar.gz 2>/dev/null || true"))
            assert steady(there) == steady(here), verb
        host.shell(f"qlaunch capture /tmp/p.tar.gz {GAMING}")
        macs = host.shell("cat /sys/class/net/*/address").split()
        text = host.shell("tar xzOf /tmp/p.tar.gz | tr -d '\\0'; tar tzvf /tmp/p.tar.gz")
        assert [mac for mac in macs if mac != "00:00:00:00:00:00" and mac in text] == []
    finally:
        host.shell("rm -f /tmp/c.tar.gz /tmp/p.tar.gz")


def test_check_of_the_shipped_machine_names_what_this_host_lacks_for_it(host: LabHost) -> None:
    said = host.shell(f"qlaunch check {GAMING} --json || true")
    found = [check for check in msgspec.json.decode(said)["checks"] if check["status"] == "failed"]
    codes = {check["code"] for check in found if check["severity"] != "info"}
    # The example host has eight cores, 32 GiB, an RX 6800 at 0b:00 and a card enp7s0f1; this one has none of them.
    wanted = {"disk-missing", "pin-offline", "device-missing", "no-pf", "evdev", "memory-host-left", "hugepages-short"}
    assert wanted <= codes, found
    # Nothing about what is in order here, and nothing twice.
    assert not codes & {"iommu", "no-iommu", "vfio-pci", "qemu", "qemu-missing", "no-device", "firmware"}, found
    assert len({check["message"] for check in found}) == len(found)
