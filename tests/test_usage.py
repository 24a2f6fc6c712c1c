"""status and top: who the threads are, rates, and what somebody has changed since."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from qlaunch.cli.terminal import short
from qlaunch.duty import CardDuty
from qlaunch.run.guest_facts import guest_facts
from qlaunch.run.rates import Sample, between
from qlaunch.run.traffic import CardTraffic, DiskTraffic, card_traffic
from tests.fakes.agent import serve_agent
from tests.live import DEAF, Desk
from tests.test_guest import duty, wait_until


def test_rates_are_differences_over_time_and_never_negative() -> None:
    first = Sample(
        at=10,
        cpu={"vcpu": 1.0, "emulator": 5.0},
        disks={"disk0": DiskTraffic(read=1000, written=0, write_requests=4)},
        cards={"net0": CardTraffic(received=10, sent=50)},
    )
    second = Sample(
        at=12,
        rss=7,
        cpu={"vcpu": 2.0, "emulator": 4.0},
        disks={"disk0": DiskTraffic(read=5000, written=8, write_requests=6), "new": DiskTraffic(read=9, written=9)},
        cards={"net0": CardTraffic(received=110, sent=20)},
    )
    rates = between(first, second)
    assert rates.cpu == {"vcpu": 50.0, "emulator": 0.0}
    assert (rates.rss, rates.read, rates.written) == (7, 2000.0, 4.0)
    assert (rates.read_requests, rates.write_requests) == (0.0, 1.0)
    assert (rates.received, rates.sent) == (50.0, 0.0)
    assert between(msgspec.structs.replace(first, cards={}), second).sent is None


def test_a_card_is_counted_by_its_link_from_the_guests_side(tmp_path: Path) -> None:
    for link in ("tap7", "mv0"):
        for way, count in (("rx", 1), ("tx", 2)):
            path = tmp_path / link / way
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{count}\n")
    cards = {
        "net0": CardDuty(type="tap", link="tap7"),
        "net1": CardDuty(type="macvtap", link="mv0"),
        "net2": CardDuty(type="user"),
        "net3": CardDuty(type="bridge", link="gone"),
    }
    counted = card_traffic(cards, f"{tmp_path}/{{link}}/{{way}}")
    assert counted == {"net0": CardTraffic(received=2, sent=1), "net1": CardTraffic(received=1, sent=2)}


@pytest.mark.parametrize(
    ("number", "units", "text"),
    [(None, "BK", "-"), (0, "BKM", "0B"), (999, "BKM", "999B"), (1000, "BKM", "1K"), (5 << 20, "BKM", "5M"),
     (5 << 40, "BKM", "5242880M"), (12.4, " KM", "12"), (999.6, " KM", "1K")],
)  # fmt: skip
def test_numbers_are_short(number: float | None, units: str, text: str) -> None:
    assert short(number, units) == text


@pytest.mark.qemu
def test_status_and_top_tell_what_a_disk_moves_and_that_a_card_is_not_counted(desk: Desk) -> None:
    image = desk.folder / "disk.raw"
    image.write_bytes(bytes(1 << 20))
    machine = DEAF.replace("boot_index = 0", "") + f'[[disk]]\npath = "{image}"\nboot_index = 0\n'
    desk.machine("deaf", machine)
    desk.qlaunch("up", "deaf", "--detach")

    def disk() -> dict[str, Any]:
        told = msgspec.json.decode(desk.qlaunch("status", "deaf", "--json").stdout)
        assert told["cards"] == {"net0": {"type": "user", "link": None, "received": None, "sent": None, "now": None}}
        found: dict[str, Any] = told["disks"]["disk0"]
        return found

    counted: dict[str, Any] = {}

    def is_read() -> bool:
        counted.update(disk())
        return bool(counted["read"])

    assert wait_until(is_read)  # the BIOS looks for something to boot
    assert counted["read"] >= 512 * counted["read_requests"] > 0
    assert (counted["written"], counted["write_requests"]) == (0, 0)
    assert set(counted["now"]) == {"read", "written", "read_requests", "write_requests"}
    shown = desk.qlaunch("status", "deaf").stdout
    assert "net0, user                  -        -        -          -  QEMU does not count its own network" in shown
    top = desk.qlaunch("top", "deaf", "-n", "1", "--interval", "0.1")
    assert [line.split()[-1] for line in top.stdout.splitlines()] == ["SENT/s", "-"]
    assert {len(line) for line in top.stdout.splitlines()} == {80}
    desk.qlaunch("down", "--force", "deaf")


@pytest.mark.qemu
def test_status_names_the_threads_and_tells_one_that_was_moved(desk: Desk) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("a thread can be moved only where there are two CPUs")
    desk.machine("deaf", DEAF + f'[cpu]\npin = "{cpus[0]}"\nemulator = "{cpus[0]}"\n')
    desk.qlaunch("up", "deaf", "--detach")

    def vcpu() -> dict[str, Any]:
        status = msgspec.json.decode(desk.qlaunch("status", "deaf", "--json").stdout)
        return next(thread for thread in status["threads"] if thread["role"] == "vcpu 0")

    thread = vcpu()
    assert (thread["pinned"], thread["drifted"]) == (str(cpus[0]), False)
    os.sched_setaffinity(thread["tid"], {cpus[1]})
    assert vcpu()["drifted"]
    assert "somebody moved it" in desk.qlaunch("status", "deaf").stdout
    shown = desk.qlaunch("top", "-n", "2", "--interval", "0.1").stdout.splitlines()
    assert [line.split()[0] for line in shown] == ["NAME", "deaf", "NAME", "deaf"]
    told = msgspec.json.decode(desk.qlaunch("top", "deaf", "-n", "1", "--interval", "0.1", "--json").stdout)
    assert set(told["machines"][0]["cpu"]) == {"vcpu", "emulator"}
    desk.qlaunch("down", "--force", "deaf")
    assert "no machine runs" in desk.qlaunch("top", "-n", "1", "--interval", "0").stdout


def test_the_guests_facts_are_those_that_its_agent_tells(desk: Desk) -> None:
    machine = duty(desk)
    with serve_agent(Path(machine.socket("agent"))):
        assert guest_facts(machine) == {"os": "debian", "addresses": {}}
    Path(machine.socket("agent")).unlink()
    assert guest_facts(machine) == {}
