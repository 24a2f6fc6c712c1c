"""Killed at every point of a start, of an end and of a recovery, the host comes back: the photograph is the judge."""

import json
import os
from pathlib import Path

import pytest

from tests.lab.conftest import STANDS_STILL, has_fault, keep, new_host, voice
from tests.lab.failure import LabError
from tests.lab.host import LabHost
from tests.lab.photograph import CAMERA
from tests.lab.test_passthrough import pci
from tests.lab.test_quiet import MACHINE

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("no_host")]

SWEEP = Path(__file__).with_name("sweep.py").read_text()
AT_ONCE = 10  # points that one call tries: how long it takes to hear of a failure
# Minutes of starts and ends are long for an emulator: one that fails is followed by another, from the same point on.
HOSTS = 6
# Every point takes most of an hour, which is for `QLAUNCH_SWEEP=every contrib/lab -- pytest tests/lab/test_sweep.py`.
STRIDE = 1 if os.environ.get("QLAUNCH_SWEEP") == "every" else 12
# What the hook changes, and the helper itself, are in the photograph.
HELPED = """
[[hook]]
start = ["sh", "-c", "echo 65 > /proc/sys/net/ipv4/ip_default_ttl"]
stop = ["sh", "-c", "echo 64 > /proc/sys/net/ipv4/ip_default_ttl"]
[[sidecar]]
command = ["sleep", "infinity"]
restart = "on-failure"
"""


@pytest.mark.parametrize("phase", ["start", "end", "recover"])
def test_a_kill_at_every_point_leaves_nothing_that_recover_does_not_give_back(
    phase: str, request: pytest.FixtureRequest
) -> None:
    """A machine with all of [host], a hook, a helper and a graphics card of three functions."""
    say = voice(request.config)
    points: list[str] = []
    for attempt in range(1, HOSTS + 1):
        host = new_host("full", say)
        try:
            try_points(host, phase, points)
            break
        except LabError as error:
            if attempt == HOSTS or not has_fault(str(error)):
                raise
            say(f"{error}\nafter {len(points)} points of a {phase}; on, with a fresh host")
        except AssertionError:
            keep(request.node.name, host, [])
            raise
        finally:
            host.emulator.stop()
    which = "every point" if STRIDE == 1 else f"one of {STRIDE} points"
    say(f"\n{phase}: killed at {which}, {len(points)} in all, {len(set(points))} of them different")
    assert STRIDE > 1 or any(point.startswith("after write /sys") for point in points)
    assert points


def try_points(host: LabHost, phase: str, points: list[str]) -> None:
    """Go on after the points that were tried already, to the last one there is."""
    host.machine("swept", MACHINE + HELPED + pci(host, "gpu"))
    whole = False
    while not whole:
        first = 1 + len(points) * STRIDE
        asked = {"camera": CAMERA, "phase": phase, "name": "swept", "first": first, "most": AT_ONCE, "stride": STRIDE}
        ended = host.run("python3", "-P", "-c", SWEEP, stdin=json.dumps(asked).encode(), expect=None, patience_s=1500)
        if "Timeout (" in ended.err:  # no command of qlaunch's, for each of them has a deadline of its own
            raise LabError(f"{STANDS_STILL}, in:\n{ended.err}")
        assert ended.status == 0, ended.err
        tried = json.loads(ended.out)
        points += tried["points"]
        assert not tried["left"], f"killed {points[-1]} (point {len(points)}): {tried['left']}"
        whole = tried["whole"]
