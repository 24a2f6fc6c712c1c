"""The journal on disk, and the engine's order, words and tolerance: what the state machine does not look at."""

import errno
import fcntl
import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from qlaunch.errors import HostError, RestoreError
from qlaunch.journal.engine import HostChanges, StepError, raise_leftovers
from qlaunch.journal.file import Journal, read_journal
from qlaunch.journal.leases import Leases
from qlaunch.journal.record import Begin, Change, DamagedLineError, Made, Undoing, Undone, parse_line, print_line
from qlaunch.steps.kind import Refused
from qlaunch.steps.step import Step
from qlaunch.steps.waits import KERNEL, Wait, note
from tests.fakes.host import FakeHost
from tests.fakes.kinds import known_kinds

TEXTS = st.dictionaries(st.text(), st.none() | st.text())


@pytest.fixture(autouse=True)
def _kinds() -> Iterator[None]:
    with known_kinds():
        yield


class Place:
    """A runtime folder, a host, and machines on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = FakeHost({f"/{name}": name for name in "abcdef"})
        self.said: list[str] = []

    def open(self, name: str = "ada", boot: str = "1") -> HostChanges:
        (self.folder / name).mkdir(exist_ok=True)
        self.journal = Journal.open(str(self.folder / name), name, boot)
        return HostChanges(self.host, self.journal, Leases(str(self.folder), name, boot), self.said.append)

    def file(self, name: str = "ada") -> Path:
        return self.folder / name / "journal"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def step(key: str, value: str = "new", kind: str = "sysfs", lane: str = "one") -> Step:
    return Step(kind=kind, summary=f"{key} set", claims={key: value}, lane=lane)


@given(TEXTS, st.dictionaries(st.text(), st.text()), TEXTS, st.text(), st.integers(1))
def test_a_line_is_read_as_it_was_printed(
    before: dict[str, str | None], claims: dict[str, str], after: dict[str, str | None], text: str, number: int
) -> None:
    change = Change(number=number, kind=text, summary=text, lane=text, before=before, claims=claims, after=after)
    for line in (
        change,
        Made(number=number, refused=claims, differs=after),
        Undoing(number=number, without=before, given_back=tuple(claims)),
        Undone(number=number, kept=before),
    ):
        printed = print_line(line)
        assert printed.count(b"\n") == 1
        assert parse_line(printed[:-1]) == line


@given(st.integers(0, 60), st.integers(1, 255))
def test_a_line_that_differs_by_one_byte_is_damaged(position: int, difference: int) -> None:
    printed = bytearray(print_line(Undone(number=12345678, kept={"/sys/some/path": "a value"}))[:-1])
    printed[position] ^= difference
    with pytest.raises(DamagedLineError):
        parse_line(bytes(printed))


def test_the_record_is_on_disk_before_the_first_write(place: Place) -> None:
    changes = place.open()

    def look(_number: int, path: str, _text: str) -> None:
        assert read_journal(str(place.folder / "ada")).active[-1].before == {path: path[1:]}

    place.host.fail = look
    changes.carry_out([step("/a"), step("/b")])
    assert len(place.host.changes) == 2


def test_a_lane_is_undone_backwards(place: Place) -> None:
    changes = place.open()
    changes.carry_out([step("/a"), step("/b"), step("/c")])
    place.host.changes.clear()
    assert not changes.undo()
    assert place.host.changes == [("/c", "c"), ("/b", "b"), ("/a", "a")]


def test_keys_of_a_step_are_undone_backwards(place: Place) -> None:
    changes = place.open()
    changes.carry_out([Step(kind="sysfs", summary="all", claims={"/a": "1", "/b": "2", "/c": "3"}, lane="one")])
    place.host.changes.clear()
    changes.undo()
    assert place.host.changes == [("/c", "c"), ("/b", "b"), ("/a", "a")]


def test_lanes_run_side_by_side_both_ways(place: Place) -> None:
    changes = place.open()
    meeting = threading.Barrier(3, timeout=10)

    def meet(_number: int, _path: str, _text: str) -> None:
        meeting.wait()

    place.host.fail = meet
    steps = [step("/a", lane="one"), step("/b", "b", "removing", "two"), step("/c", "5", "adding", "three")]
    place.host.files["/c"] = "1"
    changes.carry_out(steps)
    assert not changes.undo()
    assert place.host.files["/c"] == "1"
    assert {timing.lane for timing in changes.timings} == {"one", "two", "three"}


def test_branches_of_a_lane_run_side_by_side_between_what_the_lane_has_before_and_after_them(place: Place) -> None:
    changes = place.open()
    meeting, written = threading.Barrier(2, timeout=10), []

    def meet(_number: int, path: str, _text: str) -> None:
        if path in ("/c", "/d"):  # of both branches, one of them further on
            meeting.wait()
        written.append(path)

    place.host.fail = meet
    lanes = {"a": "one", "b": "one/left", "c": "one/right", "d": "one/left", "e": "one", "f": "one"}
    place.host.files["/c"] = "1"
    steps = [step(f"/{name}", lane=lane) for name, lane in lanes.items()]
    steps[2] = step("/c", "5", "adding", lanes["c"])  # of one kind only one is written at a time
    changes.carry_out(steps)
    assert written[0] == "/a"
    assert {*written[1:4]} == {"/b", "/c", "/d"}
    assert written.index("/b") < written.index("/d")
    assert written[4:] == ["/e", "/f"]
    written.clear()
    place.journal.close()
    assert not place.open().undo()
    assert written[:2] == ["/f", "/e"]
    assert {*written[2:5]} == {"/b", "/c", "/d"}
    assert written.index("/d") < written.index("/b")
    assert written[5:] == ["/a"]


def test_a_failure_in_one_branch_ends_the_lane(place: Place) -> None:
    changes = place.open()

    def refuse(_number: int, path: str, _text: str) -> None:
        if path == "/c":
            raise OSError(22, "Invalid argument", path)

    place.host.fail = refuse
    with pytest.raises(StepError, match="/c set"):
        changes.carry_out([step("/b", lane="one/left"), step("/c", lane="one/right"), step("/d", lane="one")])
    assert place.host.files["/d"] == "d"


def test_what_one_branch_made_before_the_other_one_failed_is_given_back(place: Place) -> None:
    """As virtual functions are that were made while a login screen did not go."""
    changes = place.open()
    place.host.files["/c"] = "1"
    made = threading.Event()

    def fail_late(_number: int, path: str, _text: str) -> None:
        if path == "/c":
            made.set()
        elif path == "/a":
            assert made.wait(10)
            raise OSError(22, "Invalid argument", path)

    place.host.fail = fail_late
    with pytest.raises(StepError, match="/a set"):
        changes.carry_out([step("/a", lane="one/left"), step("/c", "5", "adding", "one/right")])
    assert place.host.files["/c"] == "6"
    place.host.fail = lambda *_: None
    assert not changes.undo()
    assert (place.host.files["/a"], place.host.files["/c"]) == ("a", "1")


def test_a_key_that_was_right_is_written_if_a_write_before_it_has_changed_it(place: Place) -> None:
    changes = place.open()
    place.host.reactions["/a"] = lambda text: place.host.files.update({"/a": text, "/b": "spoilt"})
    changes.carry_out([Step(kind="sysfs", summary="both", claims={"/a": "new", "/b": "b"}, lane="one")])
    assert place.host.files["/b"] == "b"
    del place.host.reactions["/a"]
    assert not changes.undo()


def test_nothing_is_read_more_than_it_takes_to_record_and_to_verify(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, read, asked = place.open(), place.host.read, []

    def counted(path: str) -> str | None:
        asked.append(path)
        return read(path)

    monkeypatch.setattr(place.host, "read", counted)
    changes.carry_out([Step(kind="sysfs", summary="all", claims={"/b": "b", "/a": "new"}, lane="one")])
    assert asked == ["/b", "/a", "/a"]


def test_each_step_tells_what_it_waited_for_and_no_other(place: Place) -> None:
    changes = place.open()

    def write(text: str) -> None:
        note(KERNEL, 1.0, 2.0)
        place.host.files["/a"] = text

    place.host.reactions["/a"] = write
    changes.carry_out([step("/a"), step("/b"), step("/c", lane="two")])
    waits = {timing.summary: timing.waits for timing in changes.timings}
    assert waits == {"/a set": (Wait(KERNEL, 1.0, 2.0),), "/b set": (), "/c set": ()}


def test_what_came_after_the_launch_is_undone_before_anything_else_whoever_undoes_it(place: Place) -> None:
    """The journal alone must tell: a card's driver that comes back asks for interrupts, whose CPUs must be right."""
    changes = place.open()
    changes.carry_out([step("/a"), step("/b", lane="two")])
    later = Step(kind="sysfs", summary="c", claims={"/c": "new"}, lane="quiet", moment="after-launch")
    changes.carry_out([later])
    place.journal.close()
    changes = place.open()
    place.host.changes.clear()
    assert not changes.undo()
    assert place.host.changes[0] == ("/c", "c")
    assert len(place.host.changes) == 3


