"""`qlaunch capture FILE.tar.gz [NAME…]`: the facts of this host as one file, to plan elsewhere or to report a bug."""

import argparse
import os
from contextlib import suppress

import msgspec

from qlaunch.capture import Contents, capture
from qlaunch.cli.host import host_facts
from qlaunch.cli.machines import running_pins
from qlaunch.cli.new_file import refuse_existing, write_new
from qlaunch.cli.terminal import say_hint
from qlaunch.errors import MachineError
from qlaunch.host.archive import pack
from qlaunch.host.folders import find_folders
from qlaunch.host.redaction import Redaction, serial_numbers
from qlaunch.host.tree import Tree
from qlaunch.machine.load import Loaded, load
from qlaunch.machine.search import known_names


def run(options: argparse.Namespace) -> int:
    """Write the capture; a file that exists is kept."""
    refuse_existing(options.file)
    facts = host_facts(options, record=True, private=options.private)
    live = facts.tree.live
    machines = [load(name) for name in options.names] if options.names or not live else _own_machines()
    pins = {name: msgspec.Raw(msgspec.json.encode(one)) for name, one in running_pins().items()} if live else {}
    contents = capture(facts, machines, find_folders(), pins)
    hidden = 0
    if not options.private:
        redaction = Redaction(serial_numbers(Tree(facts.tree.root)))
        contents = redacted(contents, redaction)
        hidden = redaction.count
    archive = pack(*contents)
    write_new(options.file, archive)
    print(f"{options.file}: {len(contents[0]) + len(contents[1])} files and links, {(len(archive) + 1023) >> 10} KiB")
    if hidden:
        say_hint(f"{hidden} serial numbers, MAC addresses and UUIDs have stand-ins; --private keeps them")
    if live and os.geteuid():
        say_hint("as root it also has what root alone may read, such as who holds which memory")
    return 0


def _own_machines() -> list[Loaded]:
    """Load every machine of the search path; one that is wrong has told so elsewhere, and is left out."""
    machines = []
    for name in known_names():
        with suppress(MachineError):
            machines.append(load(name))
    return machines


def redacted(contents: Contents, redaction: Redaction) -> Contents:
    """Give the same contents with stand-ins, in names as well as in texts."""
    files, links, folders = contents
    return (
        {redaction(path): text and redaction(text) for path, text in files.items()},
        {redaction(path): redaction(target) for path, target in links.items()},
        tuple(map(redaction, folders)),
    )
