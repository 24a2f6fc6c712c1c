"""The grammar of the command line: every verb with its options, its one sentence and an example."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from qlaunch import __version__
from qlaunch.errors import UsageError

_EPILOG = """\
examples:
  qlaunch run demo --until 'end of report'   boot the built-in demo and print what its guest sees
  qlaunch up gaming                          start a machine; Ctrl-C ends it gracefully
  qlaunch up gaming --detach                 start it and come back once the guest runs
  qlaunch down gaming                        end it, wait until the host is restored

A NAME is a file in ./machines, ~/.config/qlaunch/machines or /etc/qlaunch/machines, or a path to a .toml file.
Exit status: 0 done; 2 machine file or command line wrong; 3 the host cannot; 4 not restored; 5 QEMU failed;
6 the monitor failed; 124 a deadline passed.
"""


class _Parser(argparse.ArgumentParser):
    """argparse, with its complaints made ours."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"see: {self.prog} --help")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read a command line. ``module`` of the result names the file of the verb. Raises UsageError."""
    parser = _Parser(
        prog="qlaunch",
        description="Start QEMU/KVM machines with passed-through hardware; give the host back as it was.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"qlaunch {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", title="verbs", required=True, parser_class=_Parser)

    def verb(name: str, text: str, *options: Callable[[_Parser], None], module: str | None = None) -> None:
        sub = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
        sub.set_defaults(module=module or name, verb=name)
        for add in options:
            add(sub)

    verb("up", "start machines, in the foreground until the guest powers off", _names, _set, _detach)
    verb("down", "end machines gracefully, and wait until the host is restored", _names, _down)
    verb("list", "list machines with state, pid, uptime, CPU and memory", _json, module="list_machines")
    verb("status", "show one machine: threads, pins, where each last ran", _name, _json)
    verb(
        "run",
        "boot headless, wait for a pattern on the serial console, end it",
        _name,
        _set,
        _run,
        _json,
        module="headless",
    )
    verb("plan", "show the argv and every change to the host; change nothing", _name, _set, _json, _host_root)
    verb("argv", "print the QEMU command line, runnable as pasted", _name, _set, _json, _host_root)
    verb("topology", "show packages, caches, cores, and who is pinned where", _named, _json, _host_root)
    verb("groups", "show IOMMU groups with PCI and USB devices and drivers", _json, _host_root)
    verb("console", "talk QMP to a machine: COMMAND key=value, or JSON", _name, _console)
    verb("logs", "print what QEMU and the supervisor said", _name)
    verb("reset", "reset the guest, as the button would", _name, module="quick")
    verb("pause", "pause the guest", _name, module="quick")
    verb("resume", "let a paused guest run on", _name, module="quick")
    verb("powerdown", "press the guest's power button once", _name, module="quick")
    verb("schema", "print the JSON Schema of the machine file")
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and not words[0].startswith("-") and words[0] not in verbs.choices:
        from difflib import get_close_matches  # noqa: PLC0415 - only after a slip

        near = get_close_matches(words[0], verbs.choices, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"there is no verb {words[0]!r}{meant}", "see: qlaunch --help")
    return parser.parse_args(words)


def _name(parser: _Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="a machine, or a path to a .toml file")


def _names(parser: _Parser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="+", help="machines, or paths to .toml files")


def _named(parser: _Parser) -> None:
    text = "machines whose planned pins are shown; without any, those of the running ones"
    parser.add_argument("names", metavar="NAME", nargs="*", help=text)


def _set(parser: _Parser) -> None:
    text = "change one key for this run, e.g. --set cpu.model=max; may be repeated"
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], dest="overrides", help=text)


def _json(parser: _Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, in a documented and stable shape")


def _host_root(parser: _Parser) -> None:
    text = "read the host's facts from a captured tree instead of / (also QLAUNCH_HOST_ROOT)"
    parser.add_argument("--host-root", metavar="DIR", default=None, help=text)


def _detach(parser: _Parser) -> None:
    parser.add_argument("--detach", "-d", action="store_true", help="come back once the guest runs")


def _down(parser: _Parser) -> None:
    text = "seconds that the guest has to power off; default: shutdown.timeout_s of its file"
    parser.add_argument("--timeout", metavar="S", type=_seconds, default=None, help=text)
    parser.add_argument("--force", action="store_true", help="do not ask the guest: quit QEMU at once")


def _run(parser: _Parser) -> None:
    parser.add_argument("--until", metavar="REGEX", help="end with status 0 when a serial line matches")
    parser.add_argument("--timeout", metavar="S", type=_seconds, default=None, help="end with status 124 after so long")
    parser.add_argument("--log", metavar="FILE", help="also write the serial output to a file")


def _console(parser: _Parser) -> None:
    parser.add_argument("-c", "--command", metavar="COMMAND", action="append", default=[], help="run this and leave")
    parser.add_argument("-k", "--keep-going", action="store_true", help="go on after a command that failed")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 10**7:  # also refuses nan
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value
