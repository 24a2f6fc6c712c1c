"""A throw-away run's folder goes when nobody needs it any more, and not before."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from qlaunch.errors import HostError
from qlaunch.run import thrown_away
from qlaunch.run.thrown_away import hold_folder_of, remove_folder_of, run_folder, sweep

KILLED = """
import os, sys
from qlaunch.run.thrown_away import run_folder
with run_folder(sys.argv[1]) as folder:
    open(f"{folder}/disk0.qcow2", "w").close()
    os.kill(os.getpid(), 9)
"""


def killed(state: Path) -> Path:
    """A folder whose run was killed."""
    before = set(state.iterdir())
    subprocess.run([sys.executable, "-c", KILLED, str(state)], check=False)
    (folder,) = set(state.iterdir()) - before
    return folder


def test_it_stays_while_a_process_lives_that_inherited_it(tmp_path: Path) -> None:
    with ExitStack() as run:
        folder = run.enter_context(run_folder(str(tmp_path)))
        inherited = hold_folder_of(f"{folder}/ada")
        assert inherited is not None
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[inherited]) as guest:
            os.close(inherited)
            run.close()
            remove_folder_of(f"{folder}/ada")
            assert sweep(str(tmp_path)) == (0, [])
            assert sweep(f"{tmp_path}/../{tmp_path.name}/") == (0, [])
            assert Path(folder).is_dir()
            guest.communicate()
    assert sweep(str(tmp_path)) == (1, [])
    assert not list(tmp_path.iterdir())


def test_it_goes_with_the_run_though_a_forked_child_lives(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with run_folder(str(tmp_path)):
        if not (child := os.fork()):
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
    assert not list(tmp_path.iterdir())
    os.close(writing)
    os.waitpid(child, 0)


def test_of_many_sweepers_one_removes_it(tmp_path: Path) -> None:
    folders = [killed(tmp_path) for _ in range(3)]
    assert all((folder / "disk0.qcow2").exists() for folder in folders)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(sweep, [str(tmp_path)] * 8))
    assert sum(swept for swept, _ in found) == 3
    assert not list(tmp_path.iterdir())


def test_a_folder_is_never_swept_while_it_is_made(tmp_path: Path) -> None:
    def make() -> bool:
        with run_folder(str(tmp_path)) as folder:
            return Path(folder, "in-use").exists()

    with ThreadPoolExecutor(8) as pool:
        made = [pool.submit(make) for _ in range(200)]
        swept = [pool.submit(sweep, str(tmp_path)) for _ in range(200)]
    assert all(one.result() for one in made)
    assert not [complaint for one in swept for complaint in one.result()[1]]
    assert not list(tmp_path.iterdir())


def test_what_was_half_made_or_half_removed_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".thrown-away-made").mkdir()
    (killed(tmp_path) / "disk0.qcow2").unlink()
    assert sweep(str(tmp_path)) == (2, [])

    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(thrown_away, "_lock", fail)
    with pytest.raises(HostError, match=r"cannot make .*: no space left on device"), run_folder(str(tmp_path)):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_that_nobody_throws_away_is_nobodys_to_remove(tmp_path: Path) -> None:
    for state in (tmp_path, tmp_path / ".thrown-away-as-somebody-calls-it"):
        (state / "ada").mkdir(parents=True)
        assert hold_folder_of(f"{state}/ada") is None
        remove_folder_of(f"{state}/ada")
        assert sweep(str(tmp_path)) == (0, [])
        assert (state / "ada").is_dir()


def test_the_lock_is_the_last_that_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = killed(tmp_path)
    for number in range(20):  # in whatever order the file system lists them
        (folder / str(number)).write_text("")
    unlink, left = os.unlink, []

    def watch(path: str) -> None:
        unlink(path)
        left.append((folder / "in-use").exists())

    monkeypatch.setattr(os, "unlink", watch)
    assert sweep(str(tmp_path)) == (1, [])
    assert left == [True] * 21 + [False]


def test_what_cannot_be_removed_does_not_keep_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = {killed(tmp_path) for _ in range(3)}
    bad = sorted(folders)[1]
    remove = thrown_away._remove_tree

    def fail(folder: str) -> None:
        if folder == str(bad):
            raise PermissionError(13, "Permission denied", folder)
        remove(folder)

    monkeypatch.setattr(thrown_away, "_remove_tree", fail)
    assert sweep(str(tmp_path)) == (2, [f"cannot remove {bad}, which a throw-away run has left: permission denied"])
    assert list(tmp_path.iterdir()) == [bad]


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = killed(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert sweep(str(tmp_path)) == (0, [])
    assert folder.is_dir()
