"""Virtual functions: only what differs is set, what was there comes back, and the number of them is never changed."""

from collections.abc import Callable, Mapping
from itertools import groupby
from types import MappingProxyType

import msgspec
import pytest
from hypothesis import given, strategies as st

from qlaunch import preparation
from qlaunch.devices.network import Network
from qlaunch.errors import HostError
from qlaunch.host.facts import HostFacts
from qlaunch.host.tree import Tree
from qlaunch.preparation.network import refusals, steps, vf_address
from qlaunch.preparation.wish import Wish
from qlaunch.steps.kind import ForeignChangeError
from qlaunch.steps.sriov import Sriov
from qlaunch.steps.vf import Vf, parsed, printed
from qlaunch.values.pci import PciAddress
from tests.fakes.host import FakeHost
from tests.sites import machine

FOUND = "mac=00:00:00:00:00:00 vlan=0:0:802.1Q spoofchk=on trust=off link_state=auto rate=0-0"
CLAIM = "mac=52:54:00:dd:82:2e vlan=69:2:802.1Q"
KEY = "enp7s0 vf 1"
PF = "/sys/devices/pci0000:00/0000:00:01.0/0000:07:00.1"
SETTINGS = st.fixed_dictionaries(
    {
        "mac": st.sampled_from(["02:00:00:00:00:01", "02:00:00:00:00:02"]),
        "vlan": st.sampled_from(["0:0:802.1Q", "69:0:802.1Q", "70:3:802.1ad"]),
        "trust": st.sampled_from(["on", "off"]),
    }
)


def host_with(settings: str = FOUND) -> FakeHost:
    host = FakeHost()
    host.netlink.functions["enp7s0", 1] = parsed(settings)
    return host


def test_only_what_differs_is_set() -> None:
    host, kind = host_with(), Vf()
    kind.write(host, KEY, kind.merge(kind.read(host, KEY), [CLAIM]))
    assert host.changes == [(KEY, "mac=52:54:00:dd:82:2e"), (KEY, "vlan=69:2:802.1Q")]


def test_a_card_that_refuses_is_named_with_the_setting() -> None:
    host, kind = host_with(), Vf()
    host.netlink.refused["vlan"] = 22
    with pytest.raises(OSError, match="enp7s0 vf 1 vlan=69:2:802.1Q"):
        kind.write(host, KEY, kind.merge(FOUND, [CLAIM]))


def test_a_function_in_reset_is_asked_again_until_it_is_patient_no_more() -> None:
    host, asked = host_with(), []

    def in_reset(_number: int, path: str, _text: str) -> None:
        asked.append(path)
        if len(asked) < 3:
            raise OSError(11, "Resource temporarily unavailable", path)

    host.fail = in_reset
    with pytest.raises(OSError, match="temporarily"):
        Vf().write(host, KEY, FOUND.replace("trust=off", "trust=on"))
    host.wait = lambda condition, timeout_s: any(condition() for _ in range(int(timeout_s)))  # type: ignore[method-assign]
    Vf().write(host, KEY, FOUND.replace("trust=off", "trust=on"))
    assert Vf().read(host, KEY) == FOUND.replace("trust=off", "trust=on")


CARRIER = "/sys/class/net/enp7s0/carrier"
LIMITED = FOUND.replace("rate=0-0", "rate=0-100")


def host_without_a_carrier(looks: int) -> FakeHost:
    """A host whose card has one at a later look; until then its driver refuses a rate, like one that is too high."""
    host, left = host_with(), iter(range(looks))

    def refuse(_number: int, path: str, _text: str) -> None:
        if CARRIER not in host.files:
            raise OSError(22, "Invalid argument", path)

    def look_again(condition: Callable[[], bool], timeout_s: float) -> bool:
        for _ in range(int(timeout_s)):
            if next(left, None) is None:
                host.files[CARRIER] = "1"
            if condition():
                return True
        return False

    host.fail = refuse
    host.wait = look_again  # type: ignore[method-assign]
    return host


@pytest.mark.parametrize("looks", [0, 3])
def test_a_rate_is_set_once_the_card_has_a_carrier(looks: int) -> None:
    host = host_without_a_carrier(looks)
    Vf().write(host, KEY, LIMITED)
    assert Vf().read(host, KEY) == LIMITED


