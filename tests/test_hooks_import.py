"""Hook scripts of libvirt become keys and hooks, and every line of theirs is told. Trees: tests/import/hooks."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from qlaunch.errors import UsageError
from qlaunch.libvirt.hooks import Hooks, read
from qlaunch.libvirt.hooks_folder import MOST_BYTES, MOST_FILES, read_folder
from qlaunch.libvirt.hooks_grammar import parse
from qlaunch.libvirt.hooks_tokens import UnreadableError
from qlaunch.machine.model import Machine
from tests.conftest import Golden

TREES = Path(__file__).parent / "import" / "hooks"
CASES = sorted(path for path in TREES.iterdir() if path.is_dir())


def read_case(case: Path) -> Hooks:
    texts, findings = read_folder(str(case))
    assert not findings
    name = "win11" if (case / "qemu.d" / "win11").exists() else "win10"
    return read(texts, name, "/etc/libvirt/hooks")


def start(script: str, name: str | None = None) -> Hooks:
    return read({"qemu.d/vm/prepare/begin/a.sh": script}, name)


def both(begin: str, end: str) -> Hooks:
    return read({"qemu.d/vm/prepare/begin/a.sh": begin, "qemu.d/vm/release/end/b.sh": end})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_tree_becomes_the_recorded_keys_hooks_and_findings(case: Path, golden: Golden) -> None:
    made = read_case(case)
    told = [f"{problem.where}: {problem.code}: {problem.message}" for problem in made.findings]
    shown = msgspec.json.encode({"keys": made.keys, "hooks": made.hooks, "findings": told})
    golden.compare(TREES / f"{case.name}.json", msgspec.json.format(shown, indent=2).decode() + "\n")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_a_tree_becomes_is_a_machine(case: Path) -> None:
    made = read_case(case)
    tables: dict[str, Any] = {**made.keys, "hook": made.hooks}
    tables["memory"] = {"size": "16G", **tables.get("memory", {})}
    msgspec.convert(tables, Machine, dec_hook=lambda kind, text: kind.parse(text))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_line_that_is_kept_is_a_shell_script_of_its_own(case: Path) -> None:
    for hook in read_case(case).hooks:
        for shell, flag, text, *_ in (hook[key] for key in ("start", "stop") if key in hook):
            if flag == "-c" and shutil.which(shell):
                assert subprocess.run([shell, "-n", "-c", text], check=False).returncode == 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_finding_names_a_line_that_is_there(case: Path) -> None:
    for problem in read_case(case).findings:
        path, _, line = problem.where.rpartition(":")
        assert 1 <= int(line) <= len((case / path).read_text().splitlines()), problem


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        ("systemctl stop sddm", {"host": {"services": {"stop": ["sddm.service"]}}}),
        ("service lightdm stop", {"host": {"services": {"stop": ["lightdm.service"]}}}),
        ("systemctl stop irqbalance.service", {"host": {"irq": True}}),
        ("modprobe -r a b-c", {"host": {"modules": {"unload": ["a", "b_c"]}}}),
        ("rmmod nvidia", {"host": {"modules": {"unload": ["nvidia"]}}}),
        ("modprobe -i vfio_pci", {}),
        ("M='a b'; for m in $M; do modprobe -r $m; done", {"host": {"modules": {"unload": ["a", "b"]}}}),
        ("echo 0 | tee /sys/class/vtconsole/vtcon*/bind >/dev/null", {"host": {"vtconsoles": "unbind"}}),
        ("for i in {0..15}; do echo performance > /sys/devices/system/cpu/cpu$i/cpufreq/scaling_governor; done",
         {"host": {"governor": "performance"}}),
        ("for c in $(seq 0 15); do echo performance > /sys/devices/system/cpu/cpu${c}/cpufreq/scaling_governor; done",
         {"host": {"governor": "performance"}}),
        ("cpupower frequency-set -g performance", {"host": {"governor": "performance"}}),
        ("echo 8192 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", {"memory": {"hugepages": "2M"}}),
        ("echo 16 > /sys/devices/system/node/node0/hugepages/hugepages-1048576kB/nr_hugepages",
         {"memory": {"hugepages": "1G"}}),
        ("sysctl -w vm.nr_hugepages=8192", {"memory": {"hugepages": "2M"}}),
        ("sysctl vm.swappiness=1", {"host": {"sysctl": {"vm.swappiness": "1"}}}),
        ("echo 1 > /sys/module/kvm/parameters/ignore_msrs",
         {"host": {"sysfs": {"/sys/module/kvm/parameters/ignore_msrs": "1"}}}),
        ("virsh nodedev-detach pci_0000_0b_00_0", {"pci": [{"host": "0000:0b:00", "functions": [0]}]}),
        ("echo fe > /proc/irq/default_smp_affinity", {"host": {"irq": True}}),
        ("ip link set dev eth0 vf 2 vlan 7 qos 1 mac 52:54:00:00:00:01",
         {"network": [{"type": "vf", "pf": "eth0", "vf": 2, "vlan": 7, "vlan_qos": 1, "mac": "52:54:00:00:00:01"}]}),
        ("sleep 5", {}),
        ('[ "$2" = prepare ] && systemctl stop sddm', {"host": {"services": {"stop": ["sddm.service"]}}}),
        ('[ -z "$2" ] && rmmod snd; [ -n "$2" ] && rmmod tpm', {"host": {"modules": {"unload": ["tpm"]}}}),
        ('[ "$2" = release ] && systemctl stop sddm', {}),
        ("M=(a 'b'\n  c)\nfor m in \"${M[@]}\"; do rmmod $m; done", {"host": {"modules": {"unload": ["a", "b", "c"]}}}),
        ("declare -a U=(sddm gdm)\nsystemctl stop ${U[@]}",
         {"host": {"services": {"stop": ["sddm.service", "gdm.service"]}}}),
        (("P=/proc/sys/vm/nr_hugepages; while (( $(cat $P) != 8 && T < 9 )); do\necho 1 > /proc/sys/vm/compact_memory\n"
         "echo 8 > $P; let T+=1; done"), {"memory": {"hugepages": "2M"}}),
        ('[[ $2 == "prepare" && $3 != end ]] && rmmod snd', {"host": {"modules": {"unload": ["snd"]}}}),
    ],
)  # fmt: skip
def test_a_well_known_line_becomes_a_key(line: str, keys: dict[str, Any]) -> None:
    made = start(line)
    assert made.keys == keys
    assert made.hooks == []


@pytest.mark.parametrize(
    "line",
    [
        "killall steam",
        "systemctl isolate multi-user.target",
        "systemctl stop $UNIT",
        "systemctl --user stop pipewire",
        "modprobe nvidia NVreg_OpenRmEnableUnsupportedGpus=1",
        "modprobe -r $(lsmod | tail -n 1)",
        "echo 1 > /proc/sys/vm/compact_memory",
        "echo 1 > /sys/bus/pci/devices/0000:0b:00.0/remove",
        "echo $(date) > /sys/module/kvm/parameters/ignore_msrs",
        "echo hello > /etc/motd",
        "echo 1234 > /sys/class/mdev_bus/0000:00:02.0/mdev_supported_types/a/create",
        "printf x | nc host 80",
        "while true; do killall steam; done",
        "if [ -e /a ]; then systemctl stop sddm; killall steam; fi",
    ],
)
def test_a_line_that_is_not_understood_is_kept_whole_as_a_hook(line: str) -> None:
    made = start(f"#!/bin/sh\nrmmod snd\n{line}\n")
    assert made.keys == {"host": {"modules": {"unload": ["snd"]}}}
    assert made.hooks == [{"start": ["sh", "-c", line]}]
    assert [problem.where for problem in made.findings if problem.code == "hook-kept"] == [
        "qemu.d/vm/prepare/begin/a.sh:3"
    ]


def test_a_script_of_which_nothing_is_understood_runs_where_it_is() -> None:
    made = read({"qemu.d/vm/prepare/begin/a.sh": "xrandr --off\nkillall steam\n"}, folder="/etc/libvirt/hooks/")
    assert made.hooks == [{"start": ["/etc/libvirt/hooks/qemu.d/vm/prepare/begin/a.sh", "vm", "prepare", "begin", "-"]}]


def test_a_script_that_sleeps_has_the_time_for_it() -> None:
    made = start("rmmod snd\nkillall steam\nwhile pgrep steam; do sleep 1; killall steam; done\n")
    assert [hook.get("timeout_s") for hook in made.hooks] == [None, 60]


def test_a_script_that_cannot_be_read_runs_where_it_is_and_is_told() -> None:
    made = start("cat <<EOF\nsystemctl stop sddm\nEOF\n")
    assert made.keys == {}
    assert made.hooks[0]["start"][0] == "qemu.d/vm/prepare/begin/a.sh"
    assert "here-document" in " ".join(problem.message for problem in made.findings)


def test_what_the_end_gives_back_needs_no_key_and_no_hook() -> None:
    made = both("systemctl stop sddm\nmodprobe -r nvidia", "modprobe nvidia\nsystemctl start sddm")
    assert made.hooks == []
    assert made.keys["host"] == {"services": {"stop": ["sddm.service"]}, "modules": {"unload": ["nvidia"]}}


def test_what_the_end_does_and_the_start_did_not_undo_is_kept() -> None:
    made = both("systemctl stop sddm", "systemctl start sddm\nsystemctl start apache2\nmodprobe drm")
    assert made.hooks == [
        {"stop": ["sh", "-c", "systemctl start apache2"]},
        {"stop": ["sh", "-c", "modprobe drm"]},
    ]


def test_a_line_in_a_loop_is_kept_with_its_loop() -> None:
    loop = "for f in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do echo ondemand > $f; done"
    made = both("modprobe -r snd", f"modprobe snd\n{loop}")
    assert made.hooks == [{"stop": ["sh", "-c", loop]}]


def test_a_line_in_a_function_is_kept_with_its_arguments_and_functions() -> None:
    made = start("a() { killall $1; }\nb() { if [ -e /x ]; then a $1; fi; }\nrmmod snd\nb 'two words'\n")
    assert made.hooks == [
        {"start": ["sh", "-c", "set -- 'two words' prepare begin -; a() { killall $1; }\nif [ -e /x ]; then a $1; fi"]}
    ]


def test_a_kept_line_takes_its_variables_along_quoted() -> None:
    made = start("rmmod snd\nWHAT='a; b'\nkillall $WHAT ${WHAT}\n")
    assert made.hooks == [{"start": ["sh", "-c", "WHAT='a; b'; killall $WHAT ${WHAT}"]}]


def test_a_kept_line_asks_the_same_command_how_it_ended() -> None:
    made = start("lsmod | grep -q nvidia\nGONE=$?\nrmmod snd\nif [ $GONE -ne 1 ]; then killall $GONE; fi\n")
    asks = "GONE=$({ lsmod | grep -q nvidia; } > /dev/null 2>&1; echo $?); "
    assert made.hooks == [{"start": ["sh", "-c", f"{asks}if [ $GONE -ne 1 ]; then killall $GONE; fi"]}]
    made = start("grep -q nvidia /proc/modules\nif [ $? -eq 0 ]; then killall x; fi\nrmmod snd\n")
    text = "grep -q nvidia /proc/modules\nif [ $? -eq 0 ]; then killall x; fi"
    assert made.hooks == [{"start": ["sh", "-c", text]}]


def test_a_kept_line_takes_its_arrays_along() -> None:
    made = start("rmmod snd\nWHO=(a 'b c')\nkillall \"${WHO[@]}\"\n")
    assert made.hooks == [{"start": ["sh", "-c", "WHO=(a 'b c'); killall \"${WHO[@]}\""]}]


def test_a_file_of_which_there_is_nothing_to_tell_is_told() -> None:
    made = read(
        {
            "qemu.d/vm/prepare/begin/a.sh": "source /etc/libvirt/hooks/kvm.conf\nrmmod $MODULE\n",
            "qemu.d/vm/start/begin/only.sh": "A=1\nfunction f { killall steam; }\n",
            "qemu.d/vm/helper.py": "print()",
            "network.d/vm/prepare/begin/a.sh": "killall steam",
            "kvm.conf": "MODULE=snd\n",
        },
        "vm",
    )
    assert made.keys == {"host": {"modules": {"unload": ["snd"]}}}
    assert made.hooks == []
    assert {problem.where: problem.code for problem in made.findings} == {
        "network.d/vm/prepare/begin/a.sh:1": "hook-other",
        "qemu.d/vm/helper.py:1": "hook-other",
        "qemu.d/vm/prepare/begin/a.sh:2": "hook-key",
        "qemu.d/vm/start/begin/only.sh:1": "hook-needless",
    }


def test_scripts_of_other_domains_are_told_and_left_out() -> None:
    made = start("systemctl stop sddm", "another")
    assert made.keys == {}
    assert made.hooks == []
    assert "of the domain vm" in made.findings[0].message


def test_a_line_with_a_value_of_the_computer_takes_the_way_to_it_along() -> None:
    made = start("rmmod snd\nA=x\nB=$(hostname)-$A\nf() { if [ -e /x ]; then killall $B; return; fi; }\nf\n")
    text = 'A=x; B=$(hostname)-$A; kept() {\nif [ -e /x ]; then killall $B; return; fi\n}\nkept "$@"'
    assert made.hooks == [{"start": ["sh", "-c", text]}]


def test_nothing_after_an_exit_that_is_reached_counts() -> None:
    guard = '[ "$1" = win10 ] || exit 0\n'
    assert read({"qemu": guard + "systemctl stop sddm"}, "debian").keys == {}
    assert read({"qemu": guard + '[ "$2" = prepare ] && systemctl stop sddm'}, "win10").keys != {}
    assert start("if [ -e /x ]; then exit; fi\nsystemctl stop sddm").keys != {}


def test_two_governors_are_told() -> None:
    made = start("cpupower frequency-set -g performance\ncpupower frequency-set -g schedutil")
    assert made.keys == {"host": {"governor": "performance"}}
    assert any(problem.code == "hook-clash" for problem in made.findings)


def test_a_link_out_of_the_folder_is_told_and_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("systemctl stop sddm")
    tree = tmp_path / "hooks" / "qemu.d" / "vm" / "prepare" / "begin"
    tree.mkdir(parents=True)
    (tree / "out.sh").symlink_to(tmp_path / "secret")
    (tree / "in.sh").write_text("true")
    (tree / "linked").symlink_to(tmp_path)
    texts, findings = read_folder(str(tmp_path / "hooks"))
    assert list(texts) == ["qemu.d/vm/prepare/begin/in.sh"]
    assert sorted(problem.where.rpartition("/")[2] for problem in findings) == ["linked", "out.sh"]


def test_a_folder_is_read_within_bounds(tmp_path: Path) -> None:
    (tmp_path / "long.sh").write_bytes(b"#" * (MOST_BYTES + 1))
    (tmp_path / "binary").write_bytes(b"\x7fELF\0")
    texts, findings = read_folder(str(tmp_path))
    assert not texts
    assert len(findings) == 2
    for number in range(MOST_FILES + 1):
        (tmp_path / f"{number}.sh").write_text("true")
    with pytest.raises(UsageError, match="more than"):
        read_folder(str(tmp_path))
    with pytest.raises(UsageError, match="no such folder"):
        read_folder(str(tmp_path / "none"))


@given(st.text(alphabet="echo if then fi{}()$'\"`\\;&|<>#\n*[]=0/a", max_size=60))
def test_any_text_is_read_or_refused_and_never_breaks(script: str) -> None:
    made = start(script)
    for hook in made.hooks:
        assert hook["start"]
    try:
        parse(script)
    except UnreadableError:
        assert made.hooks


def test_deep_and_long_scripts_end(tmp_path: Path) -> None:
    del tmp_path
    start("if a; then " * 500 + "fi; " * 500)
    start("f() { f; f; }\nf\n")
    start("{ " * 5000)
    start("a && " * 2000 + "b")
