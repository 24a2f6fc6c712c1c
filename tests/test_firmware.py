"""Which firmware is taken: the rules of QEMU's descriptors, in trees of our own, and once on this host."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from qlaunch.errors import HostError
from qlaunch.host.firmware import FirmwarePair, find_firmware
from qlaunch.host.tree import Tree as HostTree

SYSTEM, ADMIN, USER = "usr/share/qemu/firmware", "etc/qemu/firmware", "home/u/.config/qemu/firmware"
HOME = {"HOME": "/home/u"}
Q35 = "pc-q35-10.0"


class Tree:
    """A root folder with descriptors and the files that they name."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def file(self, path: str) -> str:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
        return path

    def describe(self, place: str, name: str, **changes: Any) -> None:
        """Write a descriptor of plain UEFI for all machines; ``name`` names its files too."""
        mapping = {
            "device": "flash",
            "mode": "split",
            "executable": {"filename": self.file(f"/fw/{name}-code.fd"), "format": "raw"},
            "nvram-template": {"filename": self.file(f"/fw/{name}-vars.fd"), "format": "raw"},
        }
        descriptor: dict[str, Any] = {
            "description": name,
            "interface-types": ["uefi"],
            "mapping": mapping | changes.pop("mapping", {}),
            "targets": [{"architecture": "x86_64", "machines": ["pc-i440fx-*", "pc-q35-*"]}],
            "features": ["acpi-s3", "verbose-dynamic"],
            "tags": [],
        }
        self.write(place, name, msgspec.json.encode(descriptor | changes))

    def write(self, place: str, name: str, content: bytes) -> None:
        (self.root / place).mkdir(parents=True, exist_ok=True)
        (self.root / place / f"{name}.json").write_bytes(content)

    def find(self, machine: str = Q35, *, secure_boot: bool = False) -> FirmwarePair:
        return find_firmware(machine, secure_boot=secure_boot, tree=HostTree(str(self.root)), environ=HOME)

    def code(self, machine: str = Q35, *, secure_boot: bool = False) -> str:
        return Path(self.find(machine, secure_boot=secure_boot).code).name.removesuffix("-code.fd")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_a_pair_comes_from_one_descriptor_with_its_formats(tree: Tree) -> None:
    tree.describe(SYSTEM, "50-a")
    tree.describe(SYSTEM, "40-q", mapping={"executable": {"filename": tree.file("/fw/q.qcow2"), "format": "qcow2"}})
    assert tree.find() == FirmwarePair(
        code="/fw/q.qcow2",
        vars_template="/fw/40-q-vars.fd",
        code_format="qcow2",
        descriptor=f"/{SYSTEM}/40-q.json",
    )


def test_the_first_by_file_name_is_taken_over_all_folders(tree: Tree) -> None:
    for place, name in ((SYSTEM, "50-system"), (ADMIN, "60-admin"), (USER, "40-user")):
        tree.describe(place, name)
    assert tree.code() == "40-user"


def test_the_same_name_in_a_later_folder_replaces(tree: Tree) -> None:
    tree.describe(SYSTEM, "50-x")
    tree.describe(ADMIN, "50-x", mapping={"executable": {"filename": tree.file("/fw/admin-code.fd")}})
    assert tree.code() == "admin"
    tree.describe(USER, "50-x", mapping={"executable": {"filename": tree.file("/fw/user-code.fd")}})
    assert tree.code() == "user"


def test_an_empty_file_or_a_link_to_dev_null_hides(tree: Tree) -> None:
    for name in ("10-a", "20-b", "30-c"):
        tree.describe(SYSTEM, name)
    tree.write(ADMIN, "10-a", b"")
    (tree.root / ADMIN / "20-b.json").symlink_to("/dev/null")
    assert tree.code() == "30-c"
    (tree.root / SYSTEM / "30-c.json").unlink()
    with pytest.raises(HostError) as caught:
        tree.find()
    assert "damaged" not in caught.value.message


def test_xdg_config_home_is_where_the_users_are(tree: Tree) -> None:
    tree.describe("elsewhere/qemu/firmware", "50-x")
    environ = {"HOME": "/home/u", "XDG_CONFIG_HOME": "/elsewhere"}
    assert (
        find_firmware(Q35, secure_boot=False, tree=HostTree(str(tree.root)), environ=environ).code == "/fw/50-x-code.fd"
    )


def test_the_versioned_type_is_matched(tree: Tree) -> None:
    tree.describe(SYSTEM, "10-pc", targets=[{"architecture": "x86_64", "machines": ["pc-i440fx-*"]}])
    tree.describe(SYSTEM, "20-arm", targets=[{"architecture": "aarch64", "machines": ["*"]}])
    tree.describe(SYSTEM, "30-q35", targets=[{"architecture": "x86_64", "machines": ["pc-q35-*"]}])
    assert tree.code("pc-q35-7.2") == "30-q35"
    assert tree.code("pc-i440fx-7.2") == "10-pc"


