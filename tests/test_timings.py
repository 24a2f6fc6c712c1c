"""How long each part of a start and of an end took: told as a table, drawn as a document that is whole."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from qlaunch.cli.timings import drawing, table
from qlaunch.run.timings import Clock, Part, read_timings, write_timings
from qlaunch.steps.waits import KERNEL, SYSTEMD, Wait
from tests.live import DEAF, Desk

PARTS = [Part("0b:00 to <vfio-pci>", "devices", 10.0, 10.25), Part("start of QEMU", "qemu", 10.25, 10.5)]


def test_the_table_says_when_and_how_long() -> None:
    assert table(PARTS)[1:] == [
        "      0.0     250.0  devices      0b:00 to <vfio-pci>",
        "    250.0     250.0  qemu         start of QEMU",
    ]
    assert table([]) == ["no timings were kept"]


def test_the_table_says_whose_time_it_was() -> None:
    waits = (Wait(SYSTEMD, 10.0, 10.125), Wait(KERNEL, 10.125, 10.1875), Wait(SYSTEMD, 10.1875, 10.25))
    (line,) = table([Part("without gdm.service", "devices", 10.0, 10.5, waits)])[1:]
    assert line.endswith("without gdm.service (systemd 187.5, the kernel 62.5)")


def test_the_drawing_has_a_bar_for_each_part_in_scale() -> None:
    root = ET.fromstring(drawing("ada & bob", PARTS))  # noqa: S314 - our own
    bars = [element for element in root.iter() if element.tag.endswith("rect")]
    assert [float(bar.get("width", 0)) for bar in bars] == [450.0, 450.0]
    assert [float(bar.get("x", 0)) for bar in bars] == [16.0, 466.0]
    words = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert "ada & bob: 500 ms" in words
    assert "0b:00 to <vfio-pci> (250.0 ms)" in words


def test_the_scale_has_round_times_and_each_lane_its_colour() -> None:
    lanes = ["qemu", "helpers", "devices", "values", "memory", "cpu", "leases", "quiet"]
    parts = [Part(lane, lane, number * 7.0, number * 7.0 + 7) for number, lane in enumerate(lanes)]
    root = ET.fromstring(drawing("ada", parts))  # noqa: S314 - our own
    scale = [element.text for element in root.iter() if element.get("fill") == "#777"]
    assert scale == ["0", "10000", "20000", "30000", "40000", "50000"]
    fills = {element.get("fill") for element in root.iter() if element.tag.endswith("rect")}
    assert len(fills) == len(lanes)
    named = [element.text for element in root.iter() if element.get("y") == "20"]
    assert named == ["ada: 56000 ms", *lanes]


def test_no_part_at_all_is_a_document_too() -> None:
    ET.fromstring(drawing("ada", []))  # noqa: S314 - our own


def test_parts_are_kept_in_the_order_of_their_beginning(tmp_path: Path) -> None:
    clock = Clock()
    with clock.part("inner"):
        pass
    write_timings(str(tmp_path), [*clock.parts, *PARTS][::-1])
    assert sorted(read_timings(str(tmp_path)), key=lambda part: part.began) == read_timings(str(tmp_path))
    write_timings(str(tmp_path / "gone"), PARTS)
    assert read_timings(str(tmp_path / "gone")) == []


@pytest.mark.qemu
def test_up_and_down_tell_them_and_draw_only_into_new_files(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    up = desk.qlaunch("up", "deaf", "--detach", "--timings", "up.svg")
    assert "start of QEMU" in up.stderr
    assert "the guest is let go" in up.stderr
    assert (desk.folder / "up.svg").read_text().startswith("<svg")
    down = desk.qlaunch("down", "deaf", "--force", "--timings")
    assert "the guest and QEMU end" in down.stderr
    assert "start of QEMU" not in down.stderr
    assert "up.svg exists" in desk.qlaunch("up", "deaf", "--detach", "--timings", "up.svg", expect=2).stderr
    desk.assert_clean()
