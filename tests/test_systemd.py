"""What qlaunch says to systemd over D-Bus, and what it makes of the answers, against a fake on a real bus."""

import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jeepney import Message

from qlaunch.errors import HostError
from qlaunch.journal.engine import HostChanges
from qlaunch.journal.file import Journal
from qlaunch.journal.leases import Leases
from qlaunch.steps import bus, systemd
from qlaunch.steps.host import LocalHost
from qlaunch.steps.service import Service
from qlaunch.steps.shield import SLICES, Scope, Shield
from qlaunch.steps.step import Step
from qlaunch.steps.systemd import SystemBus, escaped, own_unit
from qlaunch.steps.waits import SYSTEMD, noted
from qlaunch.values.cpus import CpuSet
from tests.fakes.host import FakeHost
from tests.fakes.systemd_bus import FakeSystemdBus, systemd_bus

pytestmark = pytest.mark.skipif(shutil.which("dbus-daemon") is None, reason="dbus-daemon is not installed")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSystemdBus]:
    with systemd_bus(tmp_path) as made:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", made.address)
        made.units.update({"gdm.service": "active", "system.slice": "active"})
        yield made


def test_a_service_is_stopped_and_started_again_and_both_are_waited_for(fake: FakeSystemdBus) -> None:
    kind, host = Service(), LocalHost()
    fake.noise = 50  # signals of other units' jobs, after ours: none of them may push ours out
    assert kind.read(host, "gdm.service") == "active"
    kind.write(host, "gdm.service", "inactive")
    assert kind.read(host, "gdm.service") == "inactive"
    kind.write(host, "gdm.service", "active")
    assert fake.units["gdm.service"] == "active"


def test_a_limit_of_starts_is_forgotten_before_a_start(fake: FakeSystemdBus) -> None:
    fake.units["gdm.service"] = "failed"
    Service().write(LocalHost(), "gdm.service", "active")
    assert [name for name, _ in fake.calls if name in ("ResetFailedUnit", "StartUnit")] == [
        "ResetFailedUnit",
        "StartUnit",
    ]


def test_a_unit_that_does_not_exist_is_told(fake: FakeSystemdBus) -> None:
    del fake
    with pytest.raises(HostError, match="there is no unit none.service"):
        Service().read(LocalHost(), "none.service")


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        ("timeout", "gdm.service did not stop: its job ended as 'timeout'"),
        ("failed", "gdm.service did not stop: its job ended as 'failed'"),
        ("never", r"gdm.service has not come to a stop in 0 s"),
    ],
)
def test_a_service_that_does_not_stop_is_told(
    fake: FakeSystemdBus, monkeypatch: pytest.MonkeyPatch, result: str, sentence: str
) -> None:
    monkeypatch.setattr(systemd, "_JOB_S", 0.2)
    fake.results["gdm.service"] = result
    with pytest.raises(HostError, match=sentence) as caught:
        Service().write(LocalHost(), "gdm.service", "inactive")
    assert caught.value.hint == "see: systemctl status gdm.service"


def test_a_refusal_by_polkit_is_told_with_what_to_do(fake: FakeSystemdBus) -> None:
    fake.refusals["StopUnit"] = (
        "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
        "Interactive authentication required.",
    )
    with pytest.raises(HostError, match="does not allow StopUnit: Interactive authentication required$") as caught:
        Service().write(LocalHost(), "gdm.service", "inactive")
    assert caught.value.hint == "run it as root, or allow it by polkit"


def test_a_bus_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    with pytest.raises(HostError, match="D-Bus of the system does not answer: No such file or directory"):
        Service().read(LocalHost(), "gdm.service")


def test_a_bus_that_goes_away_in_the_middle_is_told(fake: FakeSystemdBus) -> None:
    with bus.system_bus() as found:
        found._connection.sock.shutdown(2)
        with pytest.raises(HostError, match="D-Bus of the system went away during Ping"):
            found.call("org.freedesktop.systemd1", "/", "org.freedesktop.DBus.Peer.Ping")
    del fake


