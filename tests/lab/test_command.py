"""The words of contrib/lab, without an emulated host."""

import base64
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.lab import cache, command, image
from tests.lab.channel import Job
from tests.lab.failure import LabError


@pytest.mark.parametrize(
    "words",
    ["--keep stop", "--profile full build", "--profile full -- pytest", "--keep -- pytest", "", "shell -- true"],
)
def test_words_that_mean_nothing_are_refused(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_pytest", "_in_host", "_stop_kept"):  # were they taken, nothing should come of it
        monkeypatch.setattr(command, name, lambda *_, **__: 0)
    monkeypatch.setattr(image, "ready", lambda: image.Image(Path("/nowhere")))
    with pytest.raises(SystemExit) as ended:
        command.main(words.split())
    assert ended.value.code == 2


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied", "/x"), subprocess.TimeoutExpired("x", 1), LabError("/x")]
)
def test_what_goes_wrong_is_said_in_a_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> int:
        raise error

    monkeypatch.setattr(cache, "stop_kept", fail)
    assert command.main(["stop"]) == 3
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "Traceback" not in said


def test_the_two_outputs_of_a_command_stay_apart(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    class Channel:
        def start(self, argv: list[str], listener: Any) -> Job:
            job = Job(self, 1, tuple(argv), listener)  # type: ignore[arg-type]
            for stream in ("out", "err"):
                job.hear({stream: base64.b64encode(stream.encode()).decode()})
            job.hear({"status": 7})
            return job

        def read_until(self, *_: object) -> bool:
            return True

    class Host:
        channel = Channel()

    assert command._run(Host(), ["x"]) == 7  # type: ignore[arg-type]
    assert capfdbinary.readouterr() == (b"out", b"err")
