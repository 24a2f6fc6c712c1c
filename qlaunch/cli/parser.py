"""The grammar of the command line: every verb with its options, its one sentence and an example."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from qlaunch import __version__
from qlaunch.cli import parser_live
from qlaunch.errors import UsageError

_EPILOG = """\
examples:
  qlaunch run demo --until 'end of report'   boot the built-in demo and print what its guest sees
  qlaunch up gaming                          start a machine; Ctrl-C ends it gracefully
  qlaunch down gaming                        end it, wait until the host is restored

A NAME is a file in ./machines, ~/.config/qlaunch/machines or /etc/qlaunch/machines, or a path to a .toml file.
Exit status: 0 done; 2 machine file or command line wrong; 3 the host cannot; 4 not restored; 5 QEMU failed;
6 the monitor failed; 124 a deadline passed.
"""


class _Parser(argparse.ArgumentParser):
    """argparse, with its complaints made ours."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"see: {self.prog} --help")


class _Formatter(argparse.HelpFormatter):
    """argparse's help. It is made for each option, so the width is found out without shutil, which takes 2 ms."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


class _Help(argparse.RawDescriptionHelpFormatter):
    """The same, with the longest verb and its sentence on one line."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=16, width=_columns() - 2)
        self._action_max_length = 14  # argparse itself forgets how far verbs are indented


