"""The variants of the emulated host lack what they say, and qlaunch says so too."""

import pytest

from tests.lab.host import LabHost

pytestmark = pytest.mark.lab

HEADLESS = """
[boot]
app = "probe"
[memory]
size = "128M"
[machine]
accel = "{accel}"
"""


@pytest.mark.profile("no-iommu")
def test_without_an_iommu_there_are_no_groups_and_a_reason(host: LabHost) -> None:
    assert host.json("groups")["groups"] == []
    assert "IOMMU" in host.run("qlaunch", "groups", expect=None).out


@pytest.mark.profile("no-kvm")
def test_without_kvm_a_machine_that_wants_it_is_refused_and_auto_is_emulated(host: LabHost) -> None:
    host.machine("strict", HEADLESS.format(accel="kvm"))
    host.machine("easy", HEADLESS.format(accel="auto"))
    refused = host.qlaunch("up", "strict", "--detach", expect=None)
    assert refused.status in (3, 5)
    assert "kvm" in refused.err.lower()
    assert "Traceback" not in refused.err
    told = host.qlaunch("plan", "easy").err
    assert "plain emulation is used instead" in told


@pytest.mark.profile("no-hugepages")
def test_without_large_pages_a_machine_that_wants_them_is_refused(host: LabHost) -> None:
    host.machine("huge", HEADLESS.format(accel="tcg"))
    refused = host.qlaunch("up", "huge", "--detach", "--set", "memory.hugepages=2M", expect=3)
    assert "this host has no pages of" in refused.err
    assert "hugepages = false" in refused.err
    assert "Traceback" not in refused.err
    assert not host.shell("ls /sys/kernel/mm/hugepages 2>/dev/null || true").split()


@pytest.mark.profile("intel")
def test_an_intel_host_is_read_as_one(host: LabHost) -> None:
    cpus = host.json("topology")["cpus"]
    assert len(cpus) == 8
    assert "GenuineIntel" in host.shell("grep -m1 vendor_id /proc/cpuinfo")
    assert len(host.json("groups")["groups"]) > 10
