"""The host's SMBIOS strings."""

from pathlib import Path

import pytest

from qlaunch.host.dmi import read_smbios
from qlaunch.host.tree import Tree


@pytest.fixture
def host(tmp_path: Path) -> Path:
    (tmp_path / "sys/class/dmi/id").mkdir(parents=True)
    return tmp_path


def say(host: Path, **files: str) -> None:
    for name, text in files.items():
        (host / "sys/class/dmi/id" / name).write_bytes(text.encode(errors="surrogateescape"))


def test_each_file_goes_to_its_type_and_key(host: Path) -> None:
    say(host, bios_vendor="AMI\n", bios_release="5.17\n", sys_vendor="ACME, Inc.\n", product_sku="S1\n")
    say(host, board_name="X399\n", board_asset_tag="T\n", chassis_serial="42\n", chassis_type="3\n", product_uuid="u\n")
    assert read_smbios(Tree(str(host))) == {
        0: {"vendor": "AMI", "release": "5.17"},
        1: {"manufacturer": "ACME, Inc.", "sku": "S1"},
        2: {"product": "X399", "asset": "T"},
        3: {"serial": "42"},
    }


def test_what_is_empty_is_left_out(host: Path) -> None:
    say(host, bios_vendor="\n", sys_vendor="   \n", board_name="X\n")
    assert read_smbios(Tree(str(host))) == {2: {"product": "X"}}


def test_what_cannot_be_read_is_left_out(host: Path) -> None:
    say(host, product_name="P\n")
    # Root may read any file, so a folder stands for one that may not be read.
    (host / "sys/class/dmi/id/product_serial").mkdir()
    assert read_smbios(Tree(str(host))) == {1: {"product": "P"}}


def test_control_characters_and_broken_bytes_are_taken_out(host: Path) -> None:
    say(host, sys_vendor="\x01A\x1b[31mB\udcff\n-\n", product_name=" \x00 \n")
    assert read_smbios(Tree(str(host))) == {1: {"manufacturer": "A[31mB-"}}


@pytest.mark.parametrize("release", ["abc", "5", "5.17.1", "5.300", "-1.2"])
def test_a_release_that_qemu_would_refuse_is_left_out(host: Path, release: str) -> None:
    say(host, bios_release=f"{release}\n", bios_date="01/02/2024\n")
    assert read_smbios(Tree(str(host))) == {0: {"date": "01/02/2024"}}


def test_a_host_without_smbios_gives_nothing(tmp_path: Path) -> None:
    assert read_smbios(Tree(str(tmp_path))) == {}
