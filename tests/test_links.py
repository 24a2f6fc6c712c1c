"""Cards of the types bridge, tap, macvtap and passt: the steps of each, and what is refused beforehand."""

import shlex
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from qlaunch.devices.host_end import passt_argv
from qlaunch.devices.network import tap_name
from qlaunch.host.facts import HostFacts
from qlaunch.host.tree import Tree
from qlaunch.plan import place
from qlaunch.preparation.link_refusals import refusals
from qlaunch.preparation.links import steps
from qlaunch.preparation.wish import Wish
from qlaunch.values.subnet import Subnet
from tests.sites import found, machine

NET = "/sys/class/net"
FILES = {
    "/dev/net/tun": "",
    "/usr/sbin/dnsmasq": "",
    "/usr/bin/passt": "",
    f"{NET}/br0/bridge/stp_state": "0",
    f"{NET}/br0/mtu": "9000",
    f"{NET}/eth0/mtu": "1500",
    f"{NET}/eth0/type": "1",
    f"{NET}/lo/type": "772",
    f"{NET}/lo/mtu": "65536",
    f"{NET}/wlan0/phy80211/name": "phy0",
    f"{NET}/eth1/mtu": "9000",
    f"{NET}/tap7/tun_flags": "0x5002",
    f"{NET}/tap7/mtu": "1500",
    "/proc/net/route": "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
    "eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    "eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n",
}
LINKS = {f"{NET}/eth1/master": "../br0"}
OWN = {"type": "bridge", "bridge": "qlbr0", "create": True, "subnet": "192.168.77.1/24"}


def wish(*cards: dict[str, Any], without: str = "", name: str = "m", carrier: str = "1") -> Wish:
    files = FILES | {f"{NET}/br0/carrier": carrier}
    there = {path: text for path, text in files.items() if path != without}
    return Wish(
        name=name,
        uuid="7b9b5c62-9e0a-5d5d-8f57-3c1f0a0c0d5e",
        machine=machine(network=list(cards)),
        facts=HostFacts(Tree.holding(there, LINKS)),
        runtime=f"/run/qlaunch/{name}",
    )


def test_a_card_on_a_bridge_of_the_host_gets_a_tap_of_the_bridges_size() -> None:
    """A port that is smaller would make the bridge smaller, for everybody on it."""
    made = list(steps(wish({"type": "bridge", "bridge": "br0", "queues": 4, "mtu": 1400})))
    assert [(step.kind, step.claims) for step in made] == [
        ("link", {"br0": "up"}),
        ("tap", {"ql0-m": "tap mac=fe:54:00:0c:0d:5e mtu=9000 queues=many bridge=br0 state=up"}),
    ]


def test_a_bridge_of_ones_own_is_made_then_its_forwarding_nat_dhcp_and_the_tap() -> None:
    made = list(steps(wish({**OWN, "dhcp": True, "nat": True})))
    assert [step.kind for step in made] == ["bridge", "sysfs", "nat", "daemon", "tap"]
    assert [step.lane for step in made] == ["network"] * 5
    (bridge,) = made[0].claims.values()
    assert bridge.startswith("bridge mac=52:51:4c:")
    assert bridge.endswith(" mtu=1500 address=192.168.77.1/24 state=up")
    assert made[1].claims == {
        "/proc/sys/net/ipv4/conf/qlbr0/forwarding": "1",
        "/proc/sys/net/ipv4/conf/eth0/forwarding": "1",
    }
    assert made[2].claims == {"qlaunch-qlbr0": "192.168.77.0/24 behind qlbr0"}
    (command,) = made[3].claims
    assert shlex.split(command)[0] == "/usr/sbin/dnsmasq"
    assert "--dhcp-range=192.168.77.2,192.168.77.254,255.255.255.0,12h" in shlex.split(command)
    assert "--port=0" not in command


def test_without_nat_a_guest_gets_an_address_and_neither_router_nor_names() -> None:
    made = list(steps(wish({**OWN, "dhcp": True})))
    assert [step.kind for step in made] == ["bridge", "daemon", "tap"]
    (command,) = made[1].claims
    assert {"--port=0", "--dhcp-option=option:router"} <= set(shlex.split(command))


def test_two_cards_on_a_bridge_of_ones_own_make_it_once() -> None:
    assert [step.kind for step in steps(wish(OWN, OWN))] == ["bridge", "tap", "tap"]


def test_machines_of_one_bridge_claim_the_very_same() -> None:
    one, other = (list(steps(wish({**OWN, "dhcp": True, "nat": True}, name=name))) for name in ("ada", "bob"))
    assert [step.claims for step in one[:4]] == [step.claims for step in other[:4]]
    assert one[4].claims.keys() != other[4].claims.keys()


def test_a_macvtap_has_the_guests_address_and_what_is_below_it_is_up() -> None:
    made = list(steps(wish({"type": "macvtap", "device": "eth0", "mac": "52:54:00:00:00:09"})))
    assert [(step.kind, step.claims) for step in made] == [
        ("link", {"eth0": "up"}),
        ("macvtap", {"ql0-m": "macvtap mac=52:54:00:00:00:09 mtu=1500 over=eth0 mode=bridge state=up"}),
    ]


