"""Requests to rtnetlink: to the kernel, in a namespace of the test's own, and to one that answers as it rarely does."""

import errno
import socket
import struct
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, strategies as st

from qlaunch.steps import rtnetlink
from qlaunch.steps.host import LocalHost
from qlaunch.steps.links import Netlink, _attribute, _settings, described_link, found_link, index_of, told_of
from qlaunch.steps.own_links import OwnNetlinks, _address
from qlaunch.steps.pyroute import Message, link_message
from qlaunch.steps.rtnetlink import DUMP, GETADDR, GETLINK, NEW, NEWADDR, NEWLINK, Rtnetlink, _decoded
from tests.namespaces import namespace

__all__ = ["namespace"]

NOARP = 0x80
MAC = "52:54:00:00:00:01"
FUNCTION = st.fixed_dictionaries(
    {
        "mac": st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":")),
        "vlan": st.tuples(st.integers(0, 4095), st.integers(0, 7), st.sampled_from(["802.1Q", "802.1ad"])).map(
            lambda parts: ":".join(map(str, parts))
        ),
        "spoofchk": st.sampled_from(["on", "off"]),
        "trust": st.sampled_from(["on", "off"]),
        "link_state": st.sampled_from(["auto", "enable", "disable"]),
        "rate": st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)).map(lambda two: f"{two[0]}-{two[1]}"),
    }
)


def found(netlink: Rtnetlink, name: str) -> Message:
    """A link that is there."""
    link = found_link(netlink, name)
    assert link
    return link


@given(FUNCTION, st.integers(0, 255))
def test_what_is_set_of_a_function_is_what_is_read_of_it(settings: dict[str, str], number: int) -> None:
    """The kernel lists a function with the attributes that it is set by."""
    info = {"attrs": [_attribute(number, name, text) for name, text in settings.items()]}
    sent = described_link("eth0", IFLA_VFINFO_LIST={"attrs": [("IFLA_VF_INFO", info)]})
    sent.encode()
    received = _decoded(link_message(), bytes(sent.data))
    assert _settings(received.get_attr("IFLA_VFINFO_LIST").get_attr("IFLA_VF_INFO")) == settings


@pytest.mark.usefixtures("namespace")
def test_a_link_is_set_up_and_down_and_nothing_else_of_it() -> None:
    links = Netlink()
    assert links.state("lo") == "down"
    OwnNetlinks().make("br0", "bridge", {"mac": MAC})
    with Rtnetlink() as netlink:
        message = described_link("br0")
        message |= {"flags": NOARP, "change": NOARP}
        netlink.ask(NEWLINK, message)
        before = found(netlink, "br0")["flags"]
        for state in ("up", "up", "down"):
            links.set_state("br0", state)
            assert links.state("br0") == state
        assert found(netlink, "br0")["flags"] == before
    assert links.function("lo", 0) is None


@pytest.mark.usefixtures("namespace")
def test_what_is_not_there_is_none_or_named() -> None:
    links = Netlink()
    for name in ("eth9", "longer-than-names-of-links-are"):
        assert links.state(name) is None
        assert links.function(name, 0) is None
        assert OwnNetlinks().described(name) is None
    over = {"mac": MAC, "over": "eth9", "mode": "bridge"}
    acts: list[Callable[[], None]] = [
        lambda: links.set_state("eth9", "up"),
        lambda: OwnNetlinks().remove("eth9"),
        lambda: OwnNetlinks().make("tap9", "macvtap", over),
    ]
    for act in acts:
        with pytest.raises(OSError, match="No such device.*: 'eth9'") as refused:
            act()
        assert refused.value.errno == errno.ENODEV


@pytest.mark.usefixtures("namespace")
def test_a_refusal_has_the_words_of_the_kernel_and_what_was_asked() -> None:
    links = OwnNetlinks()
    links.make("br0", "bridge", {"mac": MAC})
    with pytest.raises(OSError, match=r"mtu greater than device maximum\).*: 'br0 mtu=99999999'"):
        links.set("br0", "mtu", "99999999")
    with pytest.raises(FileExistsError, match="'br0'"):
        links.make("br0", "bridge", {"mac": MAC})
    with pytest.raises(OSError, match="not supported.*: 'br0 vf 0 vlan=5:0:802.1Q'"):
        Netlink().set_function("br0", 0, {"vlan": "5:0:802.1Q"})


