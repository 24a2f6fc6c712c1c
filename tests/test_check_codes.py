"""Every code of the audit and of `check` has a case that raises it and one that does not."""

import ast
from pathlib import Path
from typing import Any

import pytest

from qlaunch.audit import audit
from qlaunch.check import host_checks
from qlaunch.check.question import Question
from qlaunch.check.result import Check
from qlaunch.host.facts import HostFacts
from qlaunch.host.tree import Tree
from tests.hosts import build
from tests.sites import machine
from tests.test_audit import CASES as AUDIT_CASES, GOOD
from tests.test_check import CASES as CHECK_CASES, DESKTOP, GPU, READY, SINGLE, checks

SOURCE = Path(__file__).parent.parent / "qlaunch"
MSRS = "/sys/module/kvm/parameters/ignore_msrs"
HOST = SINGLE["host"]
CARD = "/sys/devices/pci0000:00/0000:00:03.1/0000:0b:00.0"
MODULES = "/lib/modules/6.1.0-18-amd64"
UNIT = "/etc/systemd/system/display-manager.service"
KEYBOARD = "/dev/input/by-id/usb-Holtek_USB_Keyboard-event-kbd"
WINDOWS: dict[str, Any] = {"clock": {"base": "localtime"}, "cpu": {"hyperv": {"preset": "gaming"}}}
Files = dict[str, str | None]
Case = tuple[Files, dict[str, Any]]

# Codes that tests of their own raise in tests/test_check.py, with a ready host beside them.
ELSEWHERE = {"group", "iommu", "zfs-arc"}
# Codes that the tests below raise one by one.
BELOW = {"display-manager", "sound", "firmware"}
# Where the code is no literal at the call: the file, and what it can be.
COMPUTED = {
    "audit/roles.py": {"emulator-core", "iothread-core"},
    "check/__init__.py": set(),  # the codes of the audit
    "check/firmware.py": {"swtpm", "virtiofsd", "passt", "dnsmasq"},
}

OWN_BRIDGE = {"type": "bridge", "bridge": "qlbr0", "create": True, "subnet": "192.168.77.1/24", "dhcp": True}
# code: what raises it, and the same put right
PAIRS_OF_CASES: dict[str, tuple[Case, Case]] = {
    "kvm-msrs": (
        ({MSRS: "N"}, WINDOWS),
        ({MSRS: "N"}, {**WINDOWS, "host": {**HOST, "sysfs": {MSRS: "Y"}}}),
    ),
    "vfio-pci": (
        ({"/proc/modules": "", f"{MODULES}/modules.dep": "kernel/net/igb.ko:"}, {}),
        ({"/proc/modules": "", f"{MODULES}/modules.dep": "kernel/drivers/vfio/pci/vfio-pci.ko:"}, {}),
    ),
    "device-reset": (({f"{CARD}/reset": None, f"{CARD}/reset_method": None}, {}), ({}, {})),
    "device-power": (({f"{CARD}/power_state": "D3cold"}, {}), ({f"{CARD}/power_state": "D0"}, {})),
    "rom": (({}, {}), ({}, {"pci": [{**GPU, "rom": "/srv/card.rom"}]})),
    "virtiofsd": (
        ({"/usr/libexec/virtiofsd": None}, {"share": [{"path": "/srv", "tag": "srv"}]}),
        ({"/usr/libexec/virtiofsd": ""}, {"share": [{"path": "/srv", "tag": "srv"}]}),
    ),
    "passt": (
        ({}, {"network": [{"type": "passt"}]}),
        ({"/usr/bin/passt": ""}, {"network": [{"type": "passt"}]}),
    ),
    "dnsmasq": (
        ({}, {"network": [OWN_BRIDGE]}),
        ({"/usr/sbin/dnsmasq": ""}, {"network": [OWN_BRIDGE]}),
    ),
    "memory-fragmented": (
        (
            {"/proc/buddyinfo": "Node 0, zone Normal 9 9 9 9 9 9 9 9 9 1 1"},
            {"memory": {"size": "8G", "hugepages": "2M"}},
        ),
        ({}, {"memory": {"size": "8G", "hugepages": "2M"}}),
    ),
    "libvirt": (({"/run/libvirt/qemu/win10.xml": ""}, {}), ({}, {})),
}


def failed(found: list[Check]) -> set[str]:
    return {check.code for check in found if check.status == "failed"}


