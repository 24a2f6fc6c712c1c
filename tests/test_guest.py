"""exec, cp and shell through a guest agent: a fake one whose guest is this computer, and qemu-ga where there is one."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from qlaunch.duty import Duty
from qlaunch.errors import DeadlineError, HostError, MonitorError, QlaunchError, UsageError
from qlaunch.run import guest_agent
from qlaunch.run.folder import Record
from qlaunch.run.guest_agent import GuestAgent
from qlaunch.run.guest_exec import LONGEST_INPUT, Job, run_in_guest
from qlaunch.run.guest_pipe import Feed, GuestPipe, Stream
from qlaunch.run.guest_shell import Window, open_shell
from qlaunch.run.process import identify
from tests.fakes.agent import Answer, FakeAgent, Manners, good, serve_agent
from tests.live import PATIENCE_S, Desk


class Heard:
    """What a command said."""

    def __init__(self) -> None:
        self.out, self.err = bytearray(), bytearray()

    def job(
        self,
        *argv: str,
        stdin: bytes = b"",
        feed: Feed | None = None,
        environment: tuple[str, ...] = (),
        timeout_s: float = 60,
    ) -> Job:
        return Job(
            argv=argv,
            out=self.out.extend,
            err=self.err.extend,
            stdin=stdin,
            feed=feed,
            environment=environment,
            timeout_s=timeout_s,
        )


def in_the_guest() -> set[Path]:
    """What qlaunch has left in the guest's /tmp, which is this computer's."""
    return set(Path("/tmp").glob(".qlaunch-*"))  # noqa: S108


def duty(desk: Desk) -> Duty:
    folder = desk.runtime / "fake"
    folder.mkdir(parents=True, exist_ok=True)
    (desk.state / "fake").mkdir(parents=True, exist_ok=True)
    return Duty(
        name="fake",
        runtime=str(folder),
        state=str(desk.state / "fake"),
        accel="tcg",
        qemu_version="7.2",
        machine_type="pc-q35-7.2",
        machine_file="fake.toml",
        vcpus=1,
        memory=1 << 20,
        agent=True,
    )


def a_running_machine(desk: Desk) -> Duty:
    """A machine ``fake`` that seems to run, with this process as its QEMU."""
    one = duty(desk)
    me = identify(os.getpid())
    record = Record(supervisor=me, qemu=me, started=time.time(), running=True, duty=one)
    (desk.runtime / "fake" / "record.json").write_bytes(msgspec.json.encode(record))
    return one


@contextmanager
def an_agent(desk: Desk, manners: Manners = good, system: str = "debian") -> Iterator[tuple[GuestAgent, FakeAgent]]:
    """A machine that seems to run, and its agent."""
    one = a_running_machine(desk)
    with serve_agent(Path(one.socket("agent")), manners, system) as fake:
        yield GuestAgent(one), fake


def test_a_command_gives_its_output_its_errors_and_its_status(desk: Desk) -> None:
    heard = Heard()
    with an_agent(desk) as (agent, _):
        status = run_in_guest(
            agent, heard.job("sh", "-c", "cat; echo $A; echo no >&2; exit 7", stdin=b"in\n", environment=("A=b c",))
        )
    assert (status, bytes(heard.out), bytes(heard.err)) == (7, b"in\nb c\n", b"no\n")


def test_a_command_keeps_the_guests_path_and_mask_and_leaves_nothing_there(desk: Desk) -> None:
    heard = Heard()
    before = in_the_guest()
    with an_agent(desk) as (agent, _):
        assert run_in_guest(agent, heard.job("sh", "-c", "umask; echo $PATH", environment=("A=b",))) == 0
        mask = os.umask(0)
        os.umask(mask)
        assert heard.out.decode().split() == [f"{mask:04o}", os.environ["PATH"]]
        assert wait_until(lambda: in_the_guest() <= before)


def test_output_comes_while_the_command_runs(desk: Desk, tmp_path: Path) -> None:
    goes_on, came = tmp_path / "go", threading.Event()
    heard = Heard()

    def out(data: bytes) -> None:
        heard.out.extend(data)
        came.set()

    with an_agent(desk) as (agent, _):
        job = msgspec.structs.replace(
            heard.job("sh", "-c", f"echo first; until [ -e {goes_on} ]; do sleep 0.05; done"), out=out
        )
        thread = threading.Thread(target=run_in_guest, args=(agent, job))
        thread.start()
        assert came.wait(PATIENCE_S)
        assert thread.is_alive()
        goes_on.touch()
        thread.join(PATIENCE_S)
    assert heard.out == b"first\n"


def slices(data: bytes) -> Feed:
    """Input that comes in pieces, and ends."""
    pieces = iter([data[at : at + 60_000] for at in range(0, len(data), 60_000)])
    return lambda _seconds: next(pieces, None)


def test_input_goes_in_while_the_command_runs(desk: Desk) -> None:
    heard = Heard()
    left = [b"first\n", b"second\n"]

    def feed(seconds: float) -> bytes | None:
        if len(left) == 1 and b"got first" not in heard.out:  # the second waits for what the first one causes
            time.sleep(seconds)
            return b""
        return left.pop(0) if left else None

    with an_agent(desk) as (agent, _):
        script = "while read -r line; do echo got $line; done; exit 4"
        assert run_in_guest(agent, heard.job("sh", "-c", script, feed=feed)) == 4
        assert heard.out == b"got first\ngot second\n"


@pytest.mark.parametrize("size", [0, 1, 4095, 300_001])
def test_streamed_input_comes_whole_and_ends(desk: Desk, size: int) -> None:
    heard = Heard()
    data, before = os.urandom(size), in_the_guest()
    with an_agent(desk) as (agent, fake):
        late = heard.job("sh", "-c", "sleep 0.2; exec cat", feed=slices(data))  # the pipe is full by then
        assert run_in_guest(agent, late) == 0
        assert heard.out == data
        assert not fake.files
        assert wait_until(lambda: in_the_guest() <= before)


def test_an_agent_with_a_small_buffer_loses_nothing(desk: Desk) -> None:
    """As in a guest with musl, whose buffers have 1 KiB: what is larger is written at once, or refused."""
    heard, data = Heard(), os.urandom(300_001)
    with an_agent(desk) as (agent, fake):
        fake.buffer = 1024
        assert run_in_guest(agent, heard.job("sh", "-c", "sleep 0.2; exec cat", feed=slices(data))) == 0
        assert heard.out == data


def test_input_that_ends_before_anybody_reads_it_is_not_lost(desk: Desk, tmp_path: Path) -> None:
    with an_agent(desk) as (agent, fake), agent.turn() as turn:
        stream = Stream(lambda _: None, GuestPipe(turn, str(tmp_path / "made")))
        stream.wait(0)
        stream.pass_on(turn, is_read=False)
        assert fake.files
        stream.pass_on(turn, is_read=True)
        assert not fake.files


def test_a_command_that_reads_nothing_ends_all_the_same(desk: Desk) -> None:
    with an_agent(desk) as (agent, fake):
        assert run_in_guest(agent, Heard().job("sh", "-c", "sleep 0.2; exit 3", feed=lambda _: b"x" * 60_000)) == 3
        assert run_in_guest(agent, Heard().job("no-such-program", feed=lambda _: b"")) == 127
        assert not fake.files


def test_windows_gets_its_input_whole(desk: Desk) -> None:
    heard = Heard()
    with an_agent(desk, system="mswindows") as (agent, fake):
        assert run_in_guest(agent, heard.job("cat", feed=slices(bytes(100_000)))) == 0
        assert heard.out == bytes(100_000)
        with pytest.raises(UsageError, match="longer than 32 MiB"):
            run_in_guest(agent, heard.job("cat", feed=lambda _: bytes(1 << 20)))
        assert "guest-file-open" not in fake.asked


def test_a_command_that_a_signal_ended_has_the_status_that_a_shell_gives(desk: Desk) -> None:
    with an_agent(desk) as (agent, _):
        assert run_in_guest(agent, Heard().job("sh", "-c", "kill -9 $$")) == 137
        heard = Heard()
        assert run_in_guest(agent, heard.job("no-such-program")) == 127
        assert b"no-such-program" in heard.err


def test_a_command_that_takes_too_long_is_ended(desk: Desk, tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    with an_agent(desk) as (agent, _):
        script = f"trap 'touch {ended}; exit' TERM; while :; do sleep 0.05; done"
        with pytest.raises(DeadlineError, match="sh did not end within 1 s"):
            run_in_guest(agent, Heard().job("sh", "-c", script, timeout_s=1))
        assert wait_until(ended.exists)


def test_windows_gives_its_output_at_the_end(desk: Desk) -> None:
    heard = Heard()
    with an_agent(desk, system="mswindows") as (agent, fake):
        assert run_in_guest(agent, heard.job(sys.executable, "-c", "print(1)")) == 0
        assert heard.out == b"1\n"
        assert "guest-file-open" not in fake.asked


def hang(asked: Answer, answer: bytes) -> bytes:
    return b"" if asked["execute"] == "guest-sync-delimited" else answer


def speak_of_old_times(asked: Answer, answer: bytes) -> bytes:
    old = b'{"return": 1}\nhalf an ans\xff{"return": 0}\n' if asked["execute"] == "guest-sync-delimited" else b""
    return old + answer


def lie(_asked: Answer, _answer: bytes) -> bytes:
    return b'{"return": 1}\n' * 2000


def hang_up_in_the_middle(asked: Answer, answer: bytes) -> bytes | None:
    return None if asked["execute"] == "guest-exec" else answer


def answer_half(asked: Answer, answer: bytes) -> bytes:
    return b'{"retu\n' if asked["execute"] == "guest-exec" else answer


def answer_another_shape(asked: Answer, answer: bytes) -> bytes:
    return b'{"return": ["surprise"]}\n' if asked["execute"] == "guest-exec" else answer


@pytest.mark.parametrize(
    ("manners", "words"),
    [
        (hang, "does not answer"),
        (lie, "is no guest agent"),
        (hang_up_in_the_middle, "broke off during guest-exec"),
        (answer_half, "broke off during guest-exec"),
        (answer_another_shape, "what is not to be understood"),
    ],
)
def test_an_agent_with_bad_manners_is_a_sentence(
    desk: Desk, manners: Manners, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest_agent, "SYNC_S", 0.5)
    with an_agent(desk, manners) as (agent, _), pytest.raises(MonitorError, match=words):
        run_in_guest(agent, Heard().job("true"))


def test_answers_of_a_session_before_are_skipped(desk: Desk) -> None:
    with an_agent(desk, speak_of_old_times) as (agent, _):
        assert run_in_guest(agent, Heard().job("true")) == 0


def test_a_machine_without_the_channel_and_input_beyond_bounds_are_told(desk: Desk) -> None:
    with pytest.raises(HostError, match="no channel for a guest agent"):
        GuestAgent(duty(desk))
    with an_agent(desk) as (agent, _), pytest.raises(UsageError, match="longer than 32 MiB"):
        run_in_guest(agent, Heard().job("true", stdin=bytes(LONGEST_INPUT + 1)))


def test_files_go_in_and_out_and_stay_the_same(desk: Desk, tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    (tmp_path / "here").write_bytes(content)
    with an_agent(desk):
        desk.qlaunch("cp", str(tmp_path / "here"), f"fake:{tmp_path}/there")
        (desk.folder / "folder").mkdir()
        desk.qlaunch("cp", f"fake:{tmp_path}/there", "folder")
        assert (desk.folder / "folder" / "there").read_bytes() == content
        assert desk.qlaunch("cp", "-", f"fake:{tmp_path}/typed", typed="words").returncode == 0
        assert desk.qlaunch("cp", f"fake:{tmp_path}/typed", "-").stdout == "words"
        assert "No such file" in desk.qlaunch("cp", "fake:/nowhere", "new", expect=6).stderr
        assert not (desk.folder / "new").exists()
        assert "one place in a guest" in desk.qlaunch("cp", "a", "b", expect=2).stderr


def test_exec_hands_on_the_status_and_takes_options_before_the_dashes(desk: Desk) -> None:
    with an_agent(desk):
        words = ["exec", "fake", "-i", "-e", "A=1", "--", "sh", "-c", "cat; echo $A; exit 9"]
        assert desk.qlaunch(*words, typed="x", expect=9).stdout == "x1\n"
        (desk.folder / "typed").write_text("y")
        with (desk.folder / "typed").open() as file:
            done = subprocess.run(
                [sys.executable, "-m", "qlaunch", *words],
                cwd=desk.folder,
                env=desk.environment,
                stdin=file,
                capture_output=True,
                timeout=PATIENCE_S,
                check=False,
            )
        assert (done.returncode, done.stdout) == (9, b"y1\n")
        assert desk.qlaunch("exec", "fake", "echo", "plain").stdout == "plain\n"
        assert "NAME=value" in desk.qlaunch("exec", "fake", "-e", "A", "--", "true", expect=2).stderr
        assert "wants a command" in desk.qlaunch("exec", "fake", expect=2).stderr


def test_exec_has_what_docker_exec_has(desk: Desk, tmp_path: Path) -> None:
    with an_agent(desk):
        told = desk.qlaunch("exec", "fake", "-w", str(tmp_path), "-e", "A=1 2", "--", "sh", "-c", "pwd; echo $A").stdout
        assert told == f"{tmp_path}\n1 2\n"
        assert "cd: " in desk.qlaunch("exec", "fake", "-w", "/nowhere", "--", "true", expect=None).stderr
        desk.qlaunch("exec", "fake", "-d", "-w", str(tmp_path), "--", "sh", "-c", "echo $0 > made", "it's me")
        assert wait_until(lambda: (tmp_path / "made").exists() and (tmp_path / "made").read_text() == "it's me\n")
        words = ["-it", "-e", "A=b c", "-w", str(tmp_path), "--", "sh", "-c", 'read x; echo "$x $A" $(pwd); exit 3']
        done = desk.qlaunch("exec", "fake", *words, typed="typed\n", expect=3)
        assert f"typed b c {tmp_path}" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="the guest of these tests is this computer, and only root may be others")
def test_exec_refuses_what_has_no_meaning_together_and_minds_no_closed_input(desk: Desk) -> None:
    with an_agent(desk):
        for words in (["-t", "-d"], ["-d", "-i"], ["-t", "--timeout", "5"], ["-d", "--timeout", "5"]):
            said = desk.qlaunch("exec", "fake", *words, "--", "true", expect=2).stderr
            assert "means nothing beside" in said
        desk.qlaunch("exec", "fake", "--", "true", first="os.close(0); sys.stdin = None")


def test_exec_runs_as_another_user_of_the_guest(desk: Desk) -> None:
    with an_agent(desk):
        assert desk.qlaunch("exec", "fake", "-u", "nobody", "--", "id", "-un").stdout == "nobody\n"
        told = desk.qlaunch("exec", "fake", "-u", "nobody", "-w", "/", "--", "sh", "-c", "pwd; echo $1", "-x", "y z")
        assert told.stdout == "/\ny z\n"
        told = desk.qlaunch("exec", "fake", "-u", "nobody", "-e", "HOME=/x", "--", "sh", "-c", "echo $HOME")
        assert told.stdout == "/x\n"


def test_a_shell_hears_keys_until_it_ends_itself(desk: Desk) -> None:
    with an_agent(desk):
        done = desk.qlaunch("shell", "fake", typed="echo $((40 + 2)); exit 3\n", expect=3)
        assert "42" in done.stdout


def test_a_shell_that_is_left_leaves_nothing(desk: Desk) -> None:
    before = in_the_guest()
    heard = bytearray()
    with an_agent(desk) as (agent, _):
        with open_shell(agent, heard.extend, Window(rows=24, columns=80, terminal="dumb")) as shell:
            left = b"echo $((40 + 2))\n"
            while b"42" not in heard:
                left, _ = shell.exchange(left)
        assert wait_until(lambda: in_the_guest() <= before)


@pytest.mark.skipif(shutil.which("qemu-ga") is None, reason="qemu-ga is not installed (package qemu-guest-agent)")
def test_the_real_agent_has_the_manners_of_the_fake_one(desk: Desk, tmp_path: Path) -> None:
    one = duty(desk)
    words = [
        "qemu-ga",
        "-m",
        "unix-listen",
        "-p",
        one.socket("agent"),
        "-t",
        str(tmp_path),
        "-f",
        str(tmp_path / "pid"),
    ]
    real = subprocess.Popen(words)
    try:
        assert wait_until(Path(one.socket("agent")).exists)
        heard = Heard()
        command = heard.job("sh", "-c", "cat; echo no >&2; exit 7", stdin=b"in\n")
        assert run_in_guest(GuestAgent(one), command) == 7
        assert (bytes(heard.out), bytes(heard.err)) == (b"in\n", b"no\n")
        heard, data = Heard(), os.urandom(300_001)
        slow = heard.job("sh", "-c", "sleep 0.5; exec cat", feed=slices(data))  # the pipe is full by then
        assert run_in_guest(GuestAgent(one), slow) == 0
        assert heard.out == data
        full = heard.job("sh", "-c", "sleep 0.2; exit 3", feed=lambda _: b"x" * 60_000)
        assert run_in_guest(GuestAgent(one), full) == 3
        with GuestAgent(one).turn() as turn, pytest.raises(QlaunchError, match="guest-file-open"):
            turn.open("/nowhere", "r")
    finally:
        real.terminate()
        real.wait()


def wait_until(is_so: Callable[[], bool]) -> bool:
    """Wait for something to become so, generously."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(is_so())