@pytest.mark.usefixtures("namespace")
def test_each_setting_of_a_link_is_set_and_no_other() -> None:
    links = OwnNetlinks()
    links.make("br0", "bridge", {"mac": MAC})
    wanted = {"mac": MAC, "mtu": "1500", "address": "none", "state": "down"}
    for setting, text in {"mac": f"{MAC[:-1]}2", "mtu": "1400", "address": "192.168.7.1/24", "state": "up"}.items():
        assert links.described("br0") == ("bridge", wanted)
        links.set("br0", setting, text)
        wanted[setting] = text
    assert links.described("br0") == ("bridge", wanted)


@pytest.mark.usefixtures("namespace")
def test_a_port_of_a_new_bridge_need_not_wait_and_can_leave_it() -> None:
    links = OwnNetlinks()
    links.make("br0", "bridge", {"mac": MAC})
    with Rtnetlink() as netlink:
        made = found(netlink, "br0").get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
    assert (made.get_attr("IFLA_BR_FORWARD_DELAY"), made.get_attr("IFLA_BR_STP_STATE")) == (0, 0)
    links.make("tap0", "tap", {"queues": "one"})
    for bridge in ("br0", "none"):
        links.set("tap0", "bridge", bridge)
        described = links.described("tap0")
        assert described
        assert described[1]["bridge"] == bridge


@pytest.mark.usefixtures("namespace")
@pytest.mark.parametrize("promoted", ["0", "1"])
@pytest.mark.parametrize("strict", [True, False], ids=["strict", "as before Linux 4.20"])
def test_all_addresses_of_a_bridge_give_way_and_none_of_another(
    monkeypatch: pytest.MonkeyPatch, promoted: str, *, strict: bool
) -> None:
    """The first one of a network takes the others of it with it, or it does not, by a setting."""
    if not strict:
        monkeypatch.setattr(rtnetlink, "_STRICT", 9999)  # no such option
    for which in ("all", "default"):
        LocalHost().write(f"/proc/sys/net/ipv4/conf/{which}/promote_secondaries", promoted)
    links = OwnNetlinks()
    for name in ("br0", "br1"):
        links.make(name, "bridge", {"mac": MAC})
    links.set("br1", "address", "192.168.6.1/24")
    with Rtnetlink() as netlink:
        for number in (1, 2, 3):
            message = _address(index_of(netlink, "br0"), 24)
            message["attrs"] = [("IFA_LOCAL", f"192.168.7.{number}"), ("IFA_ADDRESS", f"192.168.7.{number}")]
            netlink.ask(NEWADDR, message, NEW)
        listed = netlink.ask(GETADDR, _address(index_of(netlink, "br0")), DUMP)
    assert len(listed) == (3 if strict else 4)
    links.set("br0", "address", "192.168.9.1/24")
    described = [links.described(name) for name in ("br0", "br1")]
    assert [one and one[1]["address"] for one in described] == ["192.168.9.1/24", "192.168.6.1/24"]


@pytest.mark.usefixtures("namespace")
def test_a_list_longer_than_a_packet_is_read_to_its_end() -> None:
    for number in range(60):
        OwnNetlinks().make(f"br{number}", "bridge", {"mac": MAC})
    with Rtnetlink() as netlink:
        names = {link.get_attr("IFLA_IFNAME") for link in netlink.ask(GETLINK, link_message()(), DUMP)}
        assert found(netlink, "br59")["index"] > 0  # nothing of the list is taken for the answer
    assert names >= {"lo", *(f"br{number}" for number in range(60))}


Kernel = Callable[..., None]


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The kernel's end of the socket that is opened next."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(10)
    monkeypatch.setattr(socket, "socket", lambda *_: ours)
    with ours, theirs:
        yield theirs


@pytest.fixture
def kernel(wire: socket.socket) -> Kernel:
    """Let a test put answers there, a packet for each call."""

    def answer(*messages: bytes) -> None:
        wire.send(b"".join(messages))

    return answer


def named(name: str, *, sequence: int = 1, flags: int = 0) -> bytes:
    message = described_link(name)
    message["header"] = {"type": 16, "flags": flags, "sequence_number": sequence}
    message.encode()
    return bytes(message.data)


def ends(kind: int, code: int = 0, *, sequence: int = 1, flags: int = 0, rest: bytes = b"") -> bytes:
    return struct.pack("=IHHIIi", 20 + len(rest), kind, flags, sequence, 0, code) + rest


def names(netlink: Rtnetlink) -> list[str]:
    return [link.get_attr("IFLA_IFNAME") for link in netlink.ask(GETLINK, link_message()(), DUMP)]