def test_after_a_failure_no_lane_begins_another_step(place: Place) -> None:
    changes = place.open()
    del place.host.files["/b"]
    with pytest.raises(StepError, match="/b set: /b: no such file or directory"):
        changes.carry_out([step("/a"), step("/b"), step("/c")])
    assert place.host.changes == [("/a", "new"), ("/b", "new")]
    assert not changes.undo()
    assert place.host.files["/a"] == "a"


def test_a_stop_between_steps_is_obeyed(place: Place) -> None:
    changes = place.open()
    assert not changes.carry_out([step("/a"), step("/b")], stop=lambda: bool(place.host.changes))
    assert place.host.changes == [("/a", "new")]


@pytest.mark.parametrize(("number", "words"), [(13, "permission denied"), (16, "busy"), (5, "input/output")])
def test_a_refusal_of_the_kernel_is_a_sentence_with_a_hint(place: Place, number: int, words: str) -> None:
    changes = place.open()

    def refuse(_number: int, path: str, _text: str) -> None:
        raise OSError(number, os.strerror(number), path)

    place.host.fail = refuse
    with pytest.raises(StepError, match=f"/a set: /a: .*{words}") as caught:
        changes.carry_out([step("/a")])
    assert caught.value.hint


def test_undoing_goes_on_past_what_fails_and_says_what_is_left(place: Place) -> None:
    changes = place.open()
    changes.carry_out([step("/a"), step("/b"), step("/c")])

    def refuse(_number: int, path: str, _text: str) -> None:
        if path == "/b":
            raise OSError(16, "Device or resource busy (mtu is of Ada)", path)

    place.host.fail = refuse
    left = changes.undo()
    assert place.host.files["/a"] == "a"
    assert place.host.files["/c"] == "c"
    with pytest.raises(RestoreError) as caught:
        raise_leftovers("ada", left)
    assert "/b should be 'b' again (/b set): /b: device or resource busy (mtu is of Ada)" in caught.value.message
    assert caught.value.hint == "try again: qlaunch recover ada"
    place.journal.close()
    place.host.fail = lambda _number, _path, _text: None
    assert not place.open().undo()
    assert place.host.files["/b"] == "b"
    place.journal.close()
    assert not place.file().exists()


