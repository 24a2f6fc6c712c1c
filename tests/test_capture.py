"""A capture answers as the host did that it was made of, and holds nothing that tells one computer from another."""

import io
import os
import re
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from qlaunch.capture import capture
from qlaunch.cli import main
from qlaunch.errors import HostError
from qlaunch.host import archive
from qlaunch.host.archive import pack
from qlaunch.host.facts import HostFacts
from qlaunch.host.folders import find_folders
from qlaunch.host.redaction import Redaction
from qlaunch.host.tree import Tree
from qlaunch.machine.load import load
from tests.hosts import build
from tests.test_host_tree import everything

GAMING = "machines/gaming.toml"
SHIPPED = sorted(str(path) for path in Path("machines").glob("*.toml"))
SECRETS = {
    "/sys/class/dmi/id/product_serial": "PF2ZK7Q9",
    "/sys/class/dmi/id/board_asset_tag": "OFFICE-0042",
    "/sys/class/dmi/id/product_uuid": "4c4c4544-0042-3510-8052-b7c04f4d3232",
    "/sys/bus/usb/devices/3-1/serial": "0D8F31C2",
    "/sys/class/nvme/nvme0/serial": "S5GXNX0R123456K",
    "/etc/machine-id": "0123456789abcdef0123456789abcdee",
}
MAC = "3c:7c:3f:1e:99:0b"


def captured(tree: Tree, path: Path, *names: str) -> str:
    """Capture a recording tree into a file."""
    contents = capture(HostFacts(tree), [load(name) for name in names], find_folders(), {})
    path.write_bytes(pack(*contents))
    return str(path)


def unpacked(path: str, folder: Path) -> str:
    with tarfile.open(path) as file:
        file.extraction_filter = getattr(tarfile, "tar_filter", None)  # Python 3.11.2, Debian's, has none
        file.extractall(folder)  # noqa: S202 - packed by ourselves
    return str(folder)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    main([*words, "--json"])
    return msgspec.json.decode(capsys.readouterr().out)


@pytest.mark.parametrize("name", build.NAMES)
def test_facts_of_a_capture_packed_or_not_are_those_of_the_host(name: str, tmp_path: Path) -> None:
    files = build.load(name)
    expected = everything(files.tree())
    path = captured(files.tree(record=True), tmp_path / "host.tar.gz")
    assert everything(Tree(path)) == expected
    assert everything(Tree(unpacked(path, tmp_path / "tree"))) == expected


def test_facts_of_a_capture_of_this_computer_are_its_own(tmp_path: Path) -> None:
    tree = Tree("/", record=True)
    path = captured(tree, tmp_path / "host.tar.gz")
    # The recording tree answers as it did when it was asked first: memory and processes move on.
    assert tree.record
    kept = Tree.holding(*tree.record.contents())
    again, here = everything(Tree(path)), everything(kept)
    assert again == here
    live = everything(Tree("/"))
    still = (0, 2, 3, 4, 5, 6)  # all but memory, disks, links, groups, modules, processes
    assert [again[part] for part in still] == [live[part] for part in still]


