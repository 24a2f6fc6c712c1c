"""Who may open what QEMU needs: let in beside others, and taken out again whatever they did meanwhile."""

from pathlib import Path

import msgspec
import pytest

from qlaunch.steps.input import AS_IT_IS, Input
from qlaunch.steps.kind import ForeignChangeError
from qlaunch.steps.owner import Owner, claim_for, is_let_in, may_open
from qlaunch.values.access import Access
from tests.fakes.host import FakeHost, Killed
from tests.test_journal import Place, step
from tests.test_steps import kill_at

NODE = "/dev/kvmfr0"
GAMES, ADA = is_let_in(1000), is_let_in(1001)
PLAIN, WITH_GAMES = "0:104 660", "0:104 660 u:1000:rw-,g::rw-"
SESSION = "0:104 660 u:1001:rw-,g::rw-"  # whoever sits at the computer, as logind has it
BOTH = "0:104 660 u:1000:rw-,u:1001:rw-,g::rw-"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (PLAIN, WITH_GAMES),
        (SESSION, BOTH),
        (BOTH, BOTH),
        ("0:104 600", "0:104 660 u:1000:rw-,g::---"),
        ("0:104 640 u:1001:rw-,g::rw-", "0:104 660 u:1000:rw-,u:1001:r--,g::r--"),
        ("1000:104 460", "1000:104 660"),
        (None, None),
    ],
    ids=["no list", "a session", "in it already", "closed group", "a narrow mask", "its own", "not there"],
)
def test_a_user_is_let_in_beside_those_who_are_in(before: str | None, after: str | None) -> None:
    assert Owner().merge(before, [GAMES]) == after
    assert Owner().settle(after, before, GAMES, []) == before


def test_several_machines_users_are_let_in_and_leave_in_any_order() -> None:
    kind = Owner()
    assert kind.agrees(GAMES, ADA)
    assert not Input().agrees(GAMES, ADA)  # nobody shares a keyboard
    assert not kind.agrees(may_open(1000), ADA)
    assert kind.merge(PLAIN, [GAMES, ADA]) == kind.merge(PLAIN, [ADA, GAMES]) == BOTH
    assert kind.settle(BOTH, PLAIN, GAMES, [ADA]) == SESSION
    assert kind.settle(BOTH, PLAIN, GAMES, [GAMES, ADA]) == BOTH


@pytest.mark.parametrize(
    ("before", "current", "rest"),
    [
        (PLAIN, BOTH, SESSION),
        (SESSION, WITH_GAMES, PLAIN),
        ("0:104 660 u:1000:r--,g::rw-", BOTH, "0:104 660 u:1000:r--,u:1001:rw-,g::rw-"),
        (PLAIN, "0:104 600 u:1000:rw-,g::rw-", "0:104 600"),
        (PLAIN, "0:104 660 u:1000:r--,g::rw-", None),
        (PLAIN, SESSION, None),
    ],
    ids=["a session came", "it went", "more than before", "a mode", "ours was changed", "ours was taken"],
)
def test_what_others_did_to_the_list_stays_without_our_entry(before: str, current: str, rest: str | None) -> None:
    with pytest.raises(ForeignChangeError) as raised:
        Owner().settle(current, before, GAMES, [])
    assert raised.value.rest == rest


def test_a_list_that_udev_emptied_goes() -> None:
    """An event of the device, as of a session's end: the owning group's entry and the mask are what is left."""
    emptied = "0:104 660 g::rw-"
    assert Owner().settle(emptied, PLAIN, GAMES, []) == PLAIN
    assert Owner().settle(emptied, PLAIN, GAMES, [ADA]) == SESSION
    for mask in ("0:104 660", "0:104 600"):
        assert Owner().settle(f"{mask} g::---", "0:104 600", GAMES, []) == "0:104 600"
    with pytest.raises(ForeignChangeError):
        Owner().settle(emptied, SESSION, GAMES, [])
    with pytest.raises(ForeignChangeError):
        Owner().settle("0:104 640 g::r--", PLAIN, GAMES, [])


def test_an_entry_that_another_machine_needs_stays_in_a_list_that_changed() -> None:
    with pytest.raises(ForeignChangeError) as raised:
        Owner().settle(BOTH, PLAIN, GAMES, [GAMES])
    assert raised.value.rest is None


