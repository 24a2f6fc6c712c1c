"""The reader of a host's files: three kinds of root, links that stay inside, contents that never raise."""

import tarfile
from pathlib import Path

import pytest

from qlaunch.errors import HostError
from qlaunch.host.facts import HostFacts
from qlaunch.host.tree import Tree
from tests.hosts.build import NAMES, load

PARTS: tuple[str, ...] = (
    "cpus",
    "memory",
    "pci",
    "iommu",
    "usb",
    "inputs",
    "framebuffers",
    "blocks",
    "network",
    "cgroups",
    "kernel",
)
PARTS += ("software", "holders")


def everything(tree: Tree) -> list[object]:
    facts = HostFacts(tree)
    found = [getattr(facts, part) for part in PARTS]
    return [*found, *(facts.pci_settings(device.address) for device in facts.pci.devices)]


def archive(folder: Path, path: Path) -> str:
    with tarfile.open(path, "w:gz") as file:
        file.add(folder, arcname=".")
    return str(path)


@pytest.mark.parametrize("name", NAMES)
def test_memory_folder_and_archive_give_the_same_facts(name: str, tmp_path: Path) -> None:
    files = load(name)
    folder = files.write(tmp_path / "tree")
    expected = everything(files.tree())
    assert everything(Tree(str(folder))) == expected
    assert everything(Tree(archive(folder, tmp_path / "captured.tar.gz"))) == expected


@pytest.mark.parametrize("name", NAMES)
def test_what_was_recorded_gives_the_same_facts_again(name: str) -> None:
    first = load(name).tree(record=True)
    expected = everything(first)
    assert first.record is not None
    assert everything(Tree.holding(*first.record.contents())) == expected


def test_a_record_of_this_computer_gives_the_same_cpus_and_devices_again() -> None:
    first = Tree("/", record=True)
    facts = HostFacts(first)
    expected = (facts.cpus, facts.pci, facts.iommu, facts.network, facts.blocks)
    assert first.record is not None
    again = HostFacts(Tree.holding(*first.record.contents()))
    assert (again.cpus, again.pci, again.iommu, again.network, again.blocks) == expected


def test_a_recorded_property_file_holds_the_wanted_lines_alone() -> None:
    tree = load("desktop-two-ccx").tree(record=True)
    everything(tree)
    assert tree.record is not None
    assert not [path for path, text in tree.record.files.items() if "SECRET" in text or "02:00:00" in text]


def test_a_link_to_an_absolute_path_stays_inside_the_root(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/name").write_text("inside\n")
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr/link").symlink_to("/etc/name")
    (tmp_path / "up").symlink_to("../../../../../../../../etc/name")
    tree = Tree(str(tmp_path))
    assert tree.read("/usr/link") == tree.read("/up") == "inside"


def test_a_loop_of_links_is_a_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    tree = Tree(str(tmp_path))
    assert tree.read("/a/name") is None
    assert tree.listdir("/a") == []
    assert not tree.exists("/a")


@pytest.mark.parametrize("text", ["", "\0", "nonsense", "-1", "9" * 5000, "0x", "\N{ARABIC-INDIC DIGIT TWO}x"])
def test_odd_numbers_are_none_or_numbers_and_never_raise(text: str) -> None:
    tree = Tree.holding({"/f": text}, {})
    assert tree.number("/f") in (None, -1)
    assert tree.hexadecimal("/f") in (None, -1) or text == "9" * 5000
    assert tree.cpus("/f") in (None, frozenset())


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0\0", b"\n\n\n", b"x" * 10000, b"-1", b"0-", b": : :", b"a - b"])
@pytest.mark.parametrize("name", ["desktop-two-ccx", "server-two-nodes"])
def test_every_file_may_hold_anything_without_a_traceback(name: str, content: bytes) -> None:
    files = load(name)
    files.texts = dict.fromkeys(files.texts, content.decode("latin-1"))
    everything(files.tree())


@pytest.mark.parametrize("target", ["", "/", "..", "x", "../../../0000:zz:00.0", "\0"])
def test_every_link_may_lead_anywhere_without_a_traceback(target: str) -> None:
    files = load("desktop-two-ccx")
    files.links = dict.fromkeys(files.links, target)
    everything(files.tree())


def test_a_label_moves_no_cursor() -> None:
    assert Tree.holding({"/n": "evil\x1b[2Jname\x07"}, {}).label("/n") == "evil[2Jname"


def test_a_root_that_is_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="is neither a folder nor a file"):
        Tree(str(tmp_path / "missing"))


@pytest.mark.parametrize("content", [b"", b"not an archive", b"\x1f\x8b\x08\0broken"])
def test_an_archive_that_is_none_says_so(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "captured.tar.gz"
    path.write_bytes(content)
    with pytest.raises(HostError, match="cannot be read as a captured tree"):
        Tree(str(path))


def test_an_archive_with_names_outside_is_read_inside(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("here")
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as file:
        file.add(tmp_path / "x", arcname="../../etc/x")
    assert Tree(str(tmp_path / "c.tar.gz")).read("/etc/x") == "here"


def test_a_part_that_nobody_asks_for_is_not_read() -> None:
    tree = load("desktop-two-ccx").tree(record=True)
    assert HostFacts(tree).cpus.online
    assert tree.record is not None
    assert not [path for path in tree.record.files if not path.startswith(("/sys/devices/system/", "/sys/devices/cpu"))]