def test_a_rate_without_a_carrier_and_one_that_cannot_be_had_are_told_apart() -> None:
    host = host_without_a_carrier(99)
    with pytest.raises(HostError, match="the driver of enp7s0 takes no rate while the card has no carrier") as caught:
        Vf().write(host, KEY, LIMITED)
    assert caught.value.hint == "plug in its cable, or leave max_tx_mbps out"
    host.files[CARRIER] = "1"
    host.netlink.refused["rate"] = 22
    with pytest.raises(OSError, match="rate=0-100"):
        Vf().write(host, KEY, LIMITED)


def test_a_function_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(HostError, match="enp7s0 has no virtual function 1"):
        Vf().write(FakeHost(), KEY, FOUND)


@given(SETTINGS, SETTINGS, st.integers(0, 3))
def test_a_write_that_was_cut_off_anywhere_is_undone(old: dict[str, str], new: dict[str, str], writes: int) -> None:
    host, kind = host_with(printed(old)), Vf()
    for name in list(new)[:writes]:
        host.netlink.functions["enp7s0", 1][name] = new[name]
    current = kind.read(host, KEY)
    target = kind.settle(current, printed(old), printed(new), [])
    assert target == printed(old)
    kind.write(host, KEY, target)
    assert kind.read(host, KEY) == printed(old)


def test_what_somebody_else_set_stays() -> None:
    host = host_with(FOUND.replace("vlan=0:0", "vlan=7:0"))
    with pytest.raises(ForeignChangeError):
        Vf().settle(Vf().read(host, KEY), FOUND, CLAIM, [])


def test_functions_are_made_where_there_are_none_and_taken_away_by_the_last() -> None:
    kind = Sriov()
    assert kind.merge("0", ["2", "4"]) == "4"
    assert kind.settle("4", "0", "4", ["2"]) == "4"
    assert kind.settle("4", "0", "2", []) == "0"
    assert kind.settle("0", "0", "2", []) == "0"
    assert kind.settle("7", "7", "2", []) == "7"
    assert kind.settle("8", "4", "2", []) == "8"  # of those that were there before none is taken away


def test_a_number_that_is_not_zero_is_never_changed() -> None:
    host, kind = FakeHost({"/numvfs": "2"}), Sriov()
    assert kind.merge("7", ["2"]) == "7"
    with pytest.raises(HostError, match="/numvfs is 2, and 4 are needed"):
        kind.write(host, "/numvfs", kind.merge("2", ["4"]))
    assert host.files["/numvfs"] == "2"
    assert not host.changes


def facts(
    numvfs: str = "0", *, iommu: bool = True, way_out: bool = False, more: Mapping[str, str] = MappingProxyType({})
) -> HostFacts:
    files = {
        f"{PF}/sriov_totalvfs": "7",
        f"{PF}/sriov_numvfs": numvfs,
        f"{PF}/sriov_offset": "128",
        f"{PF}/sriov_stride": "2",
        f"{PF}/net/enp7s0/operstate": "down",
        "/sys/kernel/iommu_groups/7/type": "DMA",
    }
    links = {
        "/sys/class/net/enp7s0": f"../..{PF.removeprefix('/sys')}/net/enp7s0",
        "/sys/bus/pci/devices/0000:07:00.1": f"../../..{PF.removeprefix('/sys')}",
        "/sys/kernel/iommu_groups/7/devices/0000:07:00.1": f"../../../..{PF.removeprefix('/sys')}",
    }
    if not iommu:
        files.pop("/sys/kernel/iommu_groups/7/type")
        links.pop("/sys/kernel/iommu_groups/7/devices/0000:07:00.1")
    if way_out:
        files["/sys/devices/pci0000:00/0000:00:01.0/0000:07:10.3/net/enp7s0v1/mtu"] = "1500"
        links["/sys/class/net/enp7s0v1"] = "../../devices/pci0000:00/0000:00:01.0/0000:07:10.3/net/enp7s0v1"
        files["/proc/net/route"] = "Iface\nenp7s0v1\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    return HostFacts(Tree.holding(files | dict(more), links))


def wish(card: Network, numvfs: str = "0", found: HostFacts | None = None) -> Wish:
    return Wish(
        name="m",
        uuid="7b9b5c62-9e0a-5d5d-8f57-3c1f0a0c0d5e",
        machine=machine(network=[card]),
        facts=found or facts(numvfs),
        runtime="/run/qlaunch/m",
    )


def test_the_address_of_a_function_is_known_before_it_is_made() -> None:
    assert str(vf_address(facts(), Network(type="vf", pf="enp7s0", vf=1))) == "0000:07:10.3"


