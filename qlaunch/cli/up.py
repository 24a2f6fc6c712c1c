"""`qlaunch up NAME…`: start machines, in the foreground or detached."""

import argparse
from collections.abc import Sequence

from qlaunch.cli.machines import tell_left_behind
from qlaunch.cli.new_file import refuse_existing
from qlaunch.cli.prepare import insist, plan_for
from qlaunch.cli.terminal import Live
from qlaunch.cli.timings import show_timings
from qlaunch.errors import QlaunchError, UsageError
from qlaunch.machine.search import machine_name
from qlaunch.plan import Plan
from qlaunch.run.changes import insist_on_root
from qlaunch.run.detach import start_detached, start_side_by_side
from qlaunch.run.session import run_machine


def run(options: argparse.Namespace) -> int:
    """Start each machine; several only detached, since one terminal can show one."""
    if len(options.names) > 1 and not options.detach:
        raise UsageError("several machines can only be started with --detach", "add --detach, or start one at a time")
    tell_left_behind(except_for=set(map(machine_name, options.names)))
    if options.timings:
        refuse_existing(options.timings)
    if options.timings and len(options.names) > 1:
        raise UsageError("one drawing shows one machine", "start one at a time, or give --timings without a file")
    plans = [plan_for(name, options.overrides) for name in options.names]
    for plan in plans:
        insist(plan)
        insist_on_root(plan.duty.name, plan.changes)
    if options.detach:
        _detached(plans, options.timings)
        return 0
    return _foreground(plans[0], options.timings)


def _detached(plans: Sequence[Plan], timings: str | None) -> None:
    """Start each; the failure of the first one in the line that failed is raised, after all were tried."""
    says = [Live(plan.duty.name).say for plan in plans]
    if len(plans) == 1:
        start_detached(plans[0], says[0])
        if timings is not None:
            show_timings(plans[0].duty.name, plans[0].duty.state, timings)
        return
    failures: dict[str, QlaunchError] = {}
    for plan, failure in start_side_by_side(plans, says):
        if failure:
            failures[plan.duty.name] = failure
        elif timings is not None:
            show_timings(plan.duty.name, plan.duty.state, timings)
    failed = [plan.duty.name for plan in plans if plan.duty.name in failures]
    for name in failed[1:]:
        Live(name).say(failures[name].message)
    if failed:
        raise failures[failed[0]]


def _foreground(plan: Plan, timings: str | None) -> int:
    live = Live(plan.duty.name)

    def on_up() -> None:
        if timings is not None:
            show_timings(plan.duty.name, plan.duty.state, timings)

    try:
        ending = run_machine(plan, live.say, show=live.show if live.wants_status else None, on_up=on_up)
    finally:
        live.end()
    return ending.exit_status
