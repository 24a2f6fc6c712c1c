"""Machines that come, go, fail, are killed and recovered in any order: the host is in the end as it was found.

The model beside the journal is one line a key: what the host has without machines, and who claims what.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from qlaunch.errors import HostError
from qlaunch.journal.engine import HostChanges
from qlaunch.journal.file import Journal, read_journal
from qlaunch.journal.leases import Leases
from qlaunch.steps import kind_named
from qlaunch.steps.step import Step
from tests.fakes.host import FakeHost, Killed
from tests.fakes.kinds import known_kinds

MACHINES = ("ada", "bob", "cyd")
HOST = {
    "/one": "powersave",
    "/two": "ondemand",
    "/cpus": "abcdefgh",
    "/irq": "abcdefgh",
    "/pool": "10",
    "/pool2": "0",
    "/card": "amdgpu",
    "/nic": "igb",
}
STEPS = st.lists(
    st.one_of(
        st.builds(
            lambda keys, value: ("sysfs", dict.fromkeys(keys, value)),
            st.sets(st.sampled_from(["/one", "/two"]), min_size=1),
            st.sampled_from(["performance", "performance", "schedutil", "powersave"]),
        ),
        st.builds(
            lambda keys, letters: ("removing", dict.fromkeys(keys, letters)),
            st.sets(st.sampled_from(["/cpus", "/irq"]), min_size=1),
            st.sampled_from(["ab", "cd", "bc", "h"]),
        ),
        st.builds(
            lambda pages, more: ("adding", {"/pool": str(pages)} | ({"/pool2": str(more)} if more else {})),
            st.integers(1, 9),
            st.integers(0, 9),
        ),
        st.builds(
            lambda keys: ("owned", dict.fromkeys(keys, "vfio-pci")),
            st.sets(st.sampled_from(["/card", "/nic"]), min_size=1),
        ),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda step: step[0],
)


FAULTS = ["fail", "hang", "hang and happen", "kill before", "kill after"]


def raise_at(number: int, error: BaseException) -> Callable[[int, str, str], None]:
    def fault(count: int, _path: str, _text: str) -> None:
        if count == number:
            raise error

    return fault


def no_fault(_count: int, _path: str, _text: str) -> None:
    """Nothing happens."""


def forget(journal: Journal) -> None:
    """What the end of its process does to an open journal."""
    os.close(journal._descriptor)


class Machines(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runtime = Path(tempfile.mkdtemp())
        self.host = FakeHost(HOST)
        self.boot = 1
        self.original = dict(HOST)  # without machines
        self.running: dict[str, list[Step]] = {}
        self.dead: set[str] = set()
        self.meddled: dict[str, str] = {}  # what somebody else has set while a machine had a claim on it
        self.said: list[str] = []

    def teardown(self) -> None:
        for name in (*self.running, *self.dead):
            assert self.release(name)
        assert self.host.files == self.original | self.meddled
        assert not list(self.runtime.iterdir())
        self.runtime.rmdir()

    def open(self, name: str) -> tuple[HostChanges, Journal]:
        (self.runtime / name).mkdir(exist_ok=True)
        journal = Journal.open(str(self.runtime / name), name, str(self.boot))
        leases = Leases(str(self.runtime), name, str(self.boot))
        return HostChanges(self.host, journal, leases, self.said.append), journal

    def close(self, name: str, journal: Journal) -> None:
        journal.close()
        (self.runtime / name).rmdir()

    def release(self, name: str) -> bool:
        """End a machine; whether all was undone. It is dead if not."""
        changes, journal = self.open(name)
        self.running.pop(name, None)
        self.dead.add(name)
        try:
            left = changes.undo()
        except Killed:
            forget(journal)
            return False
        if left:
            forget(journal)
            return False
        self.close(name, journal)
        self.dead.discard(name)
        return True

    def settle_meddling(self) -> None:
        """What a machine has overwritten is no longer another's; what nobody claims any more is how the host is."""
        claimed = self.claimed()
        for key, value in list(self.meddled.items()):
            if self.host.files[key] != value:
                del self.meddled[key]
            elif key not in claimed:
                self.original[key] = self.meddled.pop(key)

    def claimed(self) -> set[str]:
        """What the journals of this boot say, also those of the dead."""
        journals = [read_journal(str(path)) for path in self.runtime.iterdir()]
        ours = [one for one in journals if one.begin and one.begin.boot == str(self.boot)]
        return {key for one in ours for change in one.active for key in one.claims_in_force(change)}

    def fault(self, kind: str, at: int) -> None:
        """Let the at-th change from now on fail, hang until it is given up (made or not), or be the last one."""
        number = len(self.host.changes) + at
        busy, slow = OSError(16, "Device or resource busy"), TimeoutError(110, "Connection timed out")
        before: dict[str, BaseException] = {"fail": busy, "hang": slow, "kill before": Killed()}
        after: dict[str, BaseException] = {"hang and happen": slow, "kill after": Killed()}
        self.host.fail = raise_at(number, before[kind]) if kind in before else no_fault
        self.host.kill_after = raise_at(number, after[kind]) if kind in after else no_fault

    @rule(
        name=st.sampled_from(MACHINES),
        wanted=STEPS,
        fault=st.sampled_from(["none", "none", "none", *FAULTS]),
        at=st.integers(1, 8),
    )
    def up(self, name: str, wanted: list[tuple[str, dict[str, str]]], fault: str, at: int) -> None:
        if name in self.running or name in self.dead:
            return
        steps = [Step(kind=kind, summary=kind, claims=claims, lane="one") for kind, claims in wanted]
        self.fault(fault, at)
        changes, journal = self.open(name)
        try:
            changes.carry_out(steps)
        except HostError:
            self.fault("none", 0)
            assert not changes.undo()
            self.close(name, journal)
        except Killed:
            self.dead.add(name)
            forget(journal)
        else:
            self.running[name] = steps
            forget(journal)
        self.fault("none", 0)
        self.settle_meddling()

    @precondition(lambda self: self.running)
    @rule(
        choice=st.randoms(use_true_random=False),
        at=st.integers(1, 8),
        fault=st.sampled_from(["none", "none", *FAULTS]),
    )
    def down(self, choice: Random, at: int, fault: str) -> None:
        self.fault(fault, at)
        self.release(choice.choice(sorted(self.running)))
        self.fault("none", 0)
        self.settle_meddling()

    @precondition(lambda self: self.running)
    @rule(choice=st.randoms(use_true_random=False))
    def kill(self, choice: Random) -> None:
        name = choice.choice(sorted(self.running))
        self.running.pop(name)
        self.dead.add(name)

    @precondition(lambda self: self.dead)
    @rule(choice=st.randoms(use_true_random=False))
    def recover(self, choice: Random) -> None:
        assert self.release(choice.choice(sorted(self.dead)))
        self.settle_meddling()

    @rule()
    def reboot(self) -> None:
        """A runtime folder that is no tmpfs keeps the journals, and the kernel starts with the original values."""
        self.boot += 1
        self.host.files = dict(self.original)
        self.meddled.clear()
        self.dead |= set(self.running)
        self.running.clear()
        for name in self.dead:
            assert (self.runtime / name / "journal").exists()

    @precondition(lambda self: not self.running and not self.dead)
    @rule(key=st.sampled_from(["/one", "/two"]), value=st.sampled_from(["schedutil", "conservative"]))
    def somebody_else_changes(self, key: str, value: str) -> None:
        self.host.files[key] = self.original[key] = value

    @precondition(lambda self: self.running)
    @rule(key=st.sampled_from(["/one", "/cpus", "/card"]), value=st.sampled_from(["userspace", "nouveau"]))
    def somebody_meddles(self, key: str, value: str) -> None:
        """What is set by another while a machine has a claim on it stays, until a machine that comes sets it anew."""
        self.host.files[key] = self.meddled[key] = value
        self.settle_meddling()

    @precondition(lambda self: self.running and not self.dead)
    @rule(pool=st.sampled_from(["/pool", "/pool2"]), pages=st.integers(1, 9))
    def somebody_adds_pages(self, pool: str, pages: int) -> None:
        """But not while a machine is dead: pages have no names, and these would count as the machine's."""
        for files in (self.host.files, self.original):
            files[pool] = str(int(files[pool]) + pages)

    @invariant()
    def what_runs_has_what_it_wants(self) -> None:
        if self.dead:
            return
        expected = dict(self.original)
        for key in HOST:
            claims = [
                (step.kind, step.claims[key]) for steps in self.running.values() for step in steps if key in step.claims
            ]
            if claims:
                kind = kind_named(claims[0][0])
                expected[key] = kind.merge(self.original[key], [claim for _, claim in claims]) or ""
        assert self.host.files == expected | self.meddled

    @invariant()
    def what_belongs_to_one_machine_is_given_to_one(self) -> None:
        owned = [
            key
            for steps in self.running.values()
            for step in steps
            for key in step.claims
            if kind_named(step.kind).exclusive
        ]
        assert len(owned) == len(set(owned))

    @invariant()
    def a_machine_without_a_journal_claims_nothing(self) -> None:
        names = {path.name for path in self.runtime.iterdir()}
        assert names == set(self.running) | self.dead
        for name in self.running:
            assert len(read_journal(str(self.runtime / name)).active) == len(self.running[name])


class TestMachines(Machines.TestCase):  # type: ignore[misc, valid-type]
    settings = settings(max_examples=500, stateful_step_count=30, deadline=None)

    @classmethod
    def setUpClass(cls) -> None:
        cls.enterClassContext(known_kinds())