def _columns() -> int:
    """Give the terminal's width, as shutil.get_terminal_size does."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told):
        return int(told)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read a command line. ``module`` of the result names the file of the verb. Raises UsageError."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser, verbs = build(only=words[0] if words else "")
    if not verbs.choices:
        parser, verbs = build()
    if words and not words[0].startswith("-") and words[0] not in verbs.choices:
        from difflib import get_close_matches  # noqa: PLC0415 - only after a slip

        near = get_close_matches(words[0], verbs.choices, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"there is no verb {words[0]!r}{meant}", "see: qlaunch --help")
    # What follows -- is the guest's; argparse would give it to the first positional before an option.
    cut = words.index("--") if words[:1] in (["exec"], ["run"]) and "--" in words else len(words)
    options = parser.parse_args(words[:cut])
    if words[cut + 1 :]:
        options.command = [*(getattr(options, "command", None) or ()), *words[cut + 1 :]]
    return options


def build(only: str | None = None) -> "tuple[_Parser, argparse._SubParsersAction[Any]]":
    """Make the grammar, and its verbs: help, completion and the manual page are made of it.

    All of it takes 6 ms, so that one that is to be used gets ``only`` its verb.
    """
    parser = _Parser(
        prog="qlaunch",
        description="Start QEMU/KVM machines with passed-through hardware; give the host back as it was.",
        epilog=_EPILOG,
        usage="qlaunch [--help] [--version] VERB …",
        formatter_class=_Help,
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("-h", "--help", action="help", help=argparse.SUPPRESS)
    version = f"qlaunch {__version__}"
    parser.add_argument("--version", action="version", version=version, help=argparse.SUPPRESS)
    verbs = parser.add_subparsers(metavar="VERB", title="verbs", required=True, parser_class=_Parser, prog="qlaunch")

    def verb(
        name: str, text: str, *options: Callable[[_Parser], None], module: str | None = None, listed: str = ""
    ) -> None:
        """Add one; ``listed`` stands in the list of verbs, "-" keeps it out, since another line names it."""
        if only is not None and name != only:
            return
        about: dict[str, Any] = {} if listed == "-" else {"help": listed or text}
        about |= {"description": text[0].upper() + text[1:] + ".", "formatter_class": _Formatter}
        sub = verbs.add_parser(name, **about, allow_abbrev=False)
        sub.set_defaults(module=module or name, verb=name)
        for add in options:
            add(sub)

    _add_verbs(verb)
    return parser, verbs


def _add_verbs(verb: Callable[..., None]) -> None:
    verb("up", "start machines, in the foreground until the guest powers off", _names, _set, _detach, _timings)
    verb("down", "end machines gracefully, and wait until the host is restored", _names, _down, _timings)
    verb("recover", "undo what machines left behind that were killed", _all_names)
    verb("list", "list machines with state, pid, uptime, CPU and memory", _json, module="list_machines")
    verb("status", "show one machine: threads, pins, where each last ran", _name, _json, _journal)
    verb("top", "show running machines and what they use, again and again", _named_running, _top, _json)
    text = "boot headless, do an errand in the guest, hand on its status"
    verb("run", text, _set, _run, _json, module="headless")
    verb("plan", "show the argv and every change to the host; change nothing", _name, _set, _json, _host_root)
    verb("argv", "print the QEMU command line, runnable as pasted", _name, _set, _json, _host_root)
    verb("check", "say whether this host is ready, and a machine sane on it", _check, _set, _json, _host_root)
    verb("jitter", "measure how calm a machine's CPUs are, with its own settings", _name, _jitter, _set, _json)
    verb("topology", "show packages, caches, cores, and who is pinned where", _named, _topology, _json, _host_root)
    verb("groups", "show IOMMU groups with PCI and USB devices and drivers", _json, _host_root)
    verb("capture", "pack this host's facts into one file, for plans elsewhere", _capture, _host_root)
    verb("console", "talk QMP to a machine: COMMAND key=value, or JSON", _name, _console)
    verb("serial", "connect to the serial console; Ctrl-] has a menu, twice leaves", _name, _serial)
    text = "run a command in the guest, by its agent; shell opens one"
    verb(
        "exec",
        "run a command in the guest through its agent: NAME -- COMMAND…",
        _name,
        _exec,
        module="guest",
        listed=text,
    )
    verb("cp", "copy a file between this host and a guest, through its agent", _cp, module="guest")
    verb("shell", "open a shell in the guest through its agent; Ctrl-] leaves", _name, module="guest", listed="-")
    verb("logs", "print what QEMU and the supervisor said", _name)
    text = "reset the guest; the same way: pause, resume, powerdown"
    verb("reset", "reset the guest, as the button would", _name, module="quick", listed=text)
    verb("pause", "pause the guest", _name, module="quick", listed="-")
    verb("resume", "let a paused guest run on", _name, module="quick", listed="-")
    verb("powerdown", "press the guest's power button once", _name, module="quick", listed="-")
    usb = "give it a USB or PCI device; detach takes it back"
    verb("attach", "give a USB or PCI device to a running machine, for this run", _name, _usb_device, listed=usb)
    verb(
        "detach",
        "take a USB or PCI device from a running machine, for the host",
        _name,
        _usb_device,
        module="attach",
        listed="-",
    )
    parser_live.add_verbs(verb, _name)
    text = "turn libvirt domain XML into a machine file, and tell what became of each element"
    listed = "turn libvirt domain XML into a machine file"
    verb("import", text, _import, _json, _host_root, module="import_xml", listed=listed)
    verb("export", "print a machine as libvirt domain XML", _name, _set, _export, _json, _host_root)
    verb("rom", "dump, check or trim a card's option ROM", _rom, _json)
    text = "print completion for a shell; man prints the manual page"
    verb("completion", "print the completion of a shell", _completion, listed=text)
    verb("man", "print the manual page, for man -l -", listed="-")
    verb("schema", "print the JSON Schema of the machine file")


def _name(parser: _Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="a machine, or a path to a .toml file")


def _names(parser: _Parser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="+", help="machines, or paths to .toml files")


def _all_names(parser: _Parser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="*", help="machines; default: all that left something")


def _named(parser: _Parser) -> None:
    text = "machines whose planned pins are shown; without any, those of the running ones"
    parser.add_argument("names", metavar="NAME", nargs="*", help=text)


def _named_running(parser: _Parser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="*", help="machines; default: all that run")


def _top(parser: _Parser) -> None:
    parser.add_argument("--interval", metavar="S", type=_seconds, default=2.0, help="seconds between two; default: 2")
    parser.add_argument(
        "-n", "--count", metavar="N", type=_count, default=0, help="so many times; default: until Ctrl-C"
    )


def _topology(parser: _Parser) -> None:
    parser.add_argument("--svg", metavar="FILE.svg", help="write a new file with a drawing instead of printing")


def _set(parser: _Parser) -> None:
    text = "change one key for this run, e.g. --set cpu.model=max; may be repeated"
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], dest="overrides", help=text)


def _json(parser: _Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, in a documented and stable shape")


def _journal(parser: _Parser) -> None:
    parser.add_argument("--journal", action="store_true", help="what it has changed on this host, from its journal")


def _host_root(parser: _Parser) -> None:
    text = "read the host's facts from a capture, packed or not, instead of / (also QLAUNCH_HOST_ROOT)"
    parser.add_argument("--host-root", metavar="ROOT", default=None, help=text)


def _detach(parser: _Parser) -> None:
    parser.add_argument("--detach", "-d", action="store_true", help="come back once the guest runs")


def _timings(parser: _Parser) -> None:
    text = "say what took how long, each step of the host's too; with a name, also as a drawing in a new file"
    parser.add_argument("--timings", metavar="FILE.svg", nargs="?", const="", default=None, help=text)


def _down(parser: _Parser) -> None:
    text = "seconds that the guest has to power off; default: shutdown.timeout_s of its file"
    parser.add_argument("--timeout", metavar="S", type=_seconds, default=None, help=text)
    parser.add_argument("--force", action="store_true", help="do not ask the guest: quit QEMU at once")


def _run(parser: _Parser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="a machine, or a path to a .toml file")
    parser.add_argument("command", metavar="COMMAND", nargs="*", help="run this through the guest agent, after --")
    parser.add_argument("--until", metavar="REGEX", help="wait for it on the serial port first; alone, end there")
    parser.add_argument(
        "--script", metavar="FILE", help="lines of expect, send, status and timeout, for the serial port"
    )
    text = "copy a file in before, or out after the command, through the guest agent; may be repeated"
    parser.add_argument("--copy-in", metavar="FROM:TO", action="append", default=[], help=text)
    parser.add_argument("--copy-out", metavar="FROM:TO", action="append", default=[], help="see --copy-in")
    parser.add_argument("-e", "--env", metavar="NAME=VALUE", action="append", default=[], help="set it for the command")
    parser.add_argument("--ephemeral", action="store_true", help="on overlays that are thrown away: no disk is changed")
    parser.add_argument("--timeout", metavar="S", type=_seconds, default=None, help="end with status 124 after so long")
    parser.add_argument("--log", metavar="FILE", help="also write the serial output to a file")
    parser.add_argument("--matrix", metavar="FILE.toml", help="many machines, some at once, by a file of cases")
    parser.add_argument("--junit", metavar="FILE.xml", help="with --matrix: write a JUnit report")
    parser.epilog = "Example: qlaunch run headless --ephemeral --timeout 600 -- systemctl is-system-running --wait"


def _check(parser: _Parser) -> None:
    text = "a machine, or a path to a .toml file; without it, the host in general"
    parser.add_argument("name", metavar="NAME", nargs="?", default=None, help=text)
    parser.epilog = (
        "Status 0: no error or warning; 1: at least one; 2: none, but something could not be measured, or the machine "
        "file is wrong."
    )


def _jitter(parser: _Parser) -> None:
    parser.add_argument("--seconds", metavar="S", type=_run_seconds, default=10, help="length of a run; default: 10")
    text = "as many busy tasks on the host meanwhile, and one that writes and syncs; default: 0"
    parser.add_argument("--load", metavar="N", type=_few, default=0, help=text)
    text = "run in turn: nothing, pins alone, pins and shield, all of its settings; print the ratios"
    parser.add_argument("--compare", action="store_true", help=text)
    parser.add_argument("--svg", metavar="FILE", help="draw the distributions, one above the other")


def _capture(parser: _Parser) -> None:
    parser.add_argument("file", metavar="FILE.tar.gz", help="the file to write; one that exists is kept")
    text = "machines whose disks, programs and so on are looked for too; default: all of this host"
    parser.add_argument("names", metavar="NAME", nargs="*", default=[], help=text)
    text = "keep serial numbers, MAC addresses and UUIDs, instead of stand-ins"
    parser.add_argument("--private", action="store_true", help=text)


def _usb_device(parser: _Parser) -> None:
    text = "USB: what it is, 046d:c547, or its port, 1-2.1; PCI: its slot, 0b:00 (see: qlaunch groups)"
    parser.add_argument("device", metavar="DEVICE", help=text)


def _import(parser: _Parser) -> None:
    text = "what `virsh dumpxml --inactive NAME` prints; - for standard input"
    parser.add_argument("file", metavar="FILE.xml", nargs="?", default=None, help=text)
    text = "write a new machine file instead of printing it; NAME is the machine's name"
    parser.add_argument("-o", "--output", metavar="NAME.toml", help=text)
    text = "a folder of libvirt's hook scripts, such as /etc/libvirt/hooks: what they do becomes keys and hooks"
    parser.add_argument("--hooks", metavar="DIR", help=text)
    parser.add_argument("--from-virsh", metavar="NAME", default=None, help="ask virsh for a domain of this host")
    parser.add_argument("--force", action="store_true", help="replace the file that -o names")


def _export(parser: _Parser) -> None:
    parser.add_argument("-o", "--output", metavar="FILE.xml", help="write a new file instead of printing")
    text = "the libvirt that is to read it, e.g. 9.0; default: the newest that qlaunch knows"
    parser.add_argument("--libvirt", metavar="VERSION", help=text)


def _console(parser: _Parser) -> None:
    parser.add_argument("-c", "--command", metavar="COMMAND", action="append", default=[], help="run this and leave")
    parser.add_argument("-k", "--keep-going", action="store_true", help="go on after a command that failed")
    parser.add_argument("-p", "--plain", action="store_true", help="answers and events as JSON, each on one line")
    parser.add_argument("-H", "--hmp", action="store_true", help="every line is for the human monitor")
    parser.add_argument("-v", "--verbose", action="store_true", help="show what is sent and received, on stderr")
    parser.add_argument("-l", "--log", metavar="FILE", help="append what is sent and received to a file")
    parser.add_argument("-w", "--watch", action="store_true", help="events only, until the machine ends or Ctrl-C")
    text = "only these events, e.g. 'BLOCK_*' or '!RTC_CHANGE'; may be repeated"
    parser.add_argument("-e", "--events", metavar="PATTERN", action="append", default=[], help=text)
    parser.epilog = (
        "Example: qlaunch console gaming -c query-status. Piped input is a script: the first failure ends it."
    )


def _exec(parser: _Parser) -> None:
    text = "give the command this standard input, as it comes (in Windows whole, at most 32 MiB)"
    parser.add_argument("-i", "--interactive", action="store_true", help=text)
    text = "run it in a terminal, as shell does (-it is the same); Ctrl-] leaves"
    parser.add_argument("-t", "--tty", action="store_true", help=text)
    parser.add_argument("-d", "--detach", action="store_true", help="start it and come back; its output goes nowhere")
    parser.add_argument("-e", "--env", metavar="NAME=VALUE", action="append", default=[], help="set it for the command")
    parser.add_argument("-u", "--user", metavar="USER", help="as this user of the guest, by its su")
    parser.add_argument("-w", "--workdir", metavar="DIR", help="in this folder of the guest")
    parser.add_argument("--timeout", metavar="S", type=_seconds, default=None, help="end with status 124 after so long")
    parser.add_argument("command", metavar="COMMAND", nargs="*", help="the command and its arguments, after --")
    parser.epilog = (
        "Example: tar c src | qlaunch exec headless -i -- tar x -C /srv. The exit status is the command's own."
    )


def _cp(parser: _Parser) -> None:
    parser.add_argument("source", metavar="FROM", help="NAME:PATH in a guest, a file of this host, or -")
    parser.add_argument("target", metavar="TO", help="the same; a folder takes the file's own name")
    parser.epilog = (
        "Example: qlaunch cp headless:/var/log/syslog . Several files: "
        "qlaunch exec headless -- tar c -C /var log | tar x"
    )


def _completion(parser: _Parser) -> None:
    parser.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "fish", "words"), help="bash, zsh or fish")
    parser.add_argument("words", metavar="WORD", nargs="*", help="what is typed already: the scripts ask so")
    parser.epilog = "Example: source <(qlaunch completion bash)"


def _serial(parser: _Parser) -> None:
    parser.add_argument("--log", metavar="FILE", help="also append what the guest prints to a file")
    text = "first show so many lines of what was printed before; default: 200"
    parser.add_argument("-n", "--lines", metavar="N", type=_count, default=200, help=text)
    parser.add_argument("-r", "--read-only", action="store_true", help="only read, and leave the keyboard to others")
    parser.epilog = "Ctrl-], then: q leaves, b sends a break, l logs, w tells the guest the window's size."


def _rom(parser: _Parser) -> None:
    parser.add_argument("what", choices=("dump", "check", "trim"), help="dump ADDRESS FILE; check FILE; trim FILE FILE")
    parser.add_argument("source", metavar="SOURCE", help="the PCI address of a function, or a file")
    parser.add_argument("target", metavar="FILE", nargs="?", help="the file to write; one that exists is kept")
    parser.add_argument("--id", metavar="VENDOR:DEVICE", help="the card that it is for, e.g. 1002:73bf")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return int(text)


def _run_seconds(text: str) -> int:
    return _whole(text, 1, 3600, "whole number of seconds up to 3600")


def _few(text: str) -> int:
    return _whole(text, 0, 1024, "number of tasks up to 1024")


def _whole(text: str, least: int, most: int, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 8 and least <= int(text) <= most):
        raise argparse.ArgumentTypeError(f"{text!r} is not a {what}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 10**7:  # also refuses nan
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value
