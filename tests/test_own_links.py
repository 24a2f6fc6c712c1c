"""Links of qlaunch's own: the same tests against the host in memory and the kernel, in a namespace of its own."""

from collections.abc import Iterator

import pytest

from qlaunch.errors import HostError
from qlaunch.steps.host import LocalHost
from qlaunch.steps.kind import Kind
from qlaunch.steps.nat import Nat, behind
from qlaunch.steps.nftables import _from_network
from qlaunch.steps.own_link import Bridge, Macvtap, Tap, claim
from tests.fakes.host import FakeHost
from tests.namespaces import network_namespace, why_none

Host = FakeHost | LocalHost

BRIDGE = claim("bridge", "52:51:4c:00:00:01", "1400", address="192.168.77.1/24")
PLAIN = claim("bridge", "52:51:4c:00:00:02", "1500", address="none")
TAP = claim("tap", "fe:54:00:00:00:01", "1400", queues="many", bridge="br0")
ALONE = claim("tap", "fe:54:00:00:00:02", "1500", queues="one", bridge="none")
MACVTAP = claim("macvtap", "52:54:00:00:00:03", "1400", over="br0", mode="bridge")
NAT = behind("192.168.64.0/20", "br0")


@pytest.fixture(params=["in memory", "in the kernel"])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    if request.param == "in memory":
        yield FakeHost()
        return
    if why_none():
        pytest.skip(why_none())
    with network_namespace():
        yield LocalHost()


def made(host: Host, kind: Kind, key: str, value: str) -> None:
    kind.write(host, key, value)
    assert kind.read(host, key) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [(Bridge(), BRIDGE), (Bridge(), PLAIN), (Tap(), ALONE), (Nat(), NAT)],
    ids=["bridge", "bridge without an address", "tap", "nat"],
)
def test_what_is_written_is_read_and_goes(host: Host, kind: Kind, value: str) -> None:
    assert kind.read(host, "ql0") is None
    made(host, kind, "ql0", value)
    made(host, kind, "ql0", value)
    kind.write(host, "ql0", None)
    assert kind.read(host, "ql0") is None
    kind.write(host, "ql0", None)


def test_links_that_need_another_one(host: Host) -> None:
    with pytest.raises(OSError, match="br0"):
        Tap().write(host, "ql0", TAP)
    assert Tap().read(host, "ql0") != TAP  # the tap is there, half made: it is for the undo to remove
    with pytest.raises(OSError, match="br0"):
        Macvtap().write(host, "ql1", MACVTAP)
    assert Macvtap().read(host, "ql1") is None
    made(host, Bridge(), "br0", BRIDGE)
    made(host, Tap(), "ql0", TAP)
    made(host, Macvtap(), "ql1", MACVTAP)


def test_a_bridge_that_goes_lets_its_ports_go_and_a_macvtap_goes_with_what_it_is_over(host: Host) -> None:
    made(host, Bridge(), "br0", BRIDGE)
    made(host, Tap(), "ql0", TAP)
    made(host, Macvtap(), "ql1", MACVTAP)
    Bridge().write(host, "br0", None)
    assert Tap().read(host, "ql0") == TAP.replace("bridge=br0", "bridge=none")
    assert Macvtap().read(host, "ql1") is None


def test_a_bridge_keeps_its_address_and_size_whatever_its_ports_are(host: Host) -> None:
    made(host, Bridge(), "br0", BRIDGE)
    made(host, Tap(), "ql0", TAP.replace("fe:54", "02:00").replace("1400", "1300"))
    assert Bridge().read(host, "br0") == BRIDGE


@pytest.mark.parametrize(
    ("kind", "half", "whole"),
    [
        (Bridge(), PLAIN, BRIDGE),
        (Bridge(), BRIDGE.replace("77.1/24", "78.1/16"), BRIDGE),
        (Tap(), ALONE, ALONE.replace("queues=one", "queues=many")),
        (Tap(), PLAIN, ALONE),
        (Nat(), behind("10.0.0.0/8", "br1"), NAT),
    ],
    ids=["settings", "address", "queues", "another kind", "rule"],
)
def test_whatever_is_there_becomes_what_is_wanted(host: Host, kind: Kind, half: str, whole: str) -> None:
    maker = Bridge() if half == PLAIN else kind
    made(host, maker, "ql0", half)
    made(host, kind, "ql0", whole)


def test_a_name_that_is_taken_is_refused() -> None:
    for kind in (Bridge(), Tap(), Macvtap()):
        with pytest.raises(HostError, match="taken by a link that is not qlaunch's: bridge mac=52"):
            kind.merge(PLAIN, [BRIDGE])
    with pytest.raises(HostError, match="a table of nftables by that name"):
        Nat().merge("", [NAT])


def test_what_is_ours_goes_however_somebody_has_changed_it() -> None:
    assert Tap().settle(TAP.replace("1400", "1280"), None, TAP, []) is None
    assert Bridge().settle(PLAIN, None, BRIDGE, [BRIDGE]) == BRIDGE
    assert Nat().settle("", None, NAT, []) is None


def test_a_network_is_compared_by_the_bits_of_its_prefix() -> None:
    _, mask, wanted = _from_network("192.168.64.0/20")
    assert repr(b"\xff\xff\xf0\x00") in str(mask)
    assert repr(bytes((192, 168, 64, 0))) in str(wanted)
