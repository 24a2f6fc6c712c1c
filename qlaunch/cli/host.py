"""Which host a verb looks at: this one, or the one that --host-root names.

Must not: import what plans a machine; verbs that only look start faster without it.
"""

import argparse
import os

from qlaunch.errors import UsageError
from qlaunch.host.facts import HostFacts
from qlaunch.host.tree import Tree


def host_facts(options: argparse.Namespace, *, record: bool = False, private: bool = False) -> HostFacts:
    """Give the facts of this host, or of a captured one. Raises UsageError, HostError."""
    root: str = options.host_root or os.environ.get("QLAUNCH_HOST_ROOT") or "/"
    if not os.path.exists(root):
        raise UsageError(f"--host-root {root}: there is no such folder or archive")
    return HostFacts(Tree(root, record=record, private=private))