def test_functions_are_made_then_set() -> None:
    made = list(steps(wish(Network(type="vf", pf="enp7s0", vf=1, vlan=69))))
    assert [step.kind for step in made] == ["sysfs", "sriov", "pci-driver", "link", "vf"]
    assert list(made[1].claims.values()) == ["2"]
    assert made[4].claims == {KEY: "mac=52:54:00:0c:0d:5e vlan=69:0:802.1Q"}


@pytest.mark.parametrize(
    ("state", "kinds"), [("down", ["pci-driver", "link", "vf"]), ("up", ["link", "vf", "pci-driver"])]
)
def test_a_card_that_is_down_is_set_up_beside_qemu_s_start_and_its_functions_after_it(
    state: str, kinds: list[str]
) -> None:
    """A function of a card that is up is set before it is opened."""
    found = facts(more={f"{PF}/net/enp7s0/operstate": state, f"{PF}/sriov_numvfs": "4"})
    made = list(steps(wish(Network(type="vf", pf="enp7s0", vf=1), found=found)))
    assert [step.kind for step in made] == kinds
    late = [step.kind for step in made if step.moment == "beside-launch"]
    assert late == (["link", "vf"] if state == "down" else [])
    assert len({step.lane for step in made if step.kind in ("link", "vf")}) == 1


@pytest.mark.parametrize(
    ("stop", "before"), [("sshd.service", ["devices"]), ("display-manager.service", [])], ids=["service", "screen"]
)
def test_functions_are_made_beside_the_handing_over_of_cards_and_between_services_and_owners(
    stop: str, before: list[str]
) -> None:
    """Where the order of themes puts something between the two, or an owner beside them, they are no branches."""
    card = Network(type="vf", pf="enp7s0", vf=1)
    sections = {"pci": [{"host": "07:00.1"}], "host": {"services": {"stop": [stop]}, "user": "alice"}}
    found = facts(more={"/etc/passwd": "root:x:0:0::/:/\nalice:x:1000:1000::/:/\n"})
    made = preparation.steps(
        msgspec.structs.replace(wish(card, found=found), machine=machine(network=[card], **sections))
    )
    lanes = [lane for lane, _ in groupby(step.lane for step in made if step.lane.startswith("devices"))]
    assert lanes == [*before, "devices/pci", "devices/vf", "devices"]
    assert made[-1].kind == "owner"


def test_a_function_named_by_its_address_is_found_on_its_card() -> None:
    card = Network(type="vf", host=PciAddress.parse("07:10.3"), vlan=69)
    made = list(steps(wish(card)))
    assert [step.kind for step in made] == ["sysfs", "sriov", "pci-driver", "link", "vf"]
    assert made[4].claims == {KEY: "mac=52:54:00:0c:0d:5e vlan=69:0:802.1Q"}
    assert made[2].claims == {"0000:07:10.3": "vfio-pci"}
    assert list(refusals(wish(card))) == []
    (problem,) = refusals(wish(Network(type="vf", host=PciAddress.parse("08:10.3"))))
    assert (problem.code, problem.key) == ("no-vf", "network.0.host")


def test_functions_that_are_there_are_only_set() -> None:
    made = list(steps(wish(Network(type="vf", pf="enp7s0", vf=1), numvfs="4")))
    assert [step.kind for step in made] == ["pci-driver", "link", "vf"]


@pytest.mark.parametrize(
    ("card", "numvfs", "code"),
    [
        (Network(type="vf", pf="enp7s0", vf=1), "0", None),
        (Network(type="vf", pf="enp7s0", vf=7), "0", "vf-beyond"),
        (Network(type="vf", pf="enp7s0", vf=2), "2", "vf-beyond"),
        (Network(type="vf", pf="enp9s0", vf=0), "0", "no-pf"),
    ],
)
def test_what_the_card_cannot_is_refused_before_anything_is_touched(
    card: Network, numvfs: str, code: str | None
) -> None:
    assert [problem.code for problem in refusals(wish(card, numvfs))] == ([code] if code else [])


def test_without_an_iommu_and_for_the_hosts_own_way_out_it_is_refused() -> None:
    card = Network(type="vf", pf="enp7s0", vf=1)
    (problem,) = refusals(wish(card, found=facts(iommu=False)))
    assert (problem.code, problem.key) == ("no-iommu", "network.0")
    (problem,) = refusals(wish(card, found=facts("2", way_out=True)))
    assert problem.message == "VF 1 of enp7s0 (0000:07:10.3) is this host's way to the network (enp7s0v1)"
