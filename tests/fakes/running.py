"""A started machine in memory, for what lives beside it."""

from collections.abc import Callable, Sequence

from qlaunch.duty import Duty, UsbDuty
from qlaunch.run.folder import Record
from qlaunch.run.process import ProcessId, identify
from qlaunch.steps.step import Step


class FakeChanges:
    """Notes what it is asked to make and to undo, a step at a time as the engine does."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._steps: list[Step] = []

    @property
    def held(self) -> set[str]:
        return {key for step in self._steps for key in step.claims}

    def holds(self, _kind: str, key: str) -> bool:
        return key in self.held

    def make(self, steps: Sequence[Step], *, stop: Callable[[], bool] = lambda: False) -> bool:
        self.heard += [f"make {key}" for step in steps for key in step.claims]
        self._steps += steps
        return not stop()

    def undo_of(self, kind: str, keys: Sequence[str]) -> list[str]:
        chosen = [step for step in self._steps if step.kind == kind and step.claims.keys() <= set(keys)]
        self._steps = [step for step in self._steps if step not in chosen]
        self.heard += [f"undo {key}" for step in chosen for key in step.claims]
        return []


class FakeRunning:
    """What a supervisor knows of a QEMU that is this very process."""

    def __init__(self, *, is_child: bool = True) -> None:
        self.is_child = is_child
        self.changes = FakeChanges()
        self.process: ProcessId = identify(1)
        self.record = Record(supervisor=self.process, duty=self.duty([]))

    def duty(self, usb: list[UsbDuty]) -> Duty:
        return Duty(
            name="m",
            runtime="/run/m",
            state="/var/m",
            accel="tcg",
            qemu_version="7.2",
            machine_type="pc-q35-7.2",
            machine_file="m.toml",
            vcpus=1,
            memory=1 << 20,
            usb=usb,
        )