@pytest.mark.parametrize(
    ("host", "machine"),
    [*((host, GAMING) for host in build.NAMES), *(("desktop-two-ccx", one) for one in SHIPPED if one != GAMING)],
)
def test_plans_checks_and_pictures_of_a_capture_are_those_of_the_host(
    host: str, machine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(build.load(host).write(tmp_path / "tree"))
    path = str(tmp_path / "host.tar.gz")
    assert main(["capture", path, machine, "--host-root", folder]) == 0
    capsys.readouterr()
    for verb in (["plan", machine], ["check", machine], ["topology"], ["groups"], ["check"]):
        assert said(capsys, *verb, "--host-root", path) == said(capsys, *verb, "--host-root", folder), verb


def test_a_capture_of_no_machine_says_nothing_of_disks_that_it_was_not_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(build.load("desktop-two-ccx").write(tmp_path / "tree"))
    main(["capture", str(tmp_path / "none.tar.gz"), "--host-root", folder])
    main(["capture", str(tmp_path / "named.tar.gz"), GAMING, "--host-root", folder])
    capsys.readouterr()
    for name, missing in (("none", False), ("named", True)):
        plan = said(capsys, "plan", GAMING, "--host-root", str(tmp_path / f"{name}.tar.gz"))
        assert ("disk-missing" in {problem["code"] for problem in plan["problems"]}) is missing


def secretive() -> build.Files:
    """A desktop with something of each kind that must not leave it."""
    files = build.load("desktop-two-ccx")
    files.texts |= {path: text for path, text in SECRETS.items() if "/3-1/" not in path}
    files.texts["/sys/devices/pci0000:00/0000:00:03.1/0000:0d:00.3/usb3/3-1/serial"] = "0D8F31C2"
    files.texts["/proc/cmdline"] += f" root=UUID={SECRETS['/sys/class/dmi/id/product_uuid']} BOOTIF=01-{MAC}"
    # A gateway's IPv6 address is made of its MAC address.
    gateway = "fe800000000000003e7c3ffffe1e990b"
    zero = "0" * 32
    files.texts["/proc/net/ipv6_route"] = f"{zero} 00 {zero} 00 {gateway} 00000400 1 0 00000003 br0"
    files.texts["/proc/self/mountinfo"] += "\n50 28 0:50 / /home/alice/secret rw - nfs nas:/alice rw"
    files.links["/proc/1300/fd/7"] = "/home/alice/letter.txt"
    files.texts["/proc/1300/comm"] = "hidden-program"
    link = f"enx{MAC.replace(':', '')}"
    files.put(f"/sys/devices/virtual/net/{link}", operstate="up", address=MAC)
    files.link_class(f"/sys/class/net/{link}", f"/sys/devices/virtual/net/{link}")
    old = "/dev/input/by-id/usb-Logitech_USB_Receiver-event-mouse"
    files.links[old.replace("Receiver-", "Receiver_0D8F31C2-")] = files.links.pop(old)
    return files


def test_what_tells_one_computer_from_another_is_not_in_a_capture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(secretive().write(tmp_path / "tree"))
    path = str(tmp_path / "host.tar.gz")
    assert main(["capture", path, GAMING, "--host-root", folder]) == 0
    assert "serial numbers, MAC addresses and UUIDs have stand-ins" in capsys.readouterr().err
    with tarfile.open(path) as file:
        members = [(member, file.extractfile(member) if member.isreg() else None) for member in file]
        text = "\n".join(
            f"{member.name} {member.linkname} {content.read().decode() if content else ''}"
            for member, content in members
        ).lower()
    hidden = [*SECRETS.values(), MAC, MAC.replace(":", ""), "3e7c3ffffe1e990b", "alice", "hidden-program", "SECRET"]
    assert [word for word in hidden if word.lower() in text] == []
    inputs = HostFacts(Tree(path)).inputs
    assert re.fullmatch(r".*/usb-Logitech_USB_Receiver_SERIAL\d-event-mouse", inputs[0].by_id[0])


def test_private_captures_keep_serial_numbers_and_nobodys_open_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = secretive()
    path = str(tmp_path / "host.tar.gz")
    assert main(["capture", path, "--private", "--host-root", str(files.write(tmp_path / "tree"))]) == 0
    capsys.readouterr()
    tree = Tree(path)
    assert tree.read("/sys/class/dmi/id/product_serial") == "PF2ZK7Q9"
    assert everything(tree) == everything(files.tree())
    assert tree.readlink("/proc/1300/fd/7") is None


def test_the_same_host_gives_the_same_bytes(tmp_path: Path) -> None:
    paths = [captured(build.load("no-iommu").tree(record=True), tmp_path / f"{number}") for number in range(2)]
    assert Path(paths[0]).read_bytes() == Path(paths[1]).read_bytes()


def test_a_file_that_may_not_be_read_may_not_be_read_in_a_capture_either(tmp_path: Path) -> None:
    tree = Tree.holding({"/sys/module/kvm/parameters/secret": None, "/sys/a": "1"}, {}, record=True)
    assert HostFacts(tree).kernel.parameters == {}
    assert tree.record
    (tmp_path / "c").write_bytes(pack(*tree.record.contents()))
    again = Tree(str(tmp_path / "c"))
    assert again.listdir("/sys/module/kvm/parameters") == ["secret"]
    assert HostFacts(again).kernel.parameters == {}


def test_a_file_that_exists_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("mine")
    assert main(["capture", str(tmp_path / "mine")]) == 2
    assert "exists" in capsys.readouterr().err
    assert (tmp_path / "mine").read_text() == "mine"
    assert main(["capture", str(tmp_path / "none/x.tar.gz")]) == 3


def test_what_is_neither_file_nor_link_in_an_archive_is_not_there(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as file:
        for name, kind in (("dev/sda", tarfile.BLKTYPE), ("dev/p", tarfile.FIFOTYPE), ("dev/h", tarfile.LNKTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            file.addfile(member)
        link = tarfile.TarInfo("sys")
        link.type, link.linkname = tarfile.SYMTYPE, "../../../../etc"
        file.addfile(link)
    tree = Tree(str(tmp_path / "c.tar.gz"))
    assert not any(map(tree.exists, ("/dev/sda", "/dev/p", "/dev/h", "/sys/passwd")))
    assert tree.listdir("/") == ["sys"]


@pytest.mark.parametrize("bomb", ["large", "many", "header"])
def test_an_archive_that_would_fill_the_memory_is_refused(
    bomb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "_MOST_BYTES", 1 << 20)
    monkeypatch.setattr(archive, "_MOST_MEMBERS", 100)
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as file:
        for number in range(200 if bomb == "many" else 1):
            member = tarfile.TarInfo(f"file{number}")
            member.size = 4 << 20 if bomb == "large" else 0
            if bomb == "header":
                member.pax_headers = {"comment": "x" * (4 << 20)}
            file.addfile(member, io.BytesIO(bytes(member.size)))
    with pytest.raises(HostError, match="cannot be read as a captured tree"):
        Tree(str(tmp_path / "c.tar.gz"))


def test_a_damaged_answer_in_a_capture_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "qlaunch.json").write_text('{"qemu": 3}')
    assert main(["plan", GAMING, "--host-root", str(tmp_path)]) == 3
    assert "is damaged" in capsys.readouterr().err


def test_stand_ins_are_the_same_everywhere_and_numbers_are_no_serial_numbers() -> None:
    redaction = Redaction(iter(["00000000", "Default string", "AB 12345", "1234"]))
    assert redaction("x_AB_12345-event AB 12345 00000000 1234") == "x_SERIAL1-event SERIAL1 00000000 1234"
    assert redaction(f"{MAC} enx{MAC.replace(':', '')}") == "02:00:00:00:00:02 enx020000000002"
    assert redaction("0000:0b:00.0 0-3,8-11 01:02:03") == "0000:0b:00.0 0-3,8-11 01:02:03"


@pytest.mark.skipif(not os.path.exists("/sys/devices/system/cpu"), reason="this computer has no /sys")
def test_a_capture_of_this_computer_is_small_and_made_by_its_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "host.tar.gz")
    assert main(["capture", path, "machines/headless.toml"]) == 0
    assert "files and links" in capsys.readouterr().out
    assert os.path.getsize(path) < 2 << 20
    words = ("machines/headless.toml", "--json")
    main(["argv", *words])
    here = capsys.readouterr().out
    main(["argv", *words, "--host-root", path])
    assert capsys.readouterr().out == here


def as_nobody(words: list[str]) -> tuple[int, str]:
    """Run a verb as an ordinary user, in a child that changes its user when all modules are imported."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 99
        try:
            os.dup2(writing, 1)
            sys.stdout = os.fdopen(1, "w")
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            status = main(words)
            sys.stdout.flush()
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as said:
        text = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


@pytest.mark.parametrize("host", build.NAMES)
def test_an_ordinary_user_gets_the_same_plan_for_every_captured_host(
    host: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # pytest's own folders are closed to others.
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        for part in ("RUNTIME", "STATE", "CACHE"):
            monkeypatch.setenv(f"QLAUNCH_{part}_DIR", f"{name}/{part.lower()}")
        monkeypatch.setattr("sys.stderr", io.StringIO())
        (Path(name) / "gaming.toml").write_text(Path(GAMING).read_text())
        (Path(name) / "host").mkdir()
        folder = str(build.load(host).write(Path(name) / "host"))
        path, machine = f"{name}/host.tar.gz", f"{name}/gaming.toml"
        assert main(["capture", path, machine, "--host-root", folder]) == 0
        capsys.readouterr()
        for verb in (["plan", machine], ["check", machine], ["topology", machine], ["groups"]):
            words = [*verb, "--json", "--host-root", path]
            status = main(words)
            assert as_nobody(words) == (status, capsys.readouterr().out), verb
        # Nothing was written, but for what QEMU was found to be.
        assert sorted(os.listdir(name)) in (
            ["gaming.toml", "host", "host.tar.gz"],
            ["cache", "gaming.toml", "host", "host.tar.gz"],
        )


def test_a_capture_answers_for_a_machine_that_it_was_not_made_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = build.load("desktop-two-ccx")
    file = captured(files.tree(record=True), tmp_path / "c.tar.gz")
    machine = tmp_path / "later.toml"
    machine.write_text(
        '[cpu]\npin = "auto"\n[memory]\nsize = "1G"\nhugepages = "2M"\n[boot]\napp = "probe"\n'
        '[host]\ngovernor = "performance"\nshield = true\nirq = true\n[[pci]]\nhost = "0b:00"\n'
    )
    there, here = (
        said(capsys, "plan", str(machine), "--host-root", root) for root in (str(files.write(tmp_path / "t")), file)
    )
    assert here["steps"] == there["steps"]
    assert here["pins"] == there["pins"]
    codes = [[one["code"] for one in plan["problems"] if one["code"] != "captured-without"] for plan in (here, there)]
    assert codes[0] == codes[1]
    assert "governor" in {step["kind"] for step in here["steps"]}
