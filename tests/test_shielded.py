"""A shield is believed when the kernel says that nobody is left."""

import pytest

from qlaunch.host.shielded import verify_shield
from qlaunch.host.tree import Tree
from qlaunch.values.cpus import CpuSet

GUEST = CpuSet.parse("4-5")


def process(
    number: int, name: str, allowed: str, *, parent: int = 1, group: str = "/system.slice/a.service"
) -> dict[str, str]:
    return {
        f"/proc/{number}/status": f"Name:\t{name}\nPPid:\t{parent}\nCpus_allowed:\tff\nCpus_allowed_list:\t{allowed}",
        f"/proc/{number}/cgroup": f"0::{group}",
    }


def host(*processes: dict[str, str], **slices: str) -> Tree:
    files = {f"/sys/fs/cgroup/{name}.slice/cpuset.cpus.effective": text for name, text in slices.items()}
    for found in processes:
        files |= found
    return Tree.holding(files, {})


def test_a_shield_without_a_hole() -> None:
    found = verify_shield(
        host(
            process(7, "sshd", "0-3"),
            process(8, "qemu", "0,4-5", group="/machine.slice/qlaunch-ada.scope"),
            process(10, "qemu of host", "4", group="/qlaunch-host"),
            process(11, "qemu of supervisor-x", "4", group="/qlaunch-supervisor-x.scope"),
            process(9, "ksoftirqd/4", "4", parent=2, group="/"),
            system="0-3",
        ),
        GUEST,
    )
    assert str(found) == "none of 1 processes may run there"
    assert found.kernel_threads == 1


@pytest.mark.parametrize("group", ["/qlaunch:host", "/system.slice/qlaunch:supervisor-ada.scope", "/"])
def test_who_is_left_is_named(group: str) -> None:
    found = verify_shield(host(process(7, "game server", "0-7", group=group), system="0-3", user="0-7"), GUEST)
    assert str(found) == "user.slice (on 0-7), game server (process 7, on 0-7) may still run there"


def test_of_many_a_few_are_named() -> None:
    found = verify_shield(host(*(process(number, "a", "5") for number in range(10, 20))), GUEST)
    assert str(found).endswith("a (process 14, on 5) and 5 more may still run there")
