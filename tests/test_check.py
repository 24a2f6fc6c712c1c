"""`check`: three states for each question, planted faults and nothing else, and nothing is written."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from qlaunch.check import host_checks, told_once
from qlaunch.check.question import Question
from qlaunch.check.result import Check, failed, passed, unknown
from qlaunch.cli import main
from qlaunch.cli.check import checks_of, exit_status, picture
from qlaunch.errors import Problem
from qlaunch.host.bootloader import hugepages_at_boot
from qlaunch.host.facts import HostFacts
from qlaunch.host.tree import Tree
from tests.hosts import build
from tests.sites import machine

DESKTOP = "desktop-two-ccx"
GPU = {"host": "0b:00", "id": "1002:73bf"}
SINGLE: dict[str, Any] = {
    "pci": [GPU],
    "host": {
        "inhibit_sleep": True,
        "vtconsoles": "unbind",
        "services": {"stop": ["display-manager.service", "irqbalance.service"]},
    },
    "firmware": {"type": "bios"},
}
READY = {
    "/usr/bin/qemu-system-x86_64": "",
    "/etc/default/grub": "",
    "/proc/buddyinfo": "Node 0, zone Normal 0 0 0 0 0 0 0 0 0 0 4000",
    "/proc/self/limits": "Max locked memory unlimited unlimited bytes",
    "/usr/bin/swtpm": "",
}


def checks(tree: str = DESKTOP, files: dict[str, str | None] | None = None, **sections: Any) -> list[Check]:
    made = build.load(tree)
    made.texts |= READY
    for path, text in (files or {}).items():
        if text is None:
            made.texts.pop(path)
        else:
            made.texts[path] = text
    question = Question(HostFacts(made.tree()), machine(**{**SINGLE, **sections}))
    return [check for _, part in host_checks(question) for check in part]


def faults(found: list[Check]) -> set[str]:
    return {check.code for check in found if check.stops}


def test_a_ready_host_has_no_fault() -> None:
    assert faults(checks()) == set()


CPUINFO = "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu"
CASES: list[tuple[str, str, dict[str, str | None], dict[str, Any]]] = [
    ("virtualization", DESKTOP, {"/proc/cpuinfo": CPUINFO}, {}),
    ("kvm", DESKTOP, {"/dev/kvm": None}, {}),
    ("device-identity", DESKTOP, {}, {"pci": [{"host": "0b:00", "id": "10de:1b80"}]}),
    ("device-missing", DESKTOP, {}, {"pci": [{"host": "55:00"}]}),
    ("device-holder", DESKTOP, {"/proc/1200/comm": "sunshine"}, {}),
    ("framebuffer", DESKTOP, {}, {"host": {**SINGLE["host"], "vtconsoles": "keep"}}),
    ("sleep", DESKTOP, {}, {"host": {**SINGLE["host"], "inhibit_sleep": False}}),
    ("qemu", DESKTOP, {"/usr/bin/qemu-system-x86_64": None}, {}),
    ("swtpm", DESKTOP, {"/usr/bin/swtpm": None}, {"tpm": {"version": "2.0"}}),
    ("evdev", DESKTOP, {}, {"evdev": [{"path": "/dev/input/by-id/none-event-kbd"}]}),
    ("memory-free", DESKTOP, {}, {"memory": {"size": "20G"}}),
    (
        "conflicts",
        DESKTOP,
        {"/proc/9/comm": "irqbalance"},
        {"host": {**SINGLE["host"], "irq": True, "services": {"stop": ["display-manager.service"]}}},
    ),
    ("memlock", DESKTOP, {"/proc/self/limits": "Max locked memory 8388608 8388608 bytes"}, {}),
    ("device-own", DESKTOP, {}, {"pci": [{"host": "01:00"}]}),
]


@pytest.mark.parametrize(("code", "host", "files", "sections"), CASES, ids=[case[0] for case in CASES])
def test_a_planted_fault_is_named_and_nothing_else(
    code: str, host: str, files: dict[str, str | None], sections: dict[str, Any]
) -> None:
    found = checks(host, files, **sections)
    assert faults(found) == {code}
    assert all(check.hint for check in found if check.stops)


def test_several_planted_faults_are_all_named() -> None:
    found = checks(files={"/dev/kvm": None, "/proc/1200/comm": "obs"}, memory={"size": "20G"})
    assert faults(found) == {"kvm", "device-holder", "memory-free"}


def test_a_stranger_in_the_group_is_named() -> None:
    made = build.load(DESKTOP)
    made.texts |= READY
    for place, target in list(made.links.items()):
        if place.endswith("0000:07:00.0/iommu_group"):
            made.links[place] = target.rpartition("/")[0] + "/27"
    found = host_checks(Question(HostFacts(made.tree()), machine(**SINGLE)))
    (group,) = [check for _, part in found for check in part if check.code == "group" and check.stops]
    assert "07:00.0" in group.message
    assert "igb" in group.message


def test_no_iommu_names_the_words_and_the_place() -> None:
    made = build.load("no-iommu")
    made.texts["/etc/default/grub"] = ""
    found = [check for _, part in host_checks(Question(HostFacts(made.tree()))) for check in part]
    (iommu,) = [check for check in found if check.code == "iommu"]
    assert iommu.hint.startswith("add intel_iommu=on iommu=pt to GRUB_CMDLINE_LINUX_DEFAULT in /etc/default/grub")


def test_zfs_that_holds_the_memory_is_told() -> None:
    arc: dict[str, str | None] = {"/proc/spl/kstat/zfs/arcstats": f"size 4 {8 << 30}"}
    assert faults(checks(files=arc, memory={"size": "20G"})) == {"memory-free", "zfs-arc"}


@pytest.mark.parametrize("host", build.NAMES)
def test_every_host_is_checked_within_80_columns(host: str) -> None:
    facts = HostFacts(build.load(host).tree())
    parts = checks_of("machines/gaming.toml", [], facts)
    long = [line for line in picture(parts) if len(line) > 80]
    # A path or a line to be copied is never broken.
    assert all(len(word) > 40 for line in long for word in [max(line.split(), key=len)])
    assert picture(checks_of(None, [], facts))


def test_the_json_has_the_documented_shape_and_the_status_tells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build.load(DESKTOP).write(tmp_path)
    status = main(["check", "machines/gaming.toml", "--json", "--host-root", str(tmp_path)])
    shape = msgspec.json.decode(capsys.readouterr().out)
    keys = {"code", "status", "severity", "message", "hint"}
    assert all(set(check) == keys for check in shape["checks"])
    assert status == 1
    assert {check["status"] for check in shape["checks"]} == {"passed", "failed", "unknown"}


@pytest.mark.parametrize(
    ("checks", "status"),
    [
        ([passed("a", "m")], 0),
        ([passed("a", "m"), failed("b", "m", severity="info")], 0),
        ([passed("a", "m"), unknown("b", "m")], 2),
        ([unknown("a", "m"), failed("b", "m", severity="warning")], 1),
        ([], 0),
    ],
)
def test_the_three_states_have_a_status_each(checks: list[Check], status: int) -> None:
    assert exit_status(checks) == status


def test_a_wrong_machine_file_is_status_2(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[cpu]\nvcpuz = 2\n")
    assert main(["check", str(tmp_path / "bad.toml")]) == 2


OTHER = {"at": "0000:0c:00.0", "id": "10de:1b80", "class": "030000", "driver": "nouveau", "group": 33}


@pytest.mark.parametrize(("first", "second", "told"), [("", "b.rom", True), ("a.rom", "", False)])
def test_the_rom_of_one_card_says_nothing_of_another(first: str, second: str, *, told: bool) -> None:
    made = build.load(DESKTOP)
    other = build.expand({"pci": [OTHER]})
    made.texts |= {path: text for path, text in other.texts.items() if "0c:00" in path}
    made.links |= {path: text for path, text in other.links.items() if "0c:00" in path}
    made.texts |= READY
    cards = [GPU | ({"rom": first} if first else {}), {"host": "0c:00"} | ({"rom": second} if second else {})]
    found = host_checks(Question(HostFacts(made.tree()), machine(**{**SINGLE, "pci": cards})))
    assert ("rom" in {check.code for _, part in found for check in part}) is told


@pytest.mark.parametrize(
    ("files", "node", "kernel", "words"),
    [
        (["/etc/default/grub", "/usr/sbin/update-grub"], None, (6, 1), "hugepages=8 to GRUB_CMDLINE_LINUX_DEFAULT in"),
        (["/etc/default/grub"], 1, (6, 1), "hugepages=1:8 to GRUB_CMDLINE_LINUX_DEFAULT in"),
        (["/boot/loader/loader.conf"], 1, (5, 15), "hugepages=8 to the options line of /boot/loader/entries/*.conf"),
        (["/etc/kernel/cmdline"], 0, None, "hugepages=8 to /etc/kernel/cmdline, then run: kernel-install add-all"),
        ([], None, None, "hugepages=8 to the kernel command line of your boot loader"),
    ],
)
def test_the_words_for_pages_at_boot_are_those_of_the_boot_loader_and_the_kernel(
    files: list[str], node: int | None, kernel: tuple[int, int] | None, words: str
) -> None:
    tree = Tree.holding(dict.fromkeys(files, ""), {})
    assert hugepages_at_boot(tree, "1G:8", node, kernel).startswith(f"add hugepagesz=1G {words}")


SAID_TWICE = [
    ("no-device", "device-missing"),
    ("identity", "device-identity"),
    ("held", "device-holder"),
    ("own-disk", "device-own"),
    ("own-network", "device-own"),
    ("group", "group"),
    ("no-iommu", "iommu"),
    ("kvm-unusable", "kvm"),
    ("qemu-missing", "qemu"),
    ("firmware-missing", "firmware"),
]


@pytest.mark.parametrize(("problem", "check"), SAID_TWICE)
def test_what_the_host_says_with_names_the_plan_does_not_say_again(problem: str, check: str) -> None:
    problems = [Problem(code=problem, message="short"), Problem(code="disk-missing", message="gone")]
    kept, parts = told_once(problems, [("T", [failed(check, "long")])])
    assert [one.code for one in kept] == ["disk-missing"]
    assert [one.code for _, checks in parts for one in checks] == [check]
    # A check that passed looked at something else, and hides nothing.
    kept, _ = told_once(problems, [("T", [passed(check, "fine")])])
    assert [one.code for one in kept] == [problem, "disk-missing"]


def test_memory_and_programs_are_told_once() -> None:
    short = Problem(code="hugepages-short", message="few")
    kept, parts = told_once([Problem(code="no-memory", message="none"), short], [("M", [failed("memory-free", "m")])])
    assert (kept, parts) == ([short], [])
    absent = Problem(code="no-program", message="there is no program swtpm on this host")
    helpers = [failed("swtpm", "[tpm] needs swtpm"), failed("passt", "[network] needs passt")]
    kept, parts = told_once([absent], [("P", helpers)])
    assert (kept, [one.code for _, checks in parts for one in checks]) == ([absent], ["passt"])


def test_every_planted_fault_of_the_plan_is_in_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = build.load(DESKTOP)
    (tmp_path / "m.toml").write_text(
        '[memory]\nsize = "1G"\n[[disk]]\npath = "/none.qcow2"\n[host.sysctl]\n"vm.none" = "1"\n[[pci]]\nhost = "55:00"'
    )
    main(["check", str(tmp_path / "m.toml"), "--json", "--host-root", str(made.write(tmp_path / "tree"))])
    codes = [one["code"] for one in msgspec.json.decode(capsys.readouterr().out)["checks"] if one["status"] == "failed"]
    assert {"disk-missing", "no-file", "device-missing"} <= set(codes)
    assert "no-device" not in codes


def test_a_changed_key_without_a_machine_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--set", "cpu.pin=0"]) == 2
    assert "--set changes a machine" in capsys.readouterr().err
