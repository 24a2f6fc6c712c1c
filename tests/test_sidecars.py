"""Helpers: ready before QEMU, watched, started again, and found by their mark when their supervisor was killed."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from qlaunch.errors import HostError
from qlaunch.machine.sidecar import MARK, SidecarSpec
from qlaunch.run import sidecar_start, sidecars
from qlaunch.run.sidecar_start import Listed, _await_socket, _listed, find_sidecar, start_before_qemu, start_sidecar
from qlaunch.run.sidecars import watch_sidecars
from qlaunch.steps.host import LocalHost
from qlaunch.steps.marked import end_marked, find_marked
from qlaunch.steps.process import Process

BINDS = "import socket, sys, signal, time; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); "
LISTENS = BINDS + "s.listen(); signal.pause()"
# Longer than many looks at it: whoever takes the socket's file for the helper's readiness is refused.
LISTENS_LATE = BINDS + "time.sleep(0.3); s.listen(); signal.pause()"
ACCEPTS = "import socket, sys; c, _ = socket.socket(fileno=int(sys.argv[1])).accept(); c.send(b'served')"


@pytest.fixture
def spec(tmp_path: Path) -> Iterator[Callable[..., SidecarSpec]]:
    """Make a helper of a program; whatever still runs at the end is ended."""
    mark = f"{MARK}={tmp_path}/helper"

    def make(*argv: str, **more: object) -> SidecarSpec:
        made = {"name": "helper", "argv": list(argv), "mark": mark, "log": str(tmp_path / "log"), **more}
        return SidecarSpec(**made)  # type: ignore[arg-type]

    yield make
    end_marked(mark, polite_s=0)


async def until(condition: Callable[[], object]) -> None:
    """Look until it holds: the test's own deadline ends this."""
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - what processes do sets no event
            await trio.sleep(0.005)


def test_a_helper_is_ready_when_it_listens_on_its_socket(spec: Callable[..., SidecarSpec], tmp_path: Path) -> None:
    path = str(tmp_path / "its.sock")
    Path(path).touch()  # of a run that was killed: not to be taken for the new one's
    said: list[str] = []
    made = spec(sys.executable, "-c", LISTENS, path, socket=path, before_qemu=True)
    start_before_qemu([made], said.append)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    assert said == ["helper is ready"]


def test_a_helper_whose_socket_nobody_listens_on_is_waited_for(
    spec: Callable[..., SidecarSpec], tmp_path: Path
) -> None:
    path = str(tmp_path / "its late.sock")
    os.close(start_sidecar(spec(sys.executable, "-c", LISTENS_LATE, path, socket=path)).pidfd)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def test_who_listened_there_before_is_not_taken_for_the_helper(
    spec: Callable[..., SidecarSpec], tmp_path: Path
) -> None:
    path = str(tmp_path / "its.sock")
    with socket.socket(socket.AF_UNIX) as older, socket.socket(socket.AF_UNIX) as client:
        older.bind(path)
        older.listen()
        os.close(start_sidecar(spec(sys.executable, "-c", LISTENS_LATE, path, socket=path)).pidfd)
        client.connect(path)
        older.settimeout(0)
        with pytest.raises(BlockingIOError):
            older.accept()


def test_a_helper_that_ends_before_it_listens_is_told(spec: Callable[..., SidecarSpec], tmp_path: Path) -> None:
    path = str(tmp_path / "its.sock")
    gives_up = f"{BINDS}time.sleep(0.1); sys.exit('it gave up')"
    with pytest.raises(HostError, match=r"helper ended before it listened on its socket .*: it gave up"):
        start_sidecar(spec(sys.executable, "-c", gives_up, path, socket=path))


def test_a_helper_that_never_listens_is_told(spec: Callable[..., SidecarSpec], tmp_path: Path) -> None:
    path = str(tmp_path / "its.sock")
    helper = start_sidecar(spec("sleep", "60"))
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path)
        with pytest.raises(HostError, match=r"helper does not listen on its socket .* in 0.2 s"):
            _await_socket(helper, path, (), ready_s=0.2)
        bound.listen()
        _await_socket(helper, path, (), ready_s=0.2)
    os.close(helper.pidfd)


