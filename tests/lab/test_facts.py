"""What qlaunch reads of the emulated host is what QEMU was told to emulate."""

from typing import Any

import pytest

from tests.lab.host import LabHost

pytestmark = pytest.mark.lab


def group_of(groups: list[dict[str, Any]], address: str) -> dict[str, Any]:
    return next(group for group in groups if any(device["address"] == address for device in group["devices"]))


def test_groups_are_those_of_the_emulated_board(host: LabHost) -> None:
    groups = host.json("groups")["groups"]
    gpu = host.address("gpu")
    card = group_of(groups, f"{gpu}.0")
    assert [(device["address"], device["driver"]) for device in card["devices"]] == [
        (f"{gpu}.0", "bochs-drm"),
        (f"{gpu}.1", "snd_hda_intel"),
        (f"{gpu}.2", "xhci_hcd"),
    ]
    assert [device["class"][:2] for device in card["devices"]] == ["03", "04", "0c"]
    assert len(card["devices"][2]["usb"]) == 1
    dirty = group_of(groups, f"{host.address('dirty')}.0")
    assert {device["driver"] for device in dirty["devices"]} >= {"e1000", "snd_intel8x0", "xhci_hcd"}
    twins = [group_of(groups, f"{host.address(f'twin{number}')}.0") for number in (0, 1)]
    assert twins[0]["id"] != twins[1]["id"]
    assert twins[0]["devices"][0]["device"] == twins[1]["devices"][0]["device"]
    assert {usb["id"] for usb in group_of(groups, f"{host.address('usb')}.0")["devices"][0]["usb"]} == {
        "0627:0001",
        "46f4:0001",
    }


def test_the_topology_is_that_of_the_emulated_processor(host: LabHost) -> None:
    topology = host.json("topology")
    cpus = topology["cpus"]
    assert [cpu["cpu"] for cpu in cpus] == list(range(8))
    assert [cpu["node"] for cpu in cpus] == [0] * 4 + [1] * 4
    assert len({cpu["l3"] for cpu in cpus[:4]}) == len({cpu["l3"] for cpu in cpus[4:]}) == 1
    assert cpus[0]["l3"] != cpus[4]["l3"]
    assert [cpu["siblings"] for cpu in cpus[::2]] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert len(topology["nodes"]) == 2


def test_the_facts_agree_with_lscpu(host: LabHost) -> None:
    listed = [line.split(",") for line in host.shell("lscpu -p=CPU,NODE,SOCKET | grep -v '^#'").splitlines()]
    cpus = host.json("topology")["cpus"]
    assert [[str(cpu["cpu"]), str(cpu["node"]), str(cpu["socket"])] for cpu in cpus] == listed
