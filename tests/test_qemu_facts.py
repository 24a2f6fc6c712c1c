"""What QEMU says of itself, from real QEMUs and from programs that only pretend; and the cache that keeps it."""

import os
import select
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from qlaunch.errors import HostError, QemuError
from qlaunch.host.cache import keep, program_key, recall, remember
from qlaunch.host.interview import interview
from qlaunch.host.qemu import FLOOR, find_qemu, read_qemu_facts, read_qmp_schema
from tests.live import PATIENCE_S, QEMU

Script = Callable[[str], str]
DRIVERS = ("virtio-blk-pci", "pcie-root-port", "no-such-device")
GREETING = '{"QMP": {"version": {}, "capabilities": []}}'


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Write a shell script that is to pass for QEMU; give its path."""

    def write(body: str) -> str:
        path = tmp_path / "qemu-system-x86_64"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return str(path)

    return write


def wrapper(path: Path, counter: Path) -> str:
    """Make a QEMU that notes each of its starts with a dot."""
    path.write_text(f'#!/bin/sh\nprintf . >>"{counter}"\nexec {shutil.which(QEMU)} "$@"\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.qemu
def test_a_real_qemu_tells_its_version_machines_devices_and_options() -> None:
    facts = read_qemu_facts(QEMU, DRIVERS, None)
    said = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True).stdout
    assert ".".join(map(str, facts.version)) in said
    assert facts.version[:2] >= FLOOR
    assert facts.resolve_machine("q35") == f"pc-q35-{facts.version[0]}.{facts.version[1]}"
    assert facts.resolve_machine("pc").startswith("pc-i440fx-")
    assert facts.machines[facts.resolve_machine("q35")].cpu_max >= 255
    assert facts.has_device("virtio-blk-pci")
    assert facts.has_property("virtio-blk-pci", "num-queues")
    assert not facts.has_property("virtio-blk-pci", "nonsense")
    assert not facts.has_device("no-such-device")
    assert "memory-backend-memfd" in facts.objects
    assert "smp" in " ".join(facts.options)
    assert "max" in facts.cpu_models
    assert "tcg" in facts.accelerators


@pytest.mark.qemu
def test_an_unknown_machine_type_names_the_range_of_its_family() -> None:
    facts = read_qemu_facts(QEMU, (), None)
    with pytest.raises(QemuError, match="no machine type 'pc-q35-99.0'") as caught:
        facts.resolve_machine("pc-q35-99.0")
    assert facts.resolve_machine("q35") in caught.value.hint


@pytest.mark.qemu
def test_the_schema_of_qmp_is_read_and_kept_in_a_file_of_its_own(tmp_path: Path) -> None:
    schema = read_qmp_schema(QEMU, str(tmp_path))
    assert any(entry.get("name") == "query-cpus-fast" for entry in schema)
    assert [path.name.split("-")[0] for path in tmp_path.iterdir()] == ["schema"]
    assert read_qmp_schema(QEMU, str(tmp_path)) == schema


@pytest.mark.qemu
def test_a_second_read_starts_no_qemu(tmp_path: Path) -> None:
    binary = wrapper(tmp_path / "q", tmp_path / "starts")
    first = read_qemu_facts(binary, DRIVERS, str(tmp_path / "cache"))
    assert read_qemu_facts(binary, DRIVERS, str(tmp_path / "cache")) == first
    assert (tmp_path / "starts").read_text() == "."


@pytest.mark.qemu
def test_another_list_of_drivers_or_another_qemu_of_the_same_path_is_asked_anew(tmp_path: Path) -> None:
    cache, starts = str(tmp_path / "cache"), tmp_path / "starts"
    binary = wrapper(tmp_path / "q", starts)
    read_qemu_facts(binary, (), cache)
    assert read_qemu_facts(binary, DRIVERS, cache).has_device("pcie-root-port")
    assert starts.read_text() == ".."
    # Same path, size and time: what an update by rename with kept times looks like.
    before = (tmp_path / "q").stat()
    wrapper(tmp_path / "new", starts)
    os.utime(tmp_path / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (tmp_path / "new").rename(tmp_path / "q")
    read_qemu_facts(binary, DRIVERS, cache)
    assert starts.read_text() == "..."


@pytest.mark.qemu
def test_installing_a_module_asks_qemu_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules, starts, cache = tmp_path / "modules", tmp_path / "starts", str(tmp_path / "cache")
    modules.mkdir()
    monkeypatch.setenv("QEMU_MODULE_DIR", str(modules))
    binary = wrapper(tmp_path / "q", starts)
    read_qemu_facts(binary, (), cache)
    (modules / "new.so").touch()
    read_qemu_facts(binary, (), cache)
    assert starts.read_text() == ".."


@pytest.mark.qemu
@pytest.mark.parametrize("damage", ["cut", "empty", "garbage", "other", "folder", "unreadable"])
def test_a_damaged_cache_is_silently_made_anew(tmp_path: Path, damage: str) -> None:
    first = read_qemu_facts(QEMU, DRIVERS, str(tmp_path))
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.unlink()
    match damage:
        case "cut":
            file.write_bytes(whole[:-100])
        case "empty":
            file.touch()
        case "garbage":
            file.write_bytes(b"\xff\x00" * 1000)
        case "other":
            file.write_text('{"path": 1}')
        case "folder":
            file.mkdir()
        case _:
            file.symlink_to(tmp_path / "nowhere" / "file")
    assert read_qemu_facts(QEMU, DRIVERS, str(tmp_path)) == first
    if damage != "folder":
        assert file.read_bytes() == whole


@pytest.mark.qemu
def test_a_cache_folder_that_cannot_be_made_or_written_does_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert read_qemu_facts(QEMU, (), str(tmp_path / "file" / "cache")).version >= (7, 2, 0)
    assert read_qemu_facts(QEMU, (), "/proc/qlaunch").version >= (7, 2, 0)


@pytest.mark.qemu
def test_eight_cold_runs_at_once_agree_and_leave_one_whole_file(tmp_path: Path) -> None:
    code = "import sys; from qlaunch.host.qemu import read_qemu_facts as r; print(r(sys.argv[1], ['VGA'], sys.argv[2]))"
    words = [sys.executable, "-c", code, QEMU, str(tmp_path / "cache")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    runs = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(8)]
    said = {run.communicate(timeout=PATIENCE_S)[0] for run in runs}
    assert [run.returncode for run in runs] == [0] * 8
    assert len(said) == 1
    (file,) = (tmp_path / "cache").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_qemu_that_is_not_installed_names_the_packages() -> None:
    with pytest.raises(HostError, match="qemu-of-nobody is not installed") as caught:
        find_qemu("qemu-of-nobody")
    assert "qemu-system-x86 (Debian, Ubuntu)" in caught.value.hint


def test_a_file_that_may_not_be_run_is_told(tmp_path: Path) -> None:
    (tmp_path / "qemu").touch(0o644)
    with pytest.raises(HostError, match="is not a program that may be run"):
        find_qemu(str(tmp_path / "qemu"))


def test_a_file_that_is_no_program_is_told(tmp_path: Path) -> None:
    (tmp_path / "qemu").write_bytes(b"\0\0\0")
    (tmp_path / "qemu").chmod(0o755)
    with pytest.raises(HostError, match="cannot be run: Exec format error"):
        read_qemu_facts(str(tmp_path / "qemu"), (), None)


def test_a_program_that_is_not_qemu_is_told_with_what_it_printed(script: Script) -> None:
    with pytest.raises(QemuError, match=r"is not QEMU: it printed 'hello' where QMP's greeting belongs"):
        read_qemu_facts(script("echo hello; sleep 1000"), (), None)


def test_a_program_that_never_ends_a_line_is_told(script: Script) -> None:
    with pytest.raises(QemuError, match="is not QEMU"):
        read_qemu_facts(script("exec cat /dev/zero"), (), None)


def test_a_qemu_that_ends_is_told_with_its_last_words(script: Script) -> None:
    with pytest.raises(QemuError, match=r"ended with status 3: cannot find libfoo") as caught:
        read_qemu_facts(script("echo first >&2; echo cannot find libfoo >&2; exit 3"), (), None)
    assert caught.value.stderr == "first\ncannot find libfoo"


def test_a_qemu_that_dies_is_told_with_the_signal(script: Script) -> None:
    with pytest.raises(QemuError, match=r"died of signal 6 \(Aborted\).*: it said nothing"):
        read_qemu_facts(script("kill -ABRT $$"), (), None)


def test_a_qemu_that_hangs_is_ended_with_its_children(script: Script, tmp_path: Path) -> None:
    binary = script(f"sleep 1000 & echo $! >{tmp_path}/child; echo '{GREETING}'; wait")
    answers, ending, _ = interview(binary, [{"execute": "query-version", "id": "v"}], deadline_s=0.5)
    assert (answers, ending) == ({}, "does not answer within 0.5 s")
    with suppress(ProcessLookupError):
        child = os.pidfd_open(int((tmp_path / "child").read_text()))
        assert select.select([child], [], [], PATIENCE_S)[0]
        os.close(child)


def test_a_qemu_below_the_floor_is_told_even_when_it_knows_no_other_question(script: Script) -> None:
    version = '{"return": {"qemu": {"major": 6, "minor": 2, "micro": 1}}, "id": "query-version"}'
    with pytest.raises(QemuError, match=r"is QEMU 6\.2\.1; qlaunch needs 7\.2 or newer"):
        read_qemu_facts(script(f"echo '{GREETING}'; echo '{version}'"), (), None)


@pytest.mark.parametrize("answer", ["[1]", '{"qemu": 5}', '{"qemu": {"major": "x"}}', "null"])
def test_a_version_of_another_form_is_told(script: Script, answer: str) -> None:
    reply = f'{{"return": {answer}, "id": "query-version"}}'
    with pytest.raises(QemuError, match="does not answer as QEMU does"):
        read_qemu_facts(script(f"echo '{GREETING}'; echo '{reply}'"), (), None)


def test_what_cannot_be_made_is_not_kept(tmp_path: Path) -> None:
    def fail() -> int:
        raise QemuError("no")

    with pytest.raises(QemuError):
        remember(str(tmp_path), "n", 1, int, fail)
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_another_user_is_not_believed(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    keep(str(tmp_path), "n", 1, 5)
    assert recall(str(tmp_path), "n", 1, int) == 5
    os.chown(next(tmp_path.iterdir()), 1234, -1)
    assert recall(str(tmp_path), "n", 1, int) is None


def test_the_answer_to_another_question_is_not_believed(tmp_path: Path) -> None:
    keep(str(tmp_path), "n", "this", 1)
    (this,) = tmp_path.iterdir()
    keep(str(tmp_path), "n", "that", 2)
    (that,) = set(tmp_path.iterdir()) - {this}
    that.replace(this)
    assert recall(str(tmp_path), "n", "this", int) is None


def test_the_cache_does_not_grow_without_end(tmp_path: Path) -> None:
    (tmp_path / "n-directory").mkdir()
    for key in range(40):
        keep(str(tmp_path), "n", key, key)
    assert recall(str(tmp_path), "n", 39, int) == 39
    assert len(list(tmp_path.iterdir())) <= 13


def test_the_identity_of_a_program_that_is_gone_has_no_file() -> None:
    assert program_key("/nowhere/qemu")[0] == "/nowhere/qemu"


@settings(max_examples=300, deadline=None)
@given(answer=st.dictionaries(st.text(), st.lists(st.text())), position=st.integers(0), byte=st.integers(1, 255))
def test_no_changed_byte_is_ever_believed(answer: dict[str, list[str]], position: int, byte: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        keep(folder, "n", ["key"], answer)
        assert recall(folder, "n", ["key"], dict[str, list[str]]) == answer
        (file,) = Path(folder).iterdir()
        content = bytearray(file.read_bytes())
        content[position % len(content)] ^= byte
        file.write_bytes(content)
        assert recall(folder, "n", ["key"], dict[str, list[str]]) is None
