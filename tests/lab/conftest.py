"""Hosts for lab tests: fresh ones, and ones that tests share as long as they leave them as they were."""

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from _pytest.runner import runtestprotocol

from tests.lab import photograph, snapshot, source
from tests.lab.failure import LabError
from tests.lab.host import GUEST_STANDS_STILL, LabHost

FAILURES = Path(__file__).parent / "failures"


# Emulated SVM may still abort, in spite of root/etc/modprobe.d/lab.conf, the kernel's patching of itself may meet an
# emulated CPU that has not heard of it, and all CPUs may wait for each other: that says nothing of qlaunch, unless it
# happens each time.
TRIES = 5
STANDS_STILL = "the emulated host stands still"
EMULATOR_FAULTS = (
    "the emulator has ended by SIGABRT",
    "the emulator has run a breakpoint",
    "the emulated host answers nothing any more",
    STANDS_STILL,
    GUEST_STANDS_STILL,
)
FAILED = pytest.StashKey[bool]()
UNTOLD: list[str] = []  # what the lab has to say where no terminal is: in a worker of pytest-xdist
LAB_SAID = "the lab said"
USUAL = "full"
LONGEST_LINE, MOST_LINES = 300, 100  # of a difference that is printed; all of it is in a file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests of one host follow each other: another profile's takes half a minute until it can be used."""
    outside = [item for item in items if item.get_closest_marker("lab") is None]
    inside = [item for item in items if item.get_closest_marker("lab")]
    items[:] = outside + sorted(inside, key=_turn)


def _turn(item: pytest.Item) -> tuple[bool, bool, str]:
    """When a test has its turn: first those of the usual profile, last those that start emulators themselves."""
    profile = profile_of(item)
    return "no_host" in getattr(item, "fixturenames", ()), profile != USUAL, profile


def profile_of(item: pytest.Item) -> str:
    """The profile that a test wants its host to have."""
    marker = item.get_closest_marker("profile")
    return marker.args[0] if marker else USUAL


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test again on a fresh host if it was the emulator that failed, and say so."""
    if item.get_closest_marker("lab") is None:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for attempt in range(1, TRIES + 1):
        item.stash[FAILED] = False
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        faults = [report for report in reports if report.failed and has_fault(_message(report))]
        # A guest may hang for what qlaunch did: that is believed to be the emulator's fault once, and printed.
        if not faults or attempt == TRIES or (attempt > 1 and GUEST_STANDS_STILL in _message(faults[0])):
            reports[-1].user_properties += [(LAB_SAID, words) for words in UNTOLD]
            UNTOLD.clear()
            for report in reports:
                item.ihook.pytest_runtest_logreport(report=report)
            break
        voice(item.config)(f"{_message(faults[0])}\nin {item.name}; once more, on a fresh host")
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def voice(config: pytest.Config) -> Callable[[str], object]:
    """Say it in the terminal now; from a worker, at the end of the run."""
    if hasattr(config, "workerinput"):
        return UNTOLD.append
    terminal = config.pluginmanager.getplugin("terminalreporter")
    return cast("Callable[[str], object]", terminal.write_line)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Tell what the workers could not."""
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    told = [words for report in reports for key, words in getattr(report, "user_properties", ()) if key == LAB_SAID]
    if told:
        terminalreporter.section(LAB_SAID)
    for words in told:
        terminalreporter.write_line(words)


def _message(report: pytest.TestReport) -> str:
    """The error's own words: the lines of code around it may hold any."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return crash.message if crash else report.longreprtext


def has_fault(text: str) -> bool:
    """Whether a failure is the emulator's own."""
    return any(fault in text for fault in EMULATOR_FAULTS)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the host's fixture know that the test has failed."""
    report = yield
    item.stash[FAILED] = report.failed or item.stash.get(FAILED, False)
    return report


class Shared:
    """The host of each profile that the tests share. One that a test left changed, or broke, is thrown away."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._hosts: dict[str, LabHost] = {}

    def of(self, profile: str) -> LabHost:
        if profile not in self._hosts:
            self.drop_all()  # at most one at a time: another test run, or worker, wants its turn
            self._hosts[profile] = new_host(profile, self._say)
        return self._hosts[profile]

    def drop(self, host: LabHost) -> None:
        self._hosts.pop(host.profile)
        host.emulator.stop()

    def drop_all(self) -> None:
        for host in list(self._hosts.values()):
            self.drop(host)


def new_host(profile: str, say: Callable[[str], object]) -> LabHost:
    """A fresh host with qlaunch in it. One that stands still before anything of qlaunch ran in it is replaced."""
    for attempt in range(1, TRIES + 1):
        emulator = snapshot.fresh(profile, say=say)
        try:
            source.install(emulator)
            return LabHost(emulator, profile)
        except BaseException as error:
            emulator.stop()
            if not isinstance(error, LabError) or attempt == TRIES:
                raise
            say(f"{error}; another host is taken")
    raise AssertionError


@pytest.fixture(scope="session")
def _shared(request: pytest.FixtureRequest) -> Iterator[Shared]:
    hosts = Shared(voice(request.config))
    yield hosts
    hosts.drop_all()


@pytest.fixture
def no_host(_shared: Shared) -> None:
    """For a test that starts emulators itself: who has one and wants another could wait for one who does so too."""
    _shared.drop_all()


@pytest.fixture
def host(request: pytest.FixtureRequest, _shared: Shared) -> Iterator[LabHost]:
    """An emulated host, of the profile that ``@pytest.mark.profile`` names, that must be as it was after the test.

    A test that fails leaves console, journals and the difference of the photographs under ``failures/``; the difference
    is an error of its own only where nothing else went wrong, or it would drown what did.
    """
    found = _shared.of(profile_of(request.node))
    try:
        before = found.reference()
        yield found
        left = photograph.difference(before, photograph.take(found.channel))
    except BaseException:
        keep(request.node.name, found, [])
        _shared.drop(found)
        raise
    if left or request.node.stash[FAILED]:
        keep(request.node.name, found, left)
        _shared.drop(found)
    if left and request.node.stash[FAILED]:
        voice(request.config)(f"{request.node.name} has failed, and left {len(left)} things that are not as they were")
    elif left:
        told = [line[:LONGEST_LINE] for line in left[:MOST_LINES]]
        more = [f"and {len(left) - MOST_LINES} more, in {FAILURES}"] if len(left) > MOST_LINES else []
        pytest.fail("the host is not as it was:\n" + "\n".join(told + more), pytrace=False)


def keep(name: str, host: LabHost, left: list[str]) -> None:
    """Leave what tells why a test failed."""
    place = FAILURES / name.replace("/", "_")[:100]
    host.emulator.keep_logs(place)
    (place / "difference.txt").write_text("\n".join(left) + "\n")
    script = (
        "tail -n +1 /run/qlaunch/*/journal /var/lib/qlaunch/*/*.log 2>/dev/null; journalctl --no-pager -b | tail -n 300"
    )
    try:
        said = host.channel.run("sh", "-c", script, patience_s=60).out
    except Exception as error:  # noqa: BLE001 - the host may be what has failed
        said = f"the host does not answer: {error}"
    (place / "host.txt").write_text(said)