def test_what_somebody_else_changed_since_stays_and_is_told(place: Place) -> None:
    changes = place.open()
    changes.carry_out([step("/a")])
    place.host.files["/a"] = "theirs"
    assert not changes.undo()
    assert place.host.files["/a"] == "theirs"
    assert place.said == ["/a set: somebody has set /a to 'theirs' since, which stays"]


def test_a_text_that_was_set_before_all_that_hangs_on_it_is_written_once_more(place: Place) -> None:
    """As of the large pages' ``enabled``, whose thread is not started for a writer that is killed."""
    place.open().carry_out([step("/a")])
    place.host.files["/a"] = "a"  # where the kernel was when the undo that wrote it was killed
    place.host.changes.clear()
    assert not place.open().undo()
    assert place.host.changes == [("/a", "a")]


def test_a_file_that_never_took_the_new_text_is_no_leftover_when_it_does_not_take_the_old_one_either(
    place: Place,
) -> None:
    changes = place.open()

    def refuse(_text: str) -> None:
        raise OSError(errno.EINVAL, "", "/a")

    place.host.reactions["/a"] = refuse
    with pytest.raises(StepError):
        changes.carry_out([step("/a")])
    place.host.files["/a"] = "a"
    assert not changes.undo()


def test_what_the_kernel_made_of_a_value_is_told(place: Place) -> None:
    changes = place.open()
    place.host.reactions["/a"] = lambda _text: place.host.files.__setitem__("/a", "rounded")
    changes.carry_out([step("/a")])
    assert place.said == ["/a set: /a is 'rounded', though 'new' was written"]
    place.host.reactions.clear()
    assert not place.open().undo()
    assert place.host.files["/a"] == "a"


