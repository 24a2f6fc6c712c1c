"""What every test may use: expected texts in files, re-made with ``--update-golden``."""

import signal
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["tests.live"]

# A busy machine is no failure: speed is measured by contrib/bench.
settings.register_profile("qlaunch", deadline=None)
settings.load_profile("qlaunch")

# A shell starts its background jobs deaf to Ctrl-C, and so would be every qlaunch that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = Path(__file__).parent


class Golden:
    """Compares a text with the file that holds what is expected; writes the file instead when told to."""

    def __init__(self, *, update: bool) -> None:
        self._update = update

    def compare(self, path: Path, text: str) -> None:
        if self._update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            return
        assert path.exists(), f"{path} is missing; make it with: pytest --update-golden"
        assert path.read_text() == text


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the expected texts anew, then read the diff")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """The expected texts."""
    return Golden(update=bool(request.config.getoption("--update-golden")))
