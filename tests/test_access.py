"""Access lists: read and printed both ways, the kernel's rule, and that nobody gets more than was meant."""

import os
import pwd
from pathlib import Path

import pytest
from hypothesis import example, given, strategies as st

from qlaunch.host.permissions import closed_folder, keeps_lists, may_open, read_access, what_lacks
from qlaunch.host.tree import Tree
from qlaunch.values.access import ATTRIBUTE, READ_WRITE, Access, Entry

NOBODY = 65534
GAMES = pwd.getpwnam("games")
numbers = st.integers(0, (1 << 32) - 2)
perms = st.integers(0, 7)
OWN_GROUP = 0xFFFFFFFF


@st.composite
def accesses(draw: st.DrawFn) -> Access:
    """Any that the kernel can have: with a list, the owning group's entry is in it."""
    bits = draw(st.integers(0, 0o7777))
    if not draw(st.booleans()):
        return Access(draw(numbers), draw(numbers), bits)
    users, groups = (draw(st.dictionaries(numbers, perms, max_size=4)) for _ in range(2))
    entries = [Entry(2, number, may) for number, may in users.items()]
    entries += [Entry(4, OWN_GROUP, draw(perms)), *(Entry(8, number, may) for number, may in groups.items())]
    return Access(draw(numbers), draw(numbers), bits, tuple(sorted(entries)))


@given(accesses())
@example(Access.parse("0:104 660 u:1000:rw-,g::rw-,g:44:r--"))
def test_an_access_is_read_as_it_was_printed_both_as_text_and_as_the_kernel_has_it(access: Access) -> None:
    assert Access.parse(str(access)) == access
    assert Access.of(access.uid, access.gid, access.mode, access.attribute()) == access


def test_the_bits_of_the_list_are_those_of_the_file() -> None:
    access = Access.of(0, 104, 0o1000, Access.parse("0:104 651 u:7:rwx,g::r--").attribute())
    assert str(access) == "0:104 1651 u:7:rwx,g::r--"


@pytest.mark.parametrize("text", ["", "0 660", "0:104 690", "0:1 660 u::rw-", "0:1 660 u:7:rw", "a:b 660", "0:1 6 "])
def test_what_is_no_access_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ValueError, match="does not say|no entry|invalid"):
        Access.parse(text)


@pytest.mark.parametrize("attribute", [b"", b"\1\0\0\0", b"\2\0\0\0", b"\2\0\0\0\1\0\6", bytes(4)])
def test_a_list_that_no_kernel_gives_is_refused(attribute: bytes) -> None:
    with pytest.raises(ValueError, match="access list"):
        Access.of(0, 0, 0o600, attribute)


@given(accesses(), numbers)
def test_who_is_let_in_may_open_and_nobody_else_gets_or_loses_a_bit(access: Access, uid: int) -> None:
    made = access.with_user(uid)
    assert made.allows(uid, (), READ_WRITE)
    assert made.with_user(uid) == made
    others = {access.uid, NOBODY, *access.users} - {uid}
    groups = [(), (access.gid,), *((one.number,) for one in access.entries if one.tag == 8)]
    for other in others:
        for group in groups:
            for bit in (1, 2, 4):
                assert made.allows(other, group, bit) == access.allows(other, group, bit)


@given(accesses(), numbers)
def test_an_entry_that_is_taken_away_again_leaves_everybody_what_they_had(access: Access, uid: int) -> None:
    before = access.of_user(uid)
    if uid == access.uid:
        return
    left = access.with_user(uid).without_user(uid, before)
    for other in {NOBODY, *access.users}:
        for group in [(), (access.gid,)]:
            assert left.allows(other, group, 4) == access.allows(other, group, 4)


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A file below folders that everybody may enter, where lists are kept."""
    if os.geteuid() != 0:
        pytest.skip("only root can ask for other users")
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o711)
    made = tmp_path / "node"
    made.touch()
    if not keeps_lists(Tree(), str(made)):
        pytest.skip(f"{made} is on a file system without access lists")
    return made


def give(path: Path, text: str) -> None:
    access = Access.parse(text)
    os.chown(path, access.uid, access.gid)
    os.chmod(path, access.mode)
    if access.entries:
        os.setxattr(path, ATTRIBUTE, access.attribute())


def opens(path: Path, mode: int) -> bool:
    """Whether the kernel lets that user open it."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(os.getgrouplist("games", GAMES.pw_gid))
            os.setgid(GAMES.pw_gid)
            os.setuid(GAMES.pw_uid)
            os._exit(not os.access(path, mode))
        finally:
            os._exit(2)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 1)
    return status == 0


@pytest.mark.parametrize(
    "text",
    [
        "0:0 600",
        f"{GAMES.pw_uid}:0 60",
        f"0:{GAMES.pw_gid} 660",
        f"0:{GAMES.pw_gid} 606",
        f"0:0 660 u:{GAMES.pw_uid}:rw-,g::---",
        f"0:0 640 u:{GAMES.pw_uid}:rw-,g::rw-",
        f"0:{GAMES.pw_gid} 660 u:{GAMES.pw_uid}:---,g::rw-",
        f"0:{GAMES.pw_gid} 660 u:1:rw-,g::---",
        f"0:0 666 g::r--,g:{GAMES.pw_gid}:r--",
        f"0:0 666 g::---,g:{GAMES.pw_gid}:-w-",
        f"0:{GAMES.pw_gid} 666 g::-w-,g:{GAMES.pw_gid}:r--",
        "0:0 606 u:1:rw-,g::rw-",
    ],
)
def test_who_may_open_a_file_is_judged_as_the_kernel_does(node: Path, text: str) -> None:
    give(node, text)
    assert str(read_access(str(node))) == text
    for mode in (os.R_OK, os.W_OK, os.R_OK | os.W_OK):
        assert may_open(Tree(), str(node), "games", mode) is opens(node, mode)


def test_a_folder_that_a_list_opens_is_no_closed_one(node: Path) -> None:
    folder = node.parent
    give(folder, "0:0 700")
    assert closed_folder(Tree(), str(node), "games") == str(folder)
    give(folder, f"0:0 710 u:{GAMES.pw_uid}:--x,g::---")
    assert closed_folder(Tree(), str(node), "games") is None


def test_what_a_user_lacks_at_a_node_is_an_entry_or_nothing(node: Path) -> None:
    give(node, "0:0 660")
    assert what_lacks(Tree(), str(node), "games") == "entry"
    give(node, f"0:{GAMES.pw_gid} 660")
    assert what_lacks(Tree(), str(node), "games") == "nothing"
    give(node, f"0:0 660 u:{GAMES.pw_uid}:rw-,g::rw-")  # perhaps of another machine, which may end
    assert what_lacks(Tree(), str(node), "games") == "entry"
    assert what_lacks(Tree(), "/sys/kernel/uevent_seqnum", "games") == "owner"  # sysfs keeps no lists
