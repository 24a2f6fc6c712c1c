"""`qlaunch run NAME`: boot headless, wait for a pattern on the serial console, end the machine."""

import argparse
import re
import sys

import msgspec

from qlaunch.cli.prepare import insist, plan_for
from qlaunch.cli.terminal import Live
from qlaunch.errors import DeadlineError, QemuError, UsageError


def run(options: argparse.Namespace) -> int:
    """Run to the pattern, the power-off or the deadline; the serial output goes to stdout."""
    try:
        pattern = re.compile(options.until) if options.until else None
    except re.error as error:
        raise UsageError(f"--until {options.until!r} is not a regular expression: {error}") from error
    plan = plan_for(options.name, options.overrides)
    insist(plan)
    if not plan.duty.serial:
        raise UsageError(f"{plan.duty.name} has no serial port to listen to", "set serial.enabled = true")
    from qlaunch.run.headless import Transcript, run_headless  # noqa: PLC0415 - trio, once the plan is sound

    live = Live(plan.duty.name)
    with Transcript(None if options.json else sys.stdout.buffer, options.log) as transcript:
        outcome = run_headless(plan, live.say, transcript, pattern=pattern, timeout_s=options.timeout)
    if transcript.lost:
        live.say(f"the log {options.log} is not whole: {transcript.lost.lower()}")
    if options.json:
        print(msgspec.json.encode(outcome).decode())
    match outcome.how:
        case "deadline":
            raise DeadlineError(outcome.sentence, "give it longer with --timeout")
        case "panicked" | "reset" | "qemu-died" | "not-matched":
            raise QemuError(outcome.sentence, f"see: qlaunch logs {plan.duty.name}")
        case _:
            return 0