def test_what_does_not_come_back_though_it_was_written_is_left_and_told(place: Place) -> None:
    changes = place.open()
    changes.carry_out([step("/a")])
    place.host.reactions["/a"] = lambda _text: place.host.files.__setitem__("/a", "stuck")
    assert [str(left) for left in changes.undo()] == [
        "/a should be 'a' again (/a set): it is 'stuck' after that was written"
    ]


def test_a_mistake_in_one_undo_does_not_keep_the_rest_from_being_given_back(place: Place) -> None:
    changes = place.open()
    changes.carry_out([step("/a"), step("/b", lane="two")])

    def stumble(_text: str) -> None:
        raise ValueError("no such thing")

    place.host.reactions["/b"] = stumble
    assert [left.reason for left in changes.undo()] == ["ValueError: no such thing"]
    assert place.host.files["/a"] == "a"


def test_a_refusal_on_the_way_back_of_what_went_there_is_left_and_told(place: Place) -> None:
    changes = place.open()
    changes.carry_out([step("/a")])

    def refuse(_text: str) -> None:
        raise Refused("no vector is free")

    place.host.reactions["/a"] = refuse
    assert [left.reason for left in changes.undo()] == ["no vector is free"]


def test_hooks_come_before_all_else_and_go_after_it(place: Place) -> None:
    first = Step(kind="sysfs", summary="c", claims={"/c": "new"}, lane="hooks", moment="first")
    changes = place.open()
    changes.carry_out([first])
    changes.carry_out([step("/a"), step("/b", lane="two")])
    place.host.changes.clear()
    assert not place.open().undo()
    assert place.host.changes[-1] == ("/c", "c")


def test_two_machines_that_want_different_values_are_told_apart(place: Place) -> None:
    place.open("ada").carry_out([step("/a", "fast")])
    with pytest.raises(StepError, match="the machine ada wants /a to be 'fast', not 'slow'") as caught:
        place.open("bob").carry_out([step("/a", "slow")])
    assert caught.value.hint == "let both want the same, or end it first: qlaunch down ada"
    assert place.host.files["/a"] == "fast"


def test_what_belongs_to_one_machine_is_refused_to_another_with_its_name(place: Place) -> None:
    place.open("ada").carry_out([step("/a", "vfio-pci", "owned")])
    with pytest.raises(StepError, match="/a belongs to the machine ada"):
        place.open("bob").carry_out([step("/a", "vfio-pci", "owned")])


def test_what_cannot_be_seen_is_undone_once(place: Place) -> None:
    changes = place.open()
    changes.carry_out([step("/a", "command", "unseen")])
    place.host.changes.clear()
    changes.undo()
    assert place.host.changes == [("/a", "")]
    assert not changes.undo()
    assert len(place.host.changes) == 1


def test_a_torn_last_line_was_never_acted_on(place: Place) -> None:
    place.open().carry_out([step("/a")])
    whole = place.file().read_bytes().rstrip(b"\0")
    torn = print_line(Change(number=2, kind="sysfs", summary="", lane="", before={}, claims={"/b": "x"}, after={}))
    for length in range(1, len(torn)):
        place.file().write_bytes(whole + torn[:length])
        contents = read_journal(str(place.folder / "ada"))
        assert [change.number for change in contents.active] == [1]
        assert not contents.damaged


def test_a_damaged_record_is_told_and_the_rest_is_undone(place: Place) -> None:
    place.open().carry_out([step("/a"), step("/b"), step("/c")])
    lines = place.file().read_bytes().splitlines(keepends=True)
    place.file().write_bytes(b"".join([*lines[:3], lines[3].replace(b"new", b"old"), *lines[4:]]))
    left = place.open().undo()
    assert (place.host.files["/a"], place.host.files["/b"], place.host.files["/c"]) == ("a", "new", "c")
    assert [str(leftover) for leftover in left] == [
        f"{place.file()}, line 4 (a damaged record): what it changed is not known; look around, then remove the file"
    ]
    place.journal.close()
    assert place.file().exists()


def test_a_journal_of_another_format_is_left_alone(place: Place) -> None:
    place.open().carry_out([step("/a")])
    data = place.file().read_bytes()
    rest = data.split(b"\n", 1)[1]
    place.file().write_bytes(print_line(Begin(format=2, machine="ada", boot="1", qlaunch="9.0")) + rest)
    with pytest.raises(HostError, match=r"another version of qlaunch \(9.0, format 2\)"):
        place.open()
    assert place.file().read_bytes().endswith(rest)


