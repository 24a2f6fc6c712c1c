"""`qlaunch schema`: the JSON Schema of the machine file."""

import argparse

import msgspec

from qlaunch.machine.schema import schema


def run(options: argparse.Namespace) -> int:
    """Print the schema."""
    del options
    print(msgspec.json.format(msgspec.json.encode(schema()), indent=2).decode())
    return 0
