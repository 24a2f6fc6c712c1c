"""`qlaunch run NAME`: boot headless, do an errand in the guest, end the machine, hand on the guest's own status."""

import argparse
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from qlaunch.cli.guest import writer
from qlaunch.cli.prepare import insist, plan_loaded
from qlaunch.cli.terminal import Live
from qlaunch.errors import DeadlineError, MonitorError, QemuError, UsageError
from qlaunch.host.facts import HostFacts
from qlaunch.host.folders import find_folders
from qlaunch.machine.load import load
from qlaunch.plan import Plan
from qlaunch.run.errand import Copy, Errand, parse_script
from qlaunch.run.serial_talk import compile_pattern

if TYPE_CHECKING:
    from qlaunch.run.headless import Outcome


def run(options: argparse.Namespace) -> int:
    """Run to the errand's end, the power-off or the deadline; the serial output goes to stdout."""
    if options.matrix:
        from qlaunch.cli.matrix import run_matrix  # noqa: PLC0415 - for many machines alone

        return run_matrix(options)
    if not options.name:
        raise UsageError("run wants a NAME, or --matrix FILE.toml", "see: qlaunch run --help")
    errand = _errand(options)
    with ExitStack() as stack:
        plan = _plan(options, errand, stack)
        outcome = _run(plan, errand, options)
    if options.json:
        print(msgspec.json.encode(outcome).decode())
    hint = "keep what it printed with --log FILE" if options.ephemeral else f"see: qlaunch logs {plan.duty.name}"
    match outcome.how:
        case "deadline":
            raise DeadlineError(outcome.sentence, "give it longer with --timeout")
        case "failed":
            raise MonitorError(outcome.sentence)
        case "panicked" | "reset" | "watchdog" | "qemu-died" | "not-matched":
            raise QemuError(outcome.sentence, hint)
        case _:
            return outcome.exit_status


def _plan(options: argparse.Namespace, errand: Errand, stack: ExitStack) -> Plan:
    loaded, folders = load(options.name, options.overrides), find_folders()
    if options.ephemeral:
        from qlaunch.run.overlay import throw_away  # noqa: PLC0415 - few runs want one

        loaded, folders = stack.enter_context(throw_away(loaded, folders))
    plan = plan_loaded(loaded, HostFacts(), folders)
    if options.ephemeral:
        plan = msgspec.structs.replace(plan, duty=msgspec.structs.replace(plan.duty, ephemeral=True))
    insist(plan)
    if not plan.duty.serial and (errand.until or errand.script):
        raise UsageError(f"{plan.duty.name} has no serial port to listen to", "set serial.enabled = true")
    if errand.wants_agent and not plan.duty.agent:
        raise UsageError(f"{plan.duty.name} has no channel for a guest agent", "set agent.enabled = true")
    return plan


def _run(plan: Plan, errand: Errand, options: argparse.Namespace) -> "Outcome":
    from qlaunch.run.headless import Transcript, run_headless  # noqa: PLC0415 - trio, once the plan is sound

    live = Live(plan.duty.name)
    # A command's output alone is the result: what the guest prints while it boots is for --log.
    stream = None if options.json or errand.command else sys.stdout.buffer
    with Transcript(stream, options.log) as transcript:
        outcome = run_headless(plan, live.say, transcript, errand, timeout_s=options.timeout)
    if transcript.lost:
        live.say(f"the log {options.log} is not whole: {transcript.lost.lower()}")
    return outcome


def _errand(options: argparse.Namespace) -> Errand:
    if options.until:
        compile_pattern(options.until)
    aside = sys.stderr.buffer if options.json else sys.stdout.buffer
    return Errand(
        until=options.until or "",
        script=parse_script(options.script) if options.script else (),
        copy_in=[_copy(text, "--copy-in") for text in options.copy_in],
        command=options.command or (),
        environment=options.env,
        copy_out=[_copy(text, "--copy-out") for text in options.copy_out],
        out=writer(aside),
        err=writer(sys.stderr.buffer),
    )


def _copy(text: str, option: str) -> Copy:
    source, colon, target = text.partition(":")
    if not (source and colon and target):
        raise UsageError(f"{option} {text!r} is not FROM:TO", f"example: {option} result.xml:/tmp/result.xml")
    return Copy(source, target)
