"""What the guest agent tells of its guest: system, host name, addresses. Blocking, and not for long.

Source: QEMU's ``qga/qapi-schema.json`` (guest-get-osinfo, guest-get-host-name, guest-network-get-interfaces).
"""

from contextlib import suppress
from typing import Any

from qlaunch.duty import Duty
from qlaunch.errors import CommandError, QlaunchError
from qlaunch.run.guest_agent import GuestAgent, Turn


def guest_facts(duty: Duty) -> dict[str, Any]:
    """Give ``os``, ``host_name`` and ``addresses`` by interface, as far as the agent answers."""
    facts: dict[str, Any] = {}
    with suppress(QlaunchError), GuestAgent(duty).turn() as turn:
        system = _ask(turn, "guest-get-osinfo")
        if isinstance(system, dict):
            facts["os"] = system.get("pretty-name") or system.get("name") or system.get("id")
        name = _ask(turn, "guest-get-host-name")
        if isinstance(name, dict):
            facts["host_name"] = name.get("host-name")
        interfaces = _ask(turn, "guest-network-get-interfaces")
        facts["addresses"] = {
            one["name"]: [address["ip-address"] for address in one.get("ip-addresses", [])]
            for one in (interfaces if isinstance(interfaces, list) else [])
        }
    return facts


def _ask(turn: Turn, command: str) -> object:
    try:
        return turn.ask(command)
    except CommandError:  # an old agent, or one that may not tell
        return None