def test_a_tap_that_is_there_and_passt_change_nothing_on_the_host() -> None:
    assert not list(steps(wish({"type": "tap", "device": "tap7"}, {"type": "passt"}, {"type": "user"})))


def test_the_hosts_end_never_has_the_guests_address() -> None:
    (step,) = steps(wish({"type": "tap", "mac": "fe:00:00:00:00:01"}))
    assert step.claims == {"ql0-m": "tap mac=fa:00:00:00:00:01 mtu=1500 queues=one bridge=none state=up"}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no-bridge": ({"type": "bridge", "bridge": "br7"}, "there is no bridge br7 on this host"),
    "no-bridge is a card": ({"type": "bridge", "bridge": "eth0"}, "eth0 is no bridge"),
    "mtu": ({"type": "macvtap", "device": "eth0", "mtu": 9000}, "eth0 carries packets of 1500 bytes, and 9000"),
    "no-link": ({"type": "macvtap", "device": "eth7"}, "there is no link eth7"),
    "no-link is the loopback": ({"type": "macvtap", "device": "lo"}, "lo is the loopback"),
    "link-taken": ({"type": "macvtap", "device": "eth1"}, "eth1 belongs to br0"),
    "wireless": ({"type": "macvtap", "device": "wlan0"}, "wlan0 is a wireless card"),
    "no-tap": ({"type": "tap", "device": "tap8"}, "there is no tap tap8"),
    "no-tap is a card": ({"type": "tap", "device": "eth0"}, "eth0 is no tap"),
    "tap-queues": ({"type": "tap", "device": "tap7", "queues": 2}, "tap7 was made for one queue, and 2 are wanted"),
    "no-vhost": ({"type": "tap", "vhost": True}, "there is no /dev/vhost-net"),
    "subnet-taken": ({**OWN, "subnet": "192.168.0.1/16"}, "192.168.0.0/16 is in use on eth0 already"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_the_host_cannot_is_refused_before_anything_is_touched(case: str) -> None:
    card, words = BAD[case]
    (problem,) = refusals(wish(card))
    assert (problem.code, problem.hint != "") == (case.split(maxsplit=1)[0], True)
    assert words in problem.message


@pytest.mark.parametrize(
    ("card", "missing", "code"),
    [
        ({"type": "tap"}, "/dev/net/tun", "no-tun"),
        ({**OWN, "dhcp": True}, "/usr/sbin/dnsmasq", "no-dnsmasq"),
        ({"type": "passt"}, "/usr/bin/passt", "no-passt"),
        ({**OWN, "nat": True}, "/proc/net/route", "no-route"),
    ],
)
def test_what_is_missing_is_told_by_its_name(card: dict[str, Any], missing: str, code: str) -> None:
    assert not list(refusals(wish(card)))
    assert [problem.code for problem in refusals(wish(card, without=missing))] == [code]


def test_a_bridge_without_carrier_is_told_and_used() -> None:
    (problem,) = refusals(wish({"type": "bridge", "bridge": "br0"}, carrier="0"))
    assert (problem.code, problem.severity) == ("no-carrier", "warning")


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True), st.integers(0, 15))
def test_a_name_of_a_link_fits_into_15_bytes_whatever_the_machine_is_called(name: str, index: int) -> None:
    assert len(tap_name(name, index).encode()) <= 15
    assert tap_name(name, index).startswith(f"ql{index}-")


def test_machines_whose_names_begin_alike_have_links_of_their_own() -> None:
    names = {tap_name(name, 0) for name in ("windows-gaming-a", "windows-gaming-b")}
    assert len(names) == 2


@given(st.integers(0, 2**32 - 1), st.integers(8, 30))
def test_addresses_for_guests_are_in_the_network_and_are_not_the_hosts(number: int, prefix: int) -> None:
    text = ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
    try:
        subnet = Subnet.parse(f"{text}/{prefix}")
    except ValueError:
        rest = (1 << (32 - prefix)) - 1
        assert number & rest in (0, rest)
        return
    first, last = (Subnet(f"{guest}/{prefix}").host for guest in subnet.guests)
    assert subnet.network < first <= last < subnet.network | ~subnet.mask & 0xFFFFFFFF
    assert not first <= subnet.host <= last
    assert subnet.overlaps(first, 0xFFFFFFFF)
    assert not subnet.overlaps(subnet.network ^ 1 << (32 - prefix), subnet.mask)


def test_passt_forwards_to_this_host_alone_unless_told_otherwise() -> None:
    argv = passt_argv(["tcp:2222-22", "udp:0.0.0.0:53-5353"], 9000)
    assert argv[3:] == ["--mtu", "9000", "--tcp-ports", "127.0.0.1/2222:22", "--udp-ports", "0.0.0.0/53:5353"]


def test_the_kernel_moves_packets_where_it_can_and_the_card_is_virtio() -> None:
    made = machine(network=[{"type": "tap"}, {"type": "tap", "model": "e1000e"}, {"type": "tap", "vhost": False}])
    site = msgspec.structs.replace(place("m", made, found(made)), vhost=True)
    ends = [card.host_end(site, index) for index, card in enumerate(made.network)]
    assert [end.vhost for end in ends if end] == [True, False, False]
