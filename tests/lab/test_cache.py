"""The lab's folder and what is deleted in it, without an emulated host: only what is the lab's, and nobody else's."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.lab import cache, snapshot
from tests.lab.failure import LabError


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that somebody chose for the cache."""
    chosen = tmp_path / "lab"
    monkeypatch.setenv("QLAUNCH_LAB_CACHE", str(chosen))
    monkeypatch.setattr(cache, "LONGEST_FOLDER", 1000)
    return chosen


def test_a_new_folder_and_an_empty_one_become_the_lab_s(place: Path) -> None:
    assert cache.folder() == place
    (place / cache.TAG).unlink()
    cache.folder()
    (place / "anything").touch()
    cache.folder()
    assert (place / cache.TAG).read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")


@pytest.mark.parametrize("name", ["thesis.txt", f"images/{'0' * 16}/thesis.txt", "images/mine/root.img"])
def test_a_folder_with_somebody_s_files_is_refused(place: Path, name: str) -> None:
    (place / name).parent.mkdir(parents=True)
    (place / name).touch()
    with pytest.raises(LabError, match="something in it that is not the lab's; set QLAUNCH_LAB_CACHE to a new or"):
        cache.folder()
    assert not (place / cache.TAG).exists()


def test_another_program_s_cache_is_refused(place: Path) -> None:
    place.mkdir()
    (place / cache.TAG).write_text(cache.MARK.splitlines()[0])
    (place / "wheels").mkdir()
    with pytest.raises(LabError, match="not the lab's"):
        cache.folder()


def test_a_cache_from_before_the_mark_is_accepted_by_its_image(place: Path) -> None:
    image = place / "images" / "0123456789abcdef"
    image.mkdir(parents=True)
    (image / "root.img").touch()
    assert cache.folder() == place
    assert (place / cache.TAG).read_text() == cache.MARK


@pytest.mark.usefixtures("place")
def test_a_folder_that_others_can_write_to_is_refused() -> None:
    cache.folder().chmod(0o775)
    with pytest.raises(LabError, match="written to by other users; chmod go-w"):
        cache.folder()


def test_a_folder_of_another_user_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place.mkdir()
    owner = place.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(LabError, match="belongs to another user"):
        cache.folder()


def old(folder: Path) -> Path:
    folder.mkdir(parents=True)
    os.utime(folder, (time.time() - 1000,) * 2)
    return folder


def test_only_what_is_named_and_unused_is_forgotten(tmp_path: Path) -> None:
    for name in ("full-1", "mine"):
        old(tmp_path / name)
    (tmp_path / "full-2").mkdir()
    cache.forget_unused(tmp_path, "*-*", 500)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full-2", "mine"]


def test_an_image_that_another_checkout_uses_and_what_is_no_image_are_kept(tmp_path: Path) -> None:
    names = [digit * 16 for digit in "0123"]
    for name in (*names, "mine"):
        (tmp_path / name).mkdir()
        if name != names[2]:
            (tmp_path / name / "root.img").touch()
        age_s = 0 if name == names[1] else 1000
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    cache.forget_unused(tmp_path, cache.IMAGE, 500, holding="root.img")
    assert sorted(path.name for path in tmp_path.iterdir()) == [names[1], names[2], "mine"]


@pytest.mark.usefixtures("place")
def test_stop_ends_kept_labs_only_and_minds_no_broken_folder() -> None:
    runs = cache.folder() / "run"
    running = {}
    for name in ("kept", "used"):
        (runs / name).mkdir(parents=True)
        running[name] = subprocess.Popen(["sleep", "600"], cwd=runs / name)
        (runs / name / "pid").write_text(str(running[name].pid))
    for name, pid in (("vanished", None), ("empty", ""), ("foreign", "1")):
        (runs / name).mkdir()
        if pid is not None:
            (runs / name / "pid").write_text(pid)
    for name in ("kept", "vanished", "empty", "foreign"):
        (runs / name / cache.KEPT).touch()
    try:
        assert cache.stop_kept() == 1
        assert running["kept"].wait(60) == -9
        assert running["used"].poll() is None
        assert [path.name for path in runs.iterdir()] == ["used"]
    finally:
        for process in running.values():
            process.kill()
            process.wait()


def test_stop_finds_a_kept_lab_by_a_link_to_the_cache(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = cache.folder() / "run/kept"
    run.mkdir(parents=True)
    (run / cache.KEPT).touch()
    (tmp_path / "link").symlink_to(place)
    with subprocess.Popen(["sleep", "600"], cwd=run) as running:
        (run / "pid").write_text(str(running.pid))
        monkeypatch.setenv("QLAUNCH_LAB_CACHE", str(tmp_path / "link"))
        try:
            assert cache.stop_kept() == 1
        finally:
            running.kill()


@pytest.mark.usefixtures("place")
def test_a_bad_snapshot_is_deleted_but_not_the_one_that_somebody_made_in_its_place(tmp_path: Path) -> None:
    bad, new = tmp_path / "full-1", tmp_path / "full-2"
    for folder in (bad, new):
        folder.mkdir()
        (folder / "memory").touch()
    os.utime(new / "memory", (1, 1))
    made = snapshot._made(bad)
    snapshot._forget("full", new, made)
    snapshot._forget("full", bad, made)
    assert new.exists()
    assert not bad.exists()