def test_a_desktop_that_outlives_its_display_manager_is_named(
    fake: FakeSystemdBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.names["gdm.service"] = ["display-manager.service"]
    fake.sessions = [
        ("3", 1000, "alice", "seat0", "/s/3"),
        ("4", 0, "root", "", "/s/4"),
        ("5", 7, "x", "seat0", "/s/5"),
    ]
    fake.session = {
        "/s/3": {"Type": "wayland", "State": "active"},
        "/s/4": {"Type": "tty", "State": "active"},
        "/s/5": {"Type": "x11", "State": "closing"},
    }
    monkeypatch.setattr(LocalHost, "wait", lambda _self, condition, _timeout_s: condition())
    with pytest.raises(HostError, match=r"gdm.service has stopped, but session 3 of alice \(wayland, seat0\) goes on"):
        Service().write(LocalHost(), "gdm.service", "inactive")
    fake.session["/s/3"]["State"] = "closing"
    Service().write(LocalHost(), "gdm.service", "inactive")


def test_a_service_that_outlives_its_file_is_not_stopped_since_nothing_could_start_it(fake: FakeSystemdBus) -> None:
    fake.units["gdm.service"] = "active"
    assert Service().read(LocalHost(), "gdm.service") == "active"
    fake.without_file.add("gdm.service")
    with pytest.raises(HostError, match="gdm.service"):
        Service().read(LocalHost(), "gdm.service")


def test_a_child_that_hangs_keeps_no_connection(fake: FakeSystemdBus) -> None:
    with bus.system_bus() as found:
        number = found._connection.sock.fileno()
        child = os.fork()
        if child == 0:
            try:
                os.fstat(number)
            except OSError:
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert found.is_open
    del fake


def test_sessions_do_not_matter_to_other_services(fake: FakeSystemdBus) -> None:
    fake.sessions = [("3", 1000, "alice", "seat0", "/s/3")]
    fake.session = {"/s/3": {"Type": "wayland", "State": "active"}}
    Service().write(LocalHost(), "gdm.service", "inactive")


def test_the_shield_speaks_of_cpus_in_bits(fake: FakeSystemdBus) -> None:
    kind, host = Shield(), LocalHost()
    assert kind.read(host, "system.slice") == ""
    after = kind.merge("", ["4-7 of 0-11", "10 of 0-11"])
    kind.write(host, "system.slice", after)
    assert fake.cpus["system.slice"] == bytes([0b00001111, 0b1011])
    assert kind.read(host, "system.slice") == after == "0-3,8-9,11"
    kind.write(host, "system.slice", "")
    assert fake.cpus["system.slice"] == b""


def test_the_last_slice_to_lose_its_limit_has_all_cpus_first(fake: FakeSystemdBus) -> None:
    """With it systemd gives the controller up, and the kernel compares the CPUs of one task for all that it moves."""
    kind, host = Shield(), FakeHost({"/sys/devices/system/cpu/online": "0-7"})
    host.systemd = SystemBus()  # type: ignore[assignment]
    for name in SLICES:
        kind.write(host, name, "0-3")
    fake.calls.clear()
    for name in reversed(SLICES):
        kind.write(host, name, "")
    bits = [(body[0], bytes(body[2][0][1][1])) for member, body in fake.calls if member == "SetUnitProperties"]
    assert bits == [("init.scope", b""), ("user.slice", b""), ("system.slice", b"\xff"), ("system.slice", b"")]


def test_the_file_of_a_limit_that_a_killed_undo_has_left_goes(
    fake: FakeSystemdBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "_CONTROL", str(tmp_path / "control"))
    (tmp_path / "run" / "ada").mkdir(parents=True)
    journal = Journal.open(str(tmp_path / "run" / "ada"), "ada", "1")
    changes = HostChanges(LocalHost(), journal, Leases(str(tmp_path / "run"), "ada", "1"), lambda _text: None)
    claims = {"user.slice": "4-7 of 0-7"}
    changes.carry_out([Step(kind="shield", summary="tasks away", claims=claims, lane="quiet")])
    fake.cpus["user.slice"] = b""  # it was killed here
    file = tmp_path / "control" / "user.slice.d" / "50-AllowedCPUs.conf"
    file.parent.mkdir(parents=True)
    file.write_text("[Slice]\nAllowedCPUs=\n")
    assert not changes.undo()
    assert not (tmp_path / "control").exists()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each connection that is made, by its address."""
    found, connect = [], bus._open

    def counted(address: str, whose: str) -> socket.socket:
        found.append(address)
        return connect(address, whose)

    monkeypatch.setattr(bus, "_open", counted)
    return found


def test_a_thread_at_work_connects_once_and_lets_go_at_its_end(fake: FakeSystemdBus, opened: list[str]) -> None:
    host = LocalHost()
    with host.at_work():
        with host.at_work(), bus.system_bus() as found:
            Service().write(host, "gdm.service", "inactive")
        assert Service().read(host, "gdm.service") == "inactive"
        Service().write(host, "gdm.service", "active")  # jobs are heard of again
        assert Shield().read(host, "system.slice") == ""
        other = threading.Thread(target=lambda: Service().read(host, "gdm.service"))
        other.start()
        other.join()
        assert opened == [fake.address] * 2
    assert found._connection.sock.fileno() < 0
    Service().read(host, "gdm.service")
    Service().read(host, "gdm.service")
    assert len(opened) == 4


def test_a_bus_that_was_started_anew_is_connected_to_again(fake: FakeSystemdBus, opened: list[str]) -> None:
    host = LocalHost()
    with host.at_work():
        Service().read(host, "gdm.service")
        with bus.system_bus() as found:
            found._connection.sock.shutdown(2)
        assert Service().read(host, "gdm.service") == "active"
    assert opened == [fake.address] * 2


def test_signals_are_not_sent_to_whoever_has_heard_of_its_job(
    fake: FakeSystemdBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For one that keeps its connection the bus would keep them all."""
    with LocalHost().at_work(), bus.system_bus() as found:
        SystemBus().stop("gdm.service")
        receive, heard = found._connection.receive, []

        def listen(**more: float) -> Message:
            heard.append(receive(**more))
            return heard[-1]

        monkeypatch.setattr(found._connection, "receive", listen)
        fake.emit("org.freedesktop.systemd1.Manager", "/org/freedesktop/systemd1", "JobRemoved", "s", ("late",))
        assert SystemBus().state("gdm.service") == "inactive"  # which it answers after that
    assert "late" not in [message.body[0] for message in heard if message.body]
    assert heard


def test_the_object_of_a_unit_has_its_name_in_letters_that_a_path_may_have() -> None:
    """As `systemctl status` asks for it: bus_label_escape of systemd."""
    where = "/org/freedesktop/systemd1/unit"
    assert systemd._object("display-manager.service") == f"{where}/display_2dmanager_2eservice"
    assert systemd._object("alice/1st@a.service") == f"{where}/_31st_40a_2eservice"
    assert systemd._object("ü_.slice") == f"{where}/_c3_bc_5f_2eslice"


def test_what_systemd_takes_is_noted_as_its_time(fake: FakeSystemdBus) -> None:
    del fake
    with noted() as outer:
        with noted() as asked:
            SystemBus().state("gdm.service")
        with noted() as stopped:
            SystemBus().stop("gdm.service")
    assert {wait.whose for wait in asked} == {SYSTEMD}
    assert [wait.whose for wait in stopped][:2] == [SYSTEMD] * 2  # the call, and the job's end
    assert not outer


def test_qemu_goes_into_a_scope_that_is_stopped_after_its_supervisor(
    fake: FakeSystemdBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "own_unit", lambda: "session-3.scope")
    SystemBus().make_scope("qlaunch-ada.scope", 12, CpuSet.parse("0,4-5"))
    made = fake.scopes["qlaunch-ada.scope"]
    assert made["PIDs"] == [12]
    assert made["Slice"] == "-.slice"
    assert made["Before"] == ["session-3.scope"]
    assert bytes(made["AllowedCPUs"]) == bytes([0b110001])
    assert SystemBus().state("qlaunch-ada.scope") == "active"


def test_a_scope_of_the_last_run_that_is_still_there_takes_qemu(
    fake: FakeSystemdBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "own_unit", lambda: None)
    fake.refusals["StartTransientUnit"] = (
        "org.freedesktop.systemd1.UnitExists",
        "Unit qlaunch-ada.scope was already loaded",
    )
    SystemBus().make_scope("qlaunch-ada.scope", 12, CpuSet.parse("0,4-5"))
    assert ("AttachProcessesToUnit", ("qlaunch-ada.scope", "", [12])) in fake.calls
    assert fake.cpus["qlaunch-ada.scope"] == bytes([0b110001])
    fake.refusals["AttachProcessesToUnit"] = ("org.freedesktop.systemd1.UnitNotLoaded", "no such unit")
    with pytest.raises(HostError, match="was already loaded"):
        SystemBus().make_scope("qlaunch-ada.scope", 12, CpuSet())


def test_qemu_is_not_in_a_scope_because_there_is_one_of_that_name() -> None:
    host, key = FakeHost({"/proc/12/cgroup": "0::/system.slice/a.scope.d/b.scope"}), "a.scope of 12 on 4"
    host.systemd.states["a.scope"] = "active"
    assert Scope().read(host, key) is None
    Scope().write(host, key, "active")
    assert Scope().read(host, key) == "active"


EVENTS = "/sys/fs/cgroup/a.scope/cgroup.events"


def test_a_scope_that_its_process_did_not_live_to_see_is_ended(tmp_path: Path) -> None:
    host = FakeHost()
    changes = scope_of_ada(host, tmp_path)
    del host.files["/proc/12/cgroup"]
    assert Scope().read(host, "a.scope of 12 on 4") == "empty"
    assert not changes.undo()
    assert not host.systemd.states
    assert not host.files


def test_a_scope_that_is_asked_for_and_not_made_yet_is_ended(tmp_path: Path) -> None:
    host = FakeHost()
    changes = scope_of_ada(host, tmp_path)
    host.files.clear()
    assert Scope().read(host, "a.scope of 12 on 4") is None
    assert not changes.undo()
    assert not host.systemd.states


def test_a_scope_with_processes_is_left_to_them(tmp_path: Path) -> None:
    host = FakeHost()
    changes = scope_of_ada(host, tmp_path)
    del host.files["/proc/12/cgroup"]
    host.files[EVENTS] = "populated 1\nfrozen 0"
    assert not changes.undo()
    assert host.systemd.states == {"a.scope": "active"}


def test_a_qemu_that_lives_on_in_its_scope_is_not_stopped_and_told(tmp_path: Path) -> None:
    host = FakeHost()
    changes = scope_of_ada(host, tmp_path)
    host.files[EVENTS] = "populated 1\nfrozen 0"
    assert [left.reason for left in changes.undo()] == ["QEMU 12 is still in it"]
    assert host.systemd.states == {"a.scope": "active"}


def test_a_scope_is_ended_whatever_waits_for_what(fake: FakeSystemdBus) -> None:
    fake.units["a.scope"] = "active"
    SystemBus().end_scope("a.scope")
    assert ("StopUnit", ("a.scope", "ignore-dependencies")) in fake.calls


def test_the_end_of_a_scope_that_is_not_there_is_none(fake: FakeSystemdBus) -> None:
    SystemBus().end_scope("a.scope")
    assert not [call for call in fake.calls if call[0] == "StopUnit"]


def test_a_scope_that_goes_by_itself_meanwhile_is_ended(fake: FakeSystemdBus, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.units["a.scope"] = "active"
    fake.refusals["StopUnit"] = ("org.freedesktop.systemd1.NoSuchUnit", "Unit a.scope not loaded.")
    with pytest.raises(HostError, match="not loaded"):
        SystemBus().end_scope("a.scope")
    told = systemd._job

    def gone(*given: Any) -> None:
        fake.units.clear()
        told(*given)

    monkeypatch.setattr(systemd, "_job", gone)
    SystemBus().end_scope("a.scope")


def scope_of_ada(host: FakeHost, folder: Path) -> HostChanges:
    (folder / "ada").mkdir()
    journal = Journal.open(str(folder / "ada"), "ada", "1")
    changes = HostChanges(host, journal, Leases(str(folder), "ada", "1"), lambda _text: None)
    changes.carry_out([Step(kind="scope", summary="a scope", claims={"a.scope of 12 on 4": "active"}, lane="one")])
    return changes


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("0::/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/a.scope", "user@1000.service"),
        ("12:cpuset:/\n1:name=systemd:/system.slice/qlaunch@ada.service", "qlaunch@ada.service"),
        ("12:cpuset:/\n0::/", None),
    ],
)
def test_the_own_unit_is_that_of_the_systems_manager(
    text: str, unit: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cgroup").write_text(text)
    monkeypatch.setattr("builtins.open", lambda _path, **more: os.fdopen(os.open(tmp_path / "cgroup", 0), **more))
    assert own_unit() == unit


def test_names_are_escaped_as_systemd_does() -> None:
    assert escaped("win 11-ü.x") == r"win\x2011-\xc3\xbc.x"


def test_a_unit_of_a_user_who_is_not_logged_in_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    host = FakeHost()
    host.systemd.states["alice/pipewire.service"] = "absent"
    kind = Service()
    assert kind.read(host, "alice/pipewire.service") is None
    assert kind.merge(None, ["inactive"]) is None
    del monkeypatch


@pytest.mark.skipif(os.geteuid() != 0, reason="only root speaks to another user's bus")
def test_root_speaks_to_the_bus_of_a_user_as_that_user(
    fake: FakeSystemdBus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    (tmp_path / "bus").chmod(0o666)
    link = bus._open_as(65534, 65534, fake.address, "the user nobody")
    with bus._connected(link, "the user nobody") as found:
        asked = ("org.freedesktop.DBus", "/", "org.freedesktop.DBus.GetConnectionUnixUser")
        assert found.call(*asked, "s", (found._connection.unique_name,)) == (65534,)
    with pytest.raises(HostError, match="D-Bus of the user nobody does not answer: No such file or directory"):
        bus._open_as(65534, 65534, f"unix:path={tmp_path}/none", "the user nobody")
    del monkeypatch


@pytest.mark.skipif(os.geteuid() != 0, reason="only root speaks to another user's bus")
def test_a_child_that_cannot_connect_in_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "CALL_S", 0)
    monkeypatch.setattr(bus, "_LATE_S", 0.1)
    monkeypatch.setattr(bus, "_open", lambda *_words: signal.pause())
    with pytest.raises(HostError, match="D-Bus of the user nobody does not answer: timed out"):
        bus._open_as(65534, 65534, "unix:path=/none", "the user nobody")