def codes_in(path: Path, maker: str) -> tuple[set[str], bool]:
    """The codes that a file gives to one function, and whether it also computes some."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    first = [call.args[0] for call in calls if isinstance(call.func, ast.Name) and call.func.id == maker]
    literal = {str(arg.value) for arg in first if isinstance(arg, ast.Constant)}
    return literal, any(not isinstance(arg, ast.Constant) for arg in first)


def codes_of(folder: str, maker: str) -> set[str]:
    found: set[str] = set()
    for path in sorted((SOURCE / folder).glob("*.py")):
        literal, computes = codes_in(path, maker)
        name = f"{folder}/{path.name}"
        assert not computes or name in COMPUTED, f"{name} computes codes: name them in COMPUTED"
        found |= literal | (COMPUTED[name] if computes else set())
    return found


def test_every_code_of_the_audit_has_a_case() -> None:
    assert codes_of("audit", "finding") == {code for code, *_ in AUDIT_CASES} | {"pin-isolated"}


def test_every_code_of_check_has_a_case() -> None:
    covered = {code for code, *_ in CHECK_CASES} | set(PAIRS_OF_CASES) | ELSEWHERE | BELOW
    assert codes_of("check", "failed") == covered


@pytest.mark.parametrize("code", PAIRS_OF_CASES)
def test_a_fault_of_the_host_is_told_until_it_is_put_right(code: str) -> None:
    (bad_files, bad), (good_files, good) = PAIRS_OF_CASES[code]
    found = checks(DESKTOP, bad_files, **bad)
    assert code in failed(found)
    assert all(check.hint for check in found if check.code == code and check.status == "failed")
    assert code not in failed(checks(DESKTOP, good_files, **good))


@pytest.mark.parametrize(
    ("isolated", "raises"), [("1-3,5-7,9-11,13-15", False), ("1,3,9,11", False), ("0-3,8-11", True)]
)
def test_isolated_cpus_that_would_hold_the_guest_are_told(isolated: str, *, raises: bool) -> None:
    made = build.load(DESKTOP)
    made.texts["/sys/devices/system/cpu/isolated"] = isolated
    pins = GOOD["pin"] if raises else "5,13,6,14,7,15,1,9"
    found = {one.code: one for one in audit(machine(cpu={**GOOD, "pin": pins}), HostFacts(made.tree()))}
    assert ("pin-isolated" in found) is raises
    if raises:
        assert "isolcpus" in found["pin-isolated"].message
        assert found["pin-isolated"].hint.startswith("write pin = ")


@pytest.mark.parametrize(
    ("stop", "status"), [([], "failed"), (["gdm.service"], "passed"), (["display-manager.service"], "passed")]
)
def test_the_display_manager_of_a_lit_card_is_to_be_stopped(stop: list[str], status: str) -> None:
    made = build.load(DESKTOP)
    made.texts |= READY
    made.links[UNIT] = "/usr/lib/systemd/system/gdm.service"
    question = Question(HostFacts(made.tree()), machine(**{**SINGLE, "host": {**HOST, "services": {"stop": stop}}}))
    (told,) = [one for _, part in host_checks(question) for one in part if one.code == "display-manager"]
    assert told.status == status
    assert "gdm.service" in told.message
    assert status == "passed" or "DP-1" in told.message


@pytest.mark.parametrize("there", [True, False])
def test_the_firmware_pair_is_looked_for_on_the_host_that_is_asked_about(tmp_path: Path, *, there: bool) -> None:
    made = build.load(DESKTOP)
    made.texts |= READY
    made.write(tmp_path)
    if there:
        folder = tmp_path / "usr/share/OVMF"
        folder.mkdir(parents=True)
        for name in ("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"):
            (folder / name).touch()
    question = Question(HostFacts(Tree(str(tmp_path))), machine(**{**SINGLE, "firmware": {"type": "uefi"}}))
    (told,) = [one for _, part in host_checks(question) for one in part if one.code == "firmware"]
    assert told.status == ("passed" if there else "failed")


@pytest.mark.parametrize(("answer", "status"), [(False, "failed"), (True, "passed"), (None, "unknown")])
def test_an_input_device_that_the_user_may_not_open_is_told(
    *, answer: bool | None, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qlaunch.check.user.may_open", lambda *_: answer)
    found = checks(evdev=[{"path": KEYBOARD}], host={**HOST, "user": "games"})
    (told,) = [one for one in found if one.code == "evdev"]
    assert told.status == status
    assert answer is not False or ("games may not open" in told.message and "usermod -aG input games" in told.hint)


@pytest.mark.parametrize(("answer", "status"), [(False, "failed"), (True, "passed")])
def test_a_dev_kvm_that_the_user_may_not_open_is_told(
    *, answer: bool, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qlaunch.check.cpu.may_open", lambda *_: answer)
    (told,) = [one for one in checks(host={**HOST, "user": "games"}) if one.code == "kvm"]
    assert told.status == status
    assert answer or ("games may not open" in told.message and "usermod -aG kvm games" in told.hint)


@pytest.mark.parametrize(
    ("uid", "socket", "status"),
    [(1000, None, "failed"), (1000, "pipewire-0", "passed"), (1000, "pulse/native", "failed"), (None, None, "unknown")],
)
def test_a_sound_server_that_does_not_listen_is_told(
    uid: int | None, socket: str | None, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qlaunch.check.user._uid", lambda _: uid)
    files: Files = {f"/run/user/1000/{socket}": ""} if socket else {}
    (told,) = [one for one in checks(files=files, audio={"backend": "pipewire"}) if one.code == "sound"]
    assert told.status == status
