"""Cards on bridges, macvtaps and passt: a guest gets an address, reaches a neighbour, and the host is as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab import faults, guest, wire
from tests.lab.host import PATIENCE_S, LabHost

pytestmark = pytest.mark.lab

OWN_BRIDGE = """
[[network]]
type = "bridge"
bridge = "qlbr0"
create = true
subnet = "192.168.77.1/24"
dhcp = true
nat = true
queues = 2
vhost = true
"""
MACVTAP = """
[[network]]
type = "macvtap"
device = "{nic}"
mac = "{mac}"
"""
MACVTAP_MAC = "52:54:00:77:00:01"
PASST = """
[[network]]
type = "passt"
forward = ["tcp:2222-22"]
"""
# Inside the small Linux guest.
CARD = """
set -e
card=$(ls /sys/class/net | grep -v lo)
ip link set lo up
ip link set $card up
"""
LEASE = """
cat > /lease <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/$mask dev $interface
[ -z "$router" ] || ip route add default via $router
echo lease $ip router $router dns $dns
END
chmod +x /lease
udhcpc -f -q -n -t 30 -T 2 -s /lease -i $card
"""
WAIT = "echo all is well\nwhile :; do sleep 1; done\n"


@contextmanager
def neighbour(host: LabHost, near: str, far: str) -> Iterator[None]:
    """Make a computer at the far end of a cable to the lab's host: a network namespace that lives with a process."""
    make = f"""
        set -e
        setsid unshare -n sleep infinity < /dev/null > /dev/null 2>&1 & echo $! > /tmp/neighbour
        ip link add near type veth peer name far
        ip link set near up
        {near}
        while [ "$(readlink /proc/$!/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do :; done
        ip link set far netns $!
        nsenter -t $! -n sh -c 'ip link set lo up; ip link set far up; ip addr add {far} dev far'
    """
    host.shell(make)
    try:
        yield
    finally:
        host.shell("ip link del near; kill $(cat /tmp/neighbour); rm /tmp/neighbour")


@contextmanager
def way_out(host: LabHost) -> Iterator[None]:
    """Let the host's default route go over a cable to a neighbour, who knows nothing of networks behind the host."""
    near = "ip addr add 10.99.0.2/24 dev near; ip route add default via 10.99.0.1"
    with neighbour(host, near, "10.99.0.1/24"):
        yield


def nic(host: LabHost) -> str:
    return host.shell(f"ls /sys/bus/pci/devices/{host.address('nic')}.0/net").split()[0]


def kept(sections: str) -> str:
    """A guest that does nothing for as long as it is let."""
    return guest.machine(sections, WAIT)


def shown(host: LabHost) -> str:
    """What there is of links, tables and helpers."""
    return host.shell("ip -br link; nft list ruleset; pgrep -a dnsmasq || true; pgrep -a passt || true")


def test_a_guest_gets_an_address_and_goes_out_by_a_bridge_of_its_own(host: LabHost) -> None:
    """The neighbour has no way back to the guest's network: its answer comes only if the address was translated."""
    with way_out(host):
        script = f"{CARD}{LEASE}ping -c 2 -W 10 10.99.0.1\nping -c 2 -W 10 192.168.77.1\n{WAIT}"
        job = guest.start(host, OWN_BRIDGE, script)
        job.wait_for_output("all is well", PATIENCE_S)
        meanwhile = shown(host)
        forwarding = host.read("/proc/sys/net/ipv4/conf/near/forwarding")
        pid = host.json("status", guest.NAME)["pid"]
        opened = host.shell(f"readlink /proc/{pid}/fd/*")
        host.qlaunch("down", guest.NAME, "--force")
        said = job.wait(PATIENCE_S).out
        assert host.read("/proc/sys/net/ipv4/conf/near/forwarding") == "0"
    assert "lease 192.168.77." in said
    assert said.count("2 packets received") == 2
    assert "ip saddr 192.168.77.0/24" in meanwhile
    assert "--interface=qlbr0" in meanwhile
    assert forwarding == "1"
    assert opened.split().count("/dev/net/tun") == opened.split().count("/dev/vhost-net") == 2
    assert "qlbr0" not in shown(host)