def test_a_kind_that_this_version_does_not_know_is_left_and_told(place: Place) -> None:
    changes = place.open()
    change = Change(
        number=0, kind="antigravity", summary="up", lane="", before={"/a": "a"}, claims={"/a": "x"}, after={}
    )
    place.journal.record(change)
    (left,) = changes.undo()
    assert "does not know changes of the kind 'antigravity'" in left.reason


def test_a_full_disk_refuses_before_anything_is_touched(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the kernel answers at the same place."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
            try:
                Journal.open(str(tmp_path), "ada", "1")
            except HostError as error:
                status = 0 if "nothing was changed" in error.message and not list(tmp_path.iterdir()) else 2
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_disk_that_is_full_does_not_keep_anything_from_being_given_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.open().carry_out([step("/a")])
    with place.file().open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(len(place.file().read_bytes().rstrip(b"\0")))
        file.write(b"torn")
    smallest: list[int] = []

    def full(descriptor: int, _offset: int, _length: int) -> None:
        smallest.append(os.fstat(descriptor).st_size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert not place.open().undo()
    assert smallest == [size]
    assert place.host.files["/a"] == "a"


def test_where_a_boot_is_not_known_nothing_is_forgotten(place: Place) -> None:
    place.open(boot="1").carry_out([step("/a")])
    assert not place.open(boot="").undo()
    assert place.host.files["/a"] == "a"


def test_a_machine_of_another_version_keeps_what_it_may_have(place: Place) -> None:
    place.open("ada")
    place.file("ada").write_bytes(print_line(Begin(format=99, machine="ada", boot="1", qlaunch="9.0")))
    with pytest.raises(StepError, match="ada has changed this host with another version of qlaunch") as caught:
        place.open("bob").carry_out([step("/a")])
    assert caught.value.hint.startswith("end it with that version: qlaunch down ada")
    assert place.host.files["/a"] == "a"


def test_a_write_that_the_kernel_keeps_waiting_does_not_keep_the_lock_of_its_kind(tmp_path: Path) -> None:
    leases = Leases(str(tmp_path), "ada", "1")
    parent, mine = socket.socketpair()
    with leases.lock("sysfs"):
        child = os.fork()
        if child == 0:
            parent.close()
            mine.send(b"there")
            mine.recv(1)
            os._exit(0)
        (tmp_path / ".sysfs.lock").rename(tmp_path / "kept")
    mine.close()
    with parent, (tmp_path / "kept").open() as kept:
        assert parent.recv(5) == b"there"
        fcntl.flock(kept, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.waitpid(child, 0)


def test_there_is_room_for_many_changes_once_a_journal_is_open(place: Place) -> None:
    changes = place.open()
    size = place.file().stat().st_size
    changes.carry_out([step("/a", str(number)) for number in range(100)])
    assert place.file().stat().st_size == size


def test_the_lock_of_a_kind_leaves_no_file(place: Place) -> None:
    leases = Leases(str(place.folder), "ada", "1")
    with leases.lock("sysfs"):
        assert (place.folder / ".sysfs.lock").exists()
    assert not list(place.folder.iterdir())


def test_the_lock_of_a_kind_is_held_by_one_at_a_time(place: Place) -> None:
    leases = Leases(str(place.folder), "ada", "1")
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(200):
            with leases.lock("sysfs"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) == 1600


def test_a_journal_of_another_boot_has_nothing_to_undo(place: Place) -> None:
    place.open().carry_out([step("/a")])
    place.host.files["/a"] = "a"
    changes = place.open(boot="2")
    assert not changes.active
    place.journal.close()
    assert not place.file().exists()


def test_a_machine_that_died_before_its_write_does_not_keep_others_from_leaving(place: Place) -> None:
    place.host.files["/a"] = "abcdefgh"
    place.open("ada").carry_out([step("/a", "ab", "removing")])
    dead = place.open("bob")
    place.journal.record(
        Change(
            number=0,
            kind="removing",
            summary="",
            lane="one",
            before={"/a": "abcdefgh"},
            claims={"/a": "cd"},
            after={"/a": "efgh"},
        )
    )
    assert not place.open("ada").undo()
    assert place.host.files["/a"] == "abefgh"
    assert not dead.undo()
    assert place.host.files["/a"] == "abcdefgh"
    assert not place.said
