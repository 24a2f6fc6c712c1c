"""`qlaunch up NAME…`: start machines, in the foreground or detached."""

import argparse

from qlaunch.cli.prepare import insist, plan_for
from qlaunch.cli.terminal import Live
from qlaunch.errors import UsageError
from qlaunch.plan import Plan
from qlaunch.run.detach import start_detached
from qlaunch.run.session import run_machine


def run(options: argparse.Namespace) -> int:
    """Start each machine; several only detached, since one terminal can show one."""
    if len(options.names) > 1 and not options.detach:
        raise UsageError("several machines can only be started with --detach", "add --detach, or start one at a time")
    plans = [plan_for(name, options.overrides) for name in options.names]
    for plan in plans:
        insist(plan)
    if options.detach:
        for plan in plans:
            live = Live(plan.duty.name)
            start_detached(plan, live.say)
        return 0
    return _foreground(plans[0])


def _foreground(plan: Plan) -> int:
    live = Live(plan.duty.name)
    try:
        ending = run_machine(plan, live.say, show=live.show if live.wants_status else None)
    finally:
        live.end()
    return ending.exit_status
