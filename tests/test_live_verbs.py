"""What people do to a machine that runs: pictures, keys, media, sizes, pins, snapshots. With a real QEMU."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from qlaunch.cli.keys import combination, typed
from qlaunch.cli.pin import merge
from qlaunch.duty import Pins
from qlaunch.errors import UsageError
from tests.live import DEAF, Desk

pytestmark = pytest.mark.qemu
MORE = """
[display]
type = "none"
gpu = "std"
[[disk]]
path = "{folder}/disk.qcow2"
[[disk]]
path = "{folder}/first.iso"
media = "cdrom"
[[iothread]]
name = "io0"
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk with a machine that has a display, a disk, a drive and a balloon; one boot for all."""
    desk = Desk(tmp_path_factory.mktemp("d"))
    try:
        subprocess.run(["qemu-img", "create", "-qf", "qcow2", desk.folder / "disk.qcow2", "8M"], check=True)
        for name in ("first.iso", "second.iso"):
            (desk.folder / name).write_bytes(bytes(1 << 20))
        text = DEAF.replace('size = "64M"', 'size = "64M"\nballoon = true')
        desk.machine("deaf", text + MORE.format(folder=desk.folder))
        desk.qlaunch("up", "deaf", "--detach")
        yield desk
    finally:
        desk.close()


def ask(desk: Desk, *words: str) -> object:
    return msgspec.json.decode(desk.qlaunch("console", "deaf", "-p", "-c", " ".join(words)).stdout)


def test_a_screenshot_is_a_png_of_what_is_shown(up: Desk) -> None:
    up.qlaunch("screenshot", "deaf", "shot.png")
    assert (up.folder / "shot.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert not list(up.folder.glob("*.new"))
    assert "there is no folder" in up.qlaunch("screenshot", "deaf", "no/shot.png", expect=3).stderr


def test_keys_are_pressed_and_wrong_ones_are_named(up: Desk) -> None:
    up.qlaunch("sendkey", "deaf", "ctrl-alt-delete", "enter", "--text", "Root 1!\\n")
    assert "nokey" in up.qlaunch("sendkey", "deaf", "ctrl-nokey", expect=6).stderr
    assert "wants KEYS" in up.qlaunch("sendkey", "deaf", expect=2).stderr


def test_keys_are_known_by_their_usual_names() -> None:
    assert combination("Ctrl-Alt-Del") == ["ctrl", "alt", "delete"]
    assert list(typed("a_B\n")) == [["a"], ["shift", "minus"], ["shift", "b"], ["ret"]]
    for wrong in ("ctrl--a", "-"):
        with pytest.raises(UsageError):
            combination(wrong)
    with pytest.raises(UsageError, match="'é' is not on a US keyboard"):
        list(typed("é"))


def test_a_medium_is_changed_and_taken_out(up: Desk) -> None:
    def medium() -> str | None:
        drive = next(one for one in msgspec.convert(ask(up, "query-block"), list[dict[str, Any]]) if one["removable"])
        return drive["inserted"]["file"] if "inserted" in drive else None

    assert medium() == f"{up.folder}/first.iso"
    up.qlaunch("eject", "deaf", "--insert", "second.iso")
    assert medium() == f"{up.folder}/second.iso"
    up.qlaunch("eject", "deaf", "disk1", "--force")
    assert medium() is None
    assert "no removable drive 'disk9'" in up.qlaunch("eject", "deaf", "disk9", expect=2).stderr
    assert "there is no file" in up.qlaunch("eject", "deaf", "--insert", "none.iso", expect=3).stderr


def test_a_disk_grows_and_never_shrinks(up: Desk) -> None:
    up.qlaunch("resize", "deaf", "disk0", "16M")
    nodes = msgspec.json.encode(ask(up, "query-named-block-nodes"))
    assert b'"virtual-size":16777216' in nodes
    assert "would lose what lies beyond 8M" in up.qlaunch("resize", "deaf", "disk0", "8M", expect=2).stderr
    assert "no disk 'disk7'" in up.qlaunch("resize", "deaf", "disk7", "8M", expect=2).stderr
    assert "is not a size" in up.qlaunch("resize", "deaf", "disk0", "big", expect=2).stderr


def test_the_balloon_says_what_the_guest_has(up: Desk) -> None:
    assert up.qlaunch("balloon", "deaf").stdout == "64M\n"
    up.qlaunch("balloon", "deaf", "48M")


def test_pins_change_while_it_runs_and_others_see_them(up: Desk) -> None:
    cpu = min(os.sched_getaffinity(0))
    assert (
        up.qlaunch("pin", "deaf", f"0={cpu}", f"io0={cpu}", f"emulator={cpu}").stdout
        == f"0={cpu}\nio0={cpu}\nemulator={cpu}\n"
    )
    status = msgspec.json.decode(up.qlaunch("status", "deaf", "--json").stdout)
    assert status["pins"]["vcpus"] == {"0": str(cpu)}
    assert {thread["allowed"] for thread in status["threads"]} == {str(cpu)}
    assert "cannot pin vCPU 0 to CPU 4000" in up.qlaunch("pin", "deaf", "0=4000", expect=3).stderr
    assert "no vCPU 7" in up.qlaunch("pin", "deaf", f"7={cpu}", expect=3).stderr
    assert up.record("deaf")["duty"]["pins"]["vcpus"] == {"0": str(cpu)}


def test_pins_are_merged_by_name_and_wrong_ones_refused() -> None:
    before = Pins(vcpus={"0": "1", "1": "2"}, emulator="0")
    assert merge(before, ["1=3", "io0=0-1"]) == Pins(vcpus={"0": "1", "1": "3"}, iothreads={"io0": "0-1"}, emulator="0")
    for wrong in ("0", "=1", "0=", "0=x"):
        with pytest.raises(UsageError):
            merge(before, [wrong])


def test_a_snapshot_is_taken_reverted_to_and_deleted(up: Desk) -> None:
    up.qlaunch("eject", "deaf", "--force")
    up.qlaunch("snapshot", "deaf", "take", "clean")
    listed = up.qlaunch("snapshot", "deaf", "list").stdout
    assert "clean" in listed
    assert "disk0" in listed
    assert "already" in up.qlaunch("snapshot", "deaf", "take", "clean", expect=2).stderr
    up.qlaunch("snapshot", "deaf", "revert", "clean")
    assert "running" in str(ask(up, "query-status"))
    up.qlaunch("snapshot", "deaf", "delete", "clean")
    assert "clean" not in up.qlaunch("snapshot", "deaf", "list").stdout
    assert "no snapshot 'clean'" in up.qlaunch("snapshot", "deaf", "revert", "clean", expect=2).stderr
    assert "wants a TAG" in up.qlaunch("snapshot", "deaf", "take", expect=2).stderr


def test_a_disk_is_frozen_and_its_overlay_merged_back(up: Desk) -> None:
    overlay = Path(up.qlaunch("snapshot", "deaf", "take", "before", "--external", ".").stdout.strip())
    assert overlay.exists()
    assert f"disk0 writes to {overlay}" in up.qlaunch("snapshot", "deaf", "list").stdout
    assert up.qlaunch("snapshot", "deaf", "commit").stdout == f"{overlay}\n"
    assert "over" not in up.qlaunch("snapshot", "deaf", "list").stdout
    assert "no disk writes to an overlay" in up.qlaunch("snapshot", "deaf", "commit", expect=2).stderr