def test_answers_to_something_else_are_passed_over(kernel: Kernel) -> None:
    kernel(named("old", sequence=9), ends(2, -errno.EPERM, sequence=9), named("new"))
    kernel(ends(3))
    with Rtnetlink() as netlink:
        assert names(netlink) == ["new"]


def test_a_list_that_changed_meanwhile_is_asked_for_again(kernel: Kernel) -> None:
    kernel(named("half", flags=0x10), ends(3))
    kernel(named("whole", sequence=2), ends(3, sequence=2))
    with Rtnetlink() as netlink:
        assert names(netlink) == ["whole"]


def test_a_link_that_may_not_be_looked_at_is_not_taken_for_none(kernel: Kernel) -> None:
    kernel(ends(2, -errno.EPERM))
    with Rtnetlink() as netlink, pytest.raises(PermissionError):
        found_link(netlink, "eth0")


def test_what_ends_a_list_early_is_raised(kernel: Kernel) -> None:
    words = struct.pack("=HH", 4 + 9, 1) + b"no longer"
    kernel(named("one"), ends(3, -errno.EINVAL, rest=words))
    with Rtnetlink() as netlink, pytest.raises(OSError, match="no longer"):
        names(netlink)


@pytest.mark.parametrize("capped", [True, False])
def test_the_words_are_found_behind_whatever_else_is_told(kernel: Kernel, *, capped: bool) -> None:
    asked = struct.pack("=IHHII", 16 if capped else 23, 18, 0, 1, 0) + (b"" if capped else b"1234567\0")
    offset, words = struct.pack("=HHI", 8, 2, 16), struct.pack("=HH", 4 + 4, 1) + b"why\0"
    kernel(ends(2, -errno.EINVAL, flags=0x100 if capped else 0, rest=asked + offset + words))
    with Rtnetlink() as netlink, pytest.raises(OSError, match=r"\[Errno 22\] Invalid argument \(why\)$"):
        names(netlink)


@pytest.mark.parametrize(
    "rest", [b"", b"\0" * 16, b"\0" * 17, b"\xff" * 20, struct.pack("=IHHII", 0, 0, 0, 0, 0) + b"\0" * 8]
)
def test_a_refusal_without_sense_is_still_a_refusal(kernel: Kernel, rest: bytes) -> None:
    kernel(ends(2, -errno.EBUSY, rest=rest))
    with Rtnetlink() as netlink, pytest.raises(OSError, match="busy$"):
        names(netlink)


@pytest.mark.parametrize(
    "packet",
    [b"\0", bytes(15), bytes(16), named("cut")[:-1], struct.pack("=IHHII", 8, 16, 0, 1, 0), ends(2)[:19]]
    + [struct.pack("=IHHII", 16, kind, 0, 1, 0) for kind in (2, 3)],
)
def test_what_is_not_whole_is_refused(kernel: Kernel, packet: bytes) -> None:
    kernel(packet)
    with Rtnetlink() as netlink, pytest.raises(OSError, match="Bad message"):
        names(netlink)


def test_a_list_that_never_stays_the_same_is_given_up(kernel: Kernel) -> None:
    for sequence in range(1, 30):
        kernel(named("half", sequence=sequence, flags=0x10), ends(3, sequence=sequence))
    with Rtnetlink() as netlink, pytest.raises(BlockingIOError, match="has changed 20 times"):
        names(netlink)


def test_a_function_is_found_among_very_many(kernel: Kernel, wire: socket.socket) -> None:
    """A card with 250 of them answers in one message; it is asked for them, and not for what they have counted."""
    settings = {"mac": MAC, "vlan": "5:0:802.1Q", "spoofchk": "on", "trust": "off", "link_state": "auto", "rate": "0-9"}
    info = {"attrs": [_attribute(249, name, text) for name, text in settings.items()]}
    message = described_link("eth0", IFLA_VFINFO_LIST={"attrs": [("IFLA_VF_INFO", info)] * 250})
    message["header"] = {"type": 16, "flags": 0, "sequence_number": 1}
    message.encode()
    assert len(message.data) > 1 << 14
    kernel(bytes(message.data), ends(2))
    assert Netlink().function("eth0", 249) == settings
    asked = _decoded(link_message(), wire.recv(4096))
    assert asked.get_attr("IFLA_EXT_MASK") == 0x9


def test_what_has_no_number_keeps_its_words() -> None:
    with pytest.raises(OSError, match="^no address$"), told_of("br0"):
        raise OSError("no address")