def test_two_machines_share_a_bridge_which_goes_with_the_last(host: LabHost) -> None:
    quiet = OWN_BRIDGE.replace("nat = true", "").replace("vhost = true", "vhost = false")
    host.machine("ada", kept(quiet))
    host.machine("bob", kept(quiet))
    host.qlaunch("up", "ada", "--detach")
    host.qlaunch("up", "bob", "--detach")
    both = shown(host)
    host.qlaunch("down", "ada", "--force")
    one = shown(host)
    host.qlaunch("down", "bob", "--force")
    assert both.count("--interface=qlbr0") == one.count("--interface=qlbr0") == 1
    assert "ql0-ada" in both
    assert "ql0-ada" not in one
    assert "ql0-bob" in one
    assert "ql0-bob" not in shown(host)


def test_a_guest_reaches_a_neighbour_by_a_bridge_of_the_host(host: LabHost) -> None:
    on_bridge = "ip link add br0 type bridge; ip link set br0 up; ip link set near master br0"
    with neighbour(host, on_bridge, "10.98.0.1/24"):
        try:
            script = f"{CARD}ip addr add 10.98.0.2/24 dev $card\nping -c 2 -W 10 10.98.0.1\n"
            said = guest.run(host, '[[network]]\ntype = "bridge"\nbridge = "br0"\n', script)
            assert "ql0-linux" not in shown(host)
        finally:
            host.shell("ip link del br0")
    assert "2 packets received" in said


def test_frames_of_a_macvtap_leave_the_card_and_answers_come_back(host: LabHost) -> None:
    card = nic(host)
    script = f"{CARD}ip addr add 10.70.0.2/24 dev $card\narping -f -c 300 -w 300 -I $card 10.70.0.1\n"
    with wire.Wire(host.emulator.folder) as far_end:
        job = guest.start(host, MACVTAP.format(nic=card, mac=MACVTAP_MAC), script)
        frame = far_end.frame_from(MACVTAP_MAC, PATIENCE_S)
        while frame.protocol != wire.ARP:
            frame = far_end.frame_from(MACVTAP_MAC)
        said = guest.finish(job)
    assert frame.vlan is None
    assert f"from 10.70.0.1 [{wire.STATION}]" in said.lower()


def test_what_a_guest_sends_over_a_tap_is_counted_as_sent(host: LabHost) -> None:
    """Much goes out, and nothing like that comes in, though for the host it is the other way round."""
    unanswered = "arp -s 10.98.0.1 52:54:00:00:00:09\nping -c 3 -s 60000 10.98.0.1 || true\n"
    script = f"{CARD}ip addr add 10.98.0.2/24 dev $card\n{unanswered}{WAIT}"
    host.shell("ip link add br0 type bridge; ip link set br0 up")
    try:
        job = guest.start(host, '[[network]]\ntype = "bridge"\nbridge = "br0"\n', script)
        job.wait_for_output("all is well", PATIENCE_S)
        card = host.json("status", guest.NAME)["cards"]["net0"]
        shown = host.qlaunch("status", guest.NAME).out
        host.qlaunch("down", "--force", guest.NAME)
        job.wait(PATIENCE_S)
    finally:
        host.shell("ip link del br0")
    assert card["type"] == "bridge"
    assert card["sent"] > 3 * 60_000, shown
    assert card["received"] < 30_000, shown
    assert set(card["now"]) == {"received", "sent"}


def test_a_guest_is_reached_and_reaches_out_by_passt(host: LabHost) -> None:
    """By TCP: passt runs as nobody, whom ``net.ipv4.ping_group_range`` forbids to send a ping.

    The address of the gateway stands for the host itself (passt(1), --map-host-loopback), so the neighbour has another.
    """
    answer = "nc -w 20 10.99.0.3 8000 < /dev/null\necho all is well\necho hello from the guest | nc -l -p 22\n"
    with way_out(host):
        listen = "ip addr add 10.99.0.3/24 dev far; echo hello from outside | busybox nc -l -p 8000"
        host.channel.start(["sh", "-c", f"nsenter -t $(cat /tmp/neighbour) -n sh -c '{listen}'"])
        host.wait_until("nsenter -t $(cat /tmp/neighbour) -n ss -ltn | grep -q :8000")
        job = guest.start(host, PASST, f"{CARD}{LEASE}{answer}")
        job.wait_for_output("all is well", PATIENCE_S)
        host.wait_until("busybox nc -w 5 127.0.0.1 2222 < /dev/null | grep 'hello from the guest'")
        said = guest.finish(job)
        host.wait_until("! pgrep passt")
    assert "hello from outside" in said


