"""Files change hands, and only those that are meant."""

import os
from pathlib import Path

import pytest

from qlaunch.errors import HostError
from qlaunch.host.permissions import read_access
from qlaunch.steps.host import LocalHost
from qlaunch.values.access import ATTRIBUTE, Access

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
ALICE = 65534


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    made = tmp_path / "disk.raw"
    made.touch(0o640)
    return made


def give(path: Path | str, uid: int = ALICE) -> None:
    LocalHost().set_access(str(path), Access(uid, 0, 0o600))


def owner(path: Path) -> tuple[int, int]:
    return path.stat().st_uid, path.stat().st_mode & 0o777


def test_a_file_changes_hands_and_comes_back(disk: Path) -> None:
    give(disk)
    assert owner(disk) == (ALICE, 0o600)
    give(disk, 0)
    assert owner(disk) == (0, 0o600)


def test_a_list_is_set_by_one_write_and_what_was_there_comes_back(disk: Path) -> None:
    found = read_access(str(disk))
    for text in ("0:0 660 u:7:rw-,g::---", "7:0 640 u:7:rw-,u:8:r--,g::rw-,g:9:r--", "7:0 4711", str(found)):
        LocalHost().set_access(str(disk), Access.parse(text))
        assert str(LocalHost().access(str(disk))) == text
    assert ATTRIBUTE not in os.listxattr(disk)


def test_what_a_list_kept_from_the_group_it_never_gets(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list is taken away by the call that sets the bits, so nobody can be in between."""
    LocalHost().set_access(str(disk), Access.parse("0:0 660 u:7:rw-,g::---"))
    monkeypatch.setattr(os, "chmod", lambda *_: None)
    LocalHost().set_access(str(disk), Access.parse("0:0 600"))
    assert str(LocalHost().access(str(disk))) == "0:0 600"


def test_nobody_is_let_in_at_a_file_of_several_names(disk: Path) -> None:
    os.link(disk, disk.parent / "again")
    with pytest.raises(HostError, match=r"not given to user 7: the file has 2 names \(hard links\)"):
        LocalHost().set_access(str(disk), Access.parse("0:0 660 u:7:rw-,g::---"))


def test_links_of_root_are_followed_such_as_those_of_udev(disk: Path) -> None:
    (disk.parent / "by-id").symlink_to(".")
    (disk.parent / "relative").symlink_to("by-id/disk.raw")
    (disk.parent / "absolute").symlink_to(disk.parent / "relative")
    give(disk.parent / "absolute")
    assert owner(disk) == (ALICE, 0o600)


@pytest.mark.parametrize("name", ["link", "folder/disk.raw"])
def test_a_link_that_a_user_made_is_not_followed(disk: Path, name: str) -> None:
    (disk.parent / "link").symlink_to(disk)
    (disk.parent / "folder").symlink_to(".")
    for link in ("link", "folder"):
        os.lchown(disk.parent / link, ALICE, ALICE)
    with pytest.raises(HostError, match="a symbolic link of user 65534"):
        give(disk.parent / name)
    assert owner(disk) == (0, 0o640)


def test_a_link_to_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(HostError, match="leads over more than 40 symbolic links"):
        give(tmp_path / "loop")


def test_a_file_of_several_names_is_given_to_nobody_but_back_to_root(disk: Path) -> None:
    os.link(disk, disk.parent / "again")
    with pytest.raises(HostError, match=r"the file has 2 names \(hard links\)"):
        give(disk)
    assert owner(disk) == (0, 0o640)
    give(disk, 0)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(HostError, match="is no file, folder or device"):
        give(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        give(tmp_path / "nothing")