SECURE = ["secure-boot", "enrolled-keys", "requires-smm"]


def test_secure_boot_wants_enrolled_keys_and_tells_of_smm(tree: Tree) -> None:
    tree.describe(SYSTEM, "10-no-keys", features=["secure-boot", "requires-smm"])
    tree.describe(SYSTEM, "20-secure", features=SECURE)
    tree.describe(SYSTEM, "30-plain")
    assert tree.code(secure_boot=True) == "20-secure"
    assert tree.find(secure_boot=True).needs_smm
    assert tree.code() == "30-plain"
    assert not tree.find().needs_smm


@pytest.mark.parametrize("feature", [*SECURE, "amd-sev-snp", "intel-tdx"])
def test_plain_firmware_has_none_of(tree: Tree, feature: str) -> None:
    tree.describe(SYSTEM, "10-special", features=[feature])
    tree.describe(SYSTEM, "20-plain", features=["amd-sev", "amd-sev-es"])
    assert tree.code() == "20-plain"


@pytest.mark.parametrize(
    "changes",
    [
        {"interface-types": ["bios"]},
        {"mapping": {"device": "memory", "filename": "/fw/x"}},
        {"mapping": {"mode": "combined"}},
        {"mapping": {"mode": "stateless"}},
        {"mapping": {"nvram-template": None}},
    ],
    ids=["bios", "memory", "combined", "stateless", "no-vars"],
)
def test_what_is_no_pair_in_flash_is_passed_over(tree: Tree, changes: dict[str, Any]) -> None:
    tree.describe(SYSTEM, "10-other", **changes)
    tree.describe(SYSTEM, "20-plain")
    assert tree.code() == "20-plain"


def test_a_mode_that_is_not_named_is_split(tree: Tree) -> None:
    tree.describe(SYSTEM, "10-x")
    path = tree.root / SYSTEM / "10-x.json"
    path.write_text(path.read_text().replace('"mode":"split",', ""))
    assert tree.code() == "10-x"


def test_a_descriptor_whose_files_are_gone_gives_way_to_the_next(tree: Tree) -> None:
    tree.describe(SYSTEM, "10-gone")
    tree.describe(SYSTEM, "20-plain")
    (tree.root / "fw/10-gone-vars.fd").unlink()
    assert tree.code() == "20-plain"
    (tree.root / "fw/20-plain-code.fd").unlink()
    with pytest.raises(HostError, match="described but absent: /fw/10-gone-vars.fd, /fw/20-plain-code.fd"):
        tree.find()


def test_damaged_descriptors_are_passed_over_and_named_when_nothing_fits(tree: Tree) -> None:
    tree.write(SYSTEM, "10-cut", b'{"mapping": ')
    tree.write(SYSTEM, "11-bytes", b'{"mapping": "\xff"}')
    (tree.root / SYSTEM / "12-folder.json").mkdir()
    (tree.root / SYSTEM / "13-dangling.json").symlink_to("nowhere")
    with pytest.raises(HostError) as caught:
        tree.find()
    for name in ("10-cut", "11-bytes", "12-folder", "13-dangling"):
        assert f"/{SYSTEM}/{name}.json" in caught.value.message
    tree.describe(SYSTEM, "20-plain")
    assert tree.code() == "20-plain"


def test_without_any_descriptor_the_known_places_are_tried(tree: Tree) -> None:
    tree.file("/usr/share/edk2/x64/OVMF_CODE.4m.fd")
    with pytest.raises(HostError):
        tree.find()
    tree.file("/usr/share/edk2/x64/OVMF_VARS.4m.fd")
    assert tree.find().vars_template == "/usr/share/edk2/x64/OVMF_VARS.4m.fd"
    with pytest.raises(HostError):
        tree.find(secure_boot=True)
    tree.describe(SYSTEM, "10-bios", **{"interface-types": ["bios"]})
    with pytest.raises(HostError):
        tree.find()


def test_nothing_found_names_the_folders_and_the_packages(tree: Tree) -> None:
    with pytest.raises(HostError, match="no UEFI firmware with secure boot for pc-q35-10.0") as caught:
        tree.find(secure_boot=True)
    assert all(place in caught.value.message for place in (SYSTEM, ADMIN, USER))
    assert "ovmf (Debian, Ubuntu), edk2-ovmf (Fedora, Arch)" in caught.value.hint


def test_this_host_has_both_kinds_and_they_exist() -> None:
    plain = find_firmware("pc-q35-7.2", secure_boot=False, environ=HOME)
    secure = find_firmware("pc-q35-7.2", secure_boot=True, environ=HOME)
    assert plain.code != secure.code
    assert secure.needs_smm
    for pair in (plain, secure):
        assert Path(pair.code).is_file()
        assert Path(pair.vars_template).is_file()