@pytest.mark.parametrize("kind", [Owner(), Input()], ids=lambda kind: kind.name)
def test_a_journal_of_before_lists_is_undone_and_the_list_stays(kind: Owner) -> None:
    """The node had a list then, too: what was recorded is owner and mode."""
    claim = may_open(1000) if kind.name == "owner" else "1000"
    assert kind.settle("1000:104 660", PLAIN, claim, []) == PLAIN
    with pytest.raises(ForeignChangeError) as raised:
        kind.settle("1000:104 660 u:1001:rw-,g::rw-", PLAIN, claim, [])
    assert raised.value.rest == SESSION
    with pytest.raises(ForeignChangeError) as raised:
        kind.settle("7:104 660 u:1001:rw-,g::rw-", PLAIN, claim, [])
    assert raised.value.rest is None


def test_a_device_that_is_only_reserved_is_left_to_the_sessions_that_come_and_go() -> None:
    assert Input().settle(SESSION, PLAIN, AS_IT_IS, []) == SESSION
    assert Input().is_kept(SESSION, PLAIN, AS_IT_IS)
    assert not Input().is_kept(SESSION, PLAIN, GAMES)


def test_our_entry_is_taken_out_of_a_list_that_changed_and_that_is_told(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.host.owners[NODE] = Access.parse(PLAIN)
    changes = place.open()
    changes.carry_out([step(NODE, GAMES, "owner")])
    assert str(place.host.access(NODE)) == WITH_GAMES
    place.host.owners[NODE] = Access.parse(BOTH)
    assert not changes.undo()
    assert str(place.host.access(NODE)) == SESSION
    assert place.said == [f"{NODE} set: somebody has set {NODE} to {SESSION!r} since, which stays"]


def test_the_last_machine_of_a_user_takes_the_entry_along(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.host.owners[NODE] = Access.parse(PLAIN)
    machines = [place.open(name) for name in ("ada", "bob")]
    for changes in machines:
        changes.carry_out([step(NODE, GAMES, "owner")])
    for changes, left in zip(machines, (WITH_GAMES, PLAIN), strict=True):
        assert not changes.undo()
        assert str(place.host.access(NODE)) == left
    assert not place.said


def test_a_kill_after_our_entry_was_taken_out_leaves_nothing_to_do(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.host.owners[NODE] = Access.parse(PLAIN)
    place.open().carry_out([step(NODE, GAMES, "owner")])
    place.host.owners[NODE] = Access.parse(BOTH)
    number = len(place.host.changes) + 1
    kill_at(place.host, number, after=True)
    with pytest.raises(Killed):
        place.open().undo()
    kill_at(place.host, 0, after=True)
    assert not place.open().undo()
    assert str(place.host.access(NODE)) == SESSION


def test_a_change_of_mode_changes_the_mask_alone_and_does_not_throw_anybody_out() -> None:
    host = FakeHost()
    host.owners[NODE] = Access.parse(SESSION)
    Owner().write(host, NODE, "1000:104 660 u:1001:rw-,g::rw-")
    assert host.access(NODE) == Access.parse("1000:104 660 u:1001:rw-,g::rw-")


def test_a_kernel_without_lists_gives_the_node_itself() -> None:
    host = FakeHost()
    host.owners[NODE], host.without_lists = Access.parse(PLAIN), True
    claim = claim_for("owner", 1000)
    assert claim
    Owner().write(host, NODE, Owner().merge(PLAIN, [claim]))
    assert str(host.access(NODE)) == "1000:104 660"
    with pytest.raises(OSError, match="not supported"):
        Owner().write(host, NODE, WITH_GAMES)
    assert claim_for("nothing", 1000) is None


@pytest.mark.parametrize("mode", ["600", "640", "660", "644"])
def test_an_owner_is_given_back_below_a_list_that_came_later(mode: str) -> None:
    before = Access.parse(f"0:0 {mode}")
    made = Access.parse(str(Owner().merge(str(before), [may_open(1000)])))
    listed = made.with_user(3)
    with pytest.raises(ForeignChangeError) as foreign:
        Owner().settle(str(listed), str(before), may_open(1000), [])
    assert foreign.value.rest == str(msgspec.structs.replace(listed, uid=0, mode=listed.mode))
    rest = Access.parse(foreign.value.rest)
    assert (rest.uid, rest.without_list().mode) == (0, before.mode)
