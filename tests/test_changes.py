"""A machine's changes to its host, as a run makes them."""

import os

import pytest

from qlaunch.errors import HostError
from qlaunch.run.changes import insist_on_root
from qlaunch.steps.step import Step

ROOTS = Step(kind="irq", summary="interrupts away from 4", claims={"/a": "4"}, lane="quiet")
OWN = Step(kind="cpus", summary="CPUs 4 for its vCPUs", claims={"CPU 4": "own"}, lane="leases", needs_root=False)


def test_who_is_not_root_hears_which_steps_need_it_and_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    insist_on_root("ada", [OWN])
    with pytest.raises(HostError) as caught:
        insist_on_root("ada", [ROOTS, OWN, ROOTS])
    assert caught.value.message.endswith("root may change: interrupts away from 4; interrupts away from 4")
    assert caught.value.hint == "run: sudo qlaunch up ada"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    insist_on_root("ada", [ROOTS])