def test_a_socket_that_the_kernel_does_not_list_for_an_instant_is_waited_for(
    spec: Callable[..., SidecarSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its list is no picture of one moment."""
    path = tmp_path / "its.sock"
    path.touch()
    bound, listens = [Listed("7", lets_in=False)], [Listed("7", lets_in=True)]
    answers = iter([*[[], bound] * 6, listens])
    monkeypatch.setattr(sidecar_start, "_UNLISTED_S", 0.02)  # four looks, and never two of them in a row
    monkeypatch.setattr(sidecar_start, "_listed", lambda _path: next(answers))
    helper = start_sidecar(spec("sleep", "60"))
    _await_socket(helper, str(path), (), ready_s=20)
    os.close(helper.pidfd)
    assert list(answers) == []


def test_what_was_accepted_does_not_stand_for_who_listens(tmp_path: Path) -> None:
    path = str(tmp_path / "its.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        assert [one.lets_in for one in _listed(path)] == [False]
        listener.listen()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(path)
            with listener.accept()[0]:
                assert [one.lets_in for one in _listed(path)] == [True]
                listener.close()
                assert _listed(path) == []


@pytest.mark.parametrize(
    "makes",
    [
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(path)",
        "s = socket.socket(socket.AF_UNIX); os.chdir(os.path.dirname(path)); s.bind('its.sock'); s.listen()",
        "s = open(path, 'w')",
    ],
    ids=["datagrams", "relative path", "no socket"],
)
def test_a_helper_is_ready_by_its_file_where_nobody_can_be_seen_to_listen(
    spec: Callable[..., SidecarSpec], tmp_path: Path, makes: str
) -> None:
    path = str(tmp_path / "its.sock")
    program = f"import os, signal, socket, sys; path = sys.argv[1]; {makes}; signal.pause()"
    os.close(start_sidecar(spec(sys.executable, "-c", program, path, socket=path)).pidfd)
    assert os.path.exists(path)


def test_a_helper_that_takes_its_socket_as_a_descriptor_serves_whoever_came_before_it(
    spec: Callable[..., SidecarSpec], tmp_path: Path
) -> None:
    path = str(tmp_path / "its.sock")
    helper = start_sidecar(spec(sys.executable, "-c", ACCEPTS, "{fd}", socket=path, listens_for_it=True))
    os.close(helper.pidfd)
    assert os.stat(path).st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(path)
        assert client.recv(10) == b"served"
    os.waitpid(helper.process.pid, 0)


def test_a_helper_that_ends_before_it_is_ready_says_its_last_words(
    spec: Callable[..., SidecarSpec], tmp_path: Path
) -> None:
    made = spec("sh", "-c", "echo no such key >&2; exit 1", socket=str(tmp_path / "its.sock"), before_qemu=True)
    with pytest.raises(HostError, match="helper ended before its socket .* was there: no such key"):
        start_before_qemu([made], print)


def test_a_helper_that_never_makes_its_socket_is_told(spec: Callable[..., SidecarSpec], tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"helper has not made its socket .* in 0.1 s"):
        start_sidecar(spec("sleep", "60", socket=str(tmp_path / "its.sock")), ready_s=0.1)


def test_a_helper_that_is_not_there_is_told(spec: Callable[..., SidecarSpec]) -> None:
    with pytest.raises(HostError, match="helper: nothing-like-it is not installed"):
        start_sidecar(spec("nothing-like-it"))


def test_a_helper_is_found_among_its_children_and_all_are_ended(spec: Callable[..., SidecarSpec]) -> None:
    made = spec("sh", "-c", "sleep 60 & sleep 60 & wait")
    helper = start_sidecar(made)
    trio.run(until, lambda: len(find_marked(made.mark)) == 3)
    found = find_sidecar(made)
    assert found is not None
    assert found.process == helper.process
    os.close(found.pidfd)
    kind, host = Process(), LocalHost()
    assert kind.read(host, made.mark) == "running"
    kind.write(host, made.mark, None)
    assert find_marked(made.mark) == []
    assert kind.read(host, made.mark) is None
    assert find_sidecar(made) is None


def test_a_helper_that_does_not_hear_sigterm_is_killed(spec: Callable[..., SidecarSpec], tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    made = spec("sh", "-c", f"trap '' TERM; touch {deaf}; while :; do sleep 1; done")
    start_sidecar(made)
    trio.run(until, deaf.exists)
    assert end_marked(made.mark, polite_s=0.2) == []
    assert find_marked(made.mark) == []


def test_a_mark_is_a_whole_word_of_the_environment(spec: Callable[..., SidecarSpec]) -> None:
    start_sidecar(spec("sleep", "60"))
    assert find_marked(f"{MARK}=") == []
    assert find_marked(spec("x").mark[:-1]) == []


def watched(made: SidecarSpec, enough: Callable[[list[str]], bool]) -> list[str]:
    """Watch a helper until it was told enough."""
    said: list[str] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(watch_sidecars, [made], said.append)
            await until(partial(enough, said))
            nursery.cancel_scope.cancel()

    trio.run(main)
    return said


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecars, "_FIRST_PAUSE_S", 0.01)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    ("restart", "status", "sentence"),
    [
        ("no", 3, "helper has ended (exit status 3)"),
        ("on-failure", 0, "helper has ended (exit status 0)"),
        ("on-failure", 3, "helper has ended (exit status 3: alas); it is started again"),
        ("always", 0, "helper has ended (exit status 0: alas); it is started again"),
    ],
)
def test_a_helper_is_started_again_as_its_policy_says(
    spec: Callable[..., SidecarSpec], restart: str, status: int, sentence: str
) -> None:
    made = spec("sh", "-c", f"echo alas; exit {status}", restart=restart)
    again = sentence.endswith("again")
    said = watched(made, lambda said: len(said) >= (3 if again else 1))
    assert set(said) == {sentence}
    assert Path(made.log).read_text().count("alas") >= (3 if again else 1)


@pytest.mark.usefixtures("_impatient")
def test_a_helper_that_was_killed_is_started_again_and_stays(spec: Callable[..., SidecarSpec]) -> None:
    made = spec("sleep", "60", restart="on-failure")
    pids: list[int] = []

    def enough(said: list[str]) -> bool:
        running = find_marked(made.mark)
        if running and running[0] not in pids:
            pids.append(running[0])
            if len(pids) == 1:
                os.kill(running[0], signal.SIGKILL)
        return len(pids) == 2 and len(said) == 1

    assert watched(made, enough) == ["helper has ended (ended by SIGKILL); it is started again"]
    assert find_marked(made.mark) == [pids[1]]


def test_a_helper_that_runs_already_is_watched_not_started(spec: Callable[..., SidecarSpec]) -> None:
    """As after a take-over: then it is no child, and how it ended is not known."""
    made = spec("sleep", "60")
    name, _, value = made.mark.partition("=")
    script = "import os, subprocess, sys; print(subprocess.Popen(['sleep', '60'], stdout=2).pid)"
    started = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, name: value}, stdout=subprocess.PIPE, check=True
    )
    pid = int(started.stdout)

    def enough(said: list[str]) -> bool:
        assert find_marked(made.mark) in ([pid], [])
        if not said:
            os.kill(pid, signal.SIGTERM)
        return bool(said)

    assert watched(made, enough) == ["helper has ended (it is not known how)"]