def test_the_end_of_passt_is_told_and_the_guest_runs_on(host: LabHost) -> None:
    with way_out(host):
        host.machine("kept", kept(PASST))
        host.qlaunch("up", "kept", "--detach")
        host.shell("pkill passt")
        host.wait_until("grep -q 'passt is gone' /var/lib/qlaunch/kept/supervisor.log")
        state = host.json("status", "kept")["state"]
        host.qlaunch("down", "kept", "--force")
    assert state == "running"


def test_neither_passt_nor_a_tap_of_the_users_own_needs_root(host: LabHost) -> None:
    nobody = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--groups=kvm", "env", "HOME=/tmp/home")
    host.shell("ip tuntap add tap7 mode tap user nobody; mkdir /tmp/home; chown nobody /tmp/home")
    host.machine("given", kept(f'{PASST}[[network]]\ntype = "tap"\ndevice = "tap7"\n'))
    try:
        with way_out(host):
            host.run(*nobody, "qlaunch", "up", "given", "--detach")
            pid = host.shell("pgrep -f guest=given").split()[0]
            status = host.shell(f"cat /proc/{pid}/status; readlink /proc/{pid}/fd/*")
            host.run(*nobody, "qlaunch", "down", "given", "--force")
    finally:
        host.shell("ip link del tap7; rm -r /tmp/home")
    assert "Uid:\t65534\t65534\t65534\t65534" in status
    assert "CapEff:\t0000000000000000" in status
    assert "/dev/net/tun" in status


def test_what_a_kill_left_is_recovered(host: LabHost) -> None:
    with way_out(host):
        host.machine("kept", kept(OWN_BRIDGE + MACVTAP.format(nic=nic(host), mac=MACVTAP_MAC)))
        host.qlaunch("up", "kept", "--detach")
        status = host.json("status", "kept")
        assert "qlbr0" in shown(host)
        assert "ql1-kept" in shown(host)
        host.shell(f"kill -9 {status['supervisor_pid']} {status['pid']}")
        host.wait_until(f"[ ! -d /proc/{status['pid']} ]")
        host.qlaunch("recover")
        assert host.read("/proc/sys/net/ipv4/conf/near/forwarding") == "0"
    left = shown(host)
    assert "ql" not in left.replace("qlen", "")


# The second line of each change, after the journal's first and two for each change before it.
@pytest.mark.parametrize(
    ("number", "change"),
    [(3, "qlbr0"), (7, "ip saddr 192.168.77.0/24"), (9, "--interface=qlbr0"), (11, "ql0-kept")],
    ids=["bridge", "nat", "dhcp", "tap"],
)
def test_a_kill_after_a_change_is_recovered(host: LabHost, number: int, change: str) -> None:
    host.machine("kept", kept(OWN_BRIDGE))
    faults.killed_at(host, faults.AFTER_RECORD, number, "qlaunch", "up", "kept", "--detach")
    assert change in shown(host)
    host.run("qlaunch", "recover", expect=None)
    assert "ql" not in shown(host).replace("qlen", "")


def test_what_is_not_there_is_refused_in_a_sentence(host: LabHost) -> None:
    def refusal(sections: str) -> str:
        host.machine("given", kept(sections))
        ended = host.qlaunch("up", "given", "--detach", expect=3)
        assert "Traceback" not in ended.err
        return ended.err

    assert "there is no bridge br7 on this host" in refusal('[[network]]\ntype = "bridge"\nbridge = "br7"\n')
    assert "there is no link eth7 on this host" in refusal('[[network]]\ntype = "macvtap"\ndevice = "eth7"\n')
    assert "there is no tap tap7 on this host" in refusal('[[network]]\ntype = "tap"\ndevice = "tap7"\n')
    assert "is the loopback" in refusal('[[network]]\ntype = "macvtap"\ndevice = "lo"\n')
    host.shell("ip link add qlbr0 type dummy")
    taken = refusal(OWN_BRIDGE)
    host.shell("ip link del qlbr0")
    assert "the name is taken by a link that is not qlaunch's" in taken
