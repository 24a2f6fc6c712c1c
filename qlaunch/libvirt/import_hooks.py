"""What hook scripts say of a machine, laid into the draft that its domain has become.

A hook gives no device to a guest: a card that a script only takes from its driver is told, and not handed over. What
the domain says itself holds.
"""

from collections.abc import Iterator
from typing import Any

from qlaunch.errors import Problem
from qlaunch.libvirt.hooks import Hooks
from qlaunch.libvirt.import_draft import Draft, Table

# Keys that name a virtual function in the machine file; a domain knows its address alone.
_VF_KEYS = ("vlan", "vlan_qos", "vlan_protocol", "trust", "spoofchk", "link_state", "max_tx_mbps", "mac")


def lay_hooks(draft: Draft, made: Hooks) -> list[Problem]:
    """Lay keys and hooks into the draft. Give the findings of the scripts, and of what did not fit the domain."""
    told = list(made.findings)
    for section, value in made.keys.items():
        match section:
            case "pci":
                told += _cards(draft, value)
            case "network":
                told += _functions(draft, value)
            case _:
                _merge(draft.tables.setdefault(section, {}), value)
    if made.hooks:
        draft.tables["hook"] = made.hooks
    return told


def _merge(table: Table, other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(table.get(key), dict):
            _merge(table[key], value)
        else:
            table.setdefault(key, value)


def _cards(draft: Draft, wanted: list[Table]) -> Iterator[Problem]:
    """Tell of cards that are taken from their drivers, and that no element of the domain hands over."""
    known = {_slot(row["host"]) for row in (*_rows(draft, "pci"), *_rows(draft, "network")) if row.get("host")}
    for card in wanted:
        if _slot(card["host"]) not in known:
            message = f"{card['host']} is taken from its driver by a script, and the domain does not hand it over"
            yield _finding("pci", message, f'if it shall: [[pci]] with host = "{card["host"]}"')


def _functions(draft: Draft, wanted: list[Table]) -> Iterator[Problem]:
    """Join what a script sets of a virtual function with the card that it must be."""
    cards = [(number, row) for number, row in enumerate(_rows(draft, "network")) if row.get("type") == "vf"]
    for settings in wanted:
        same = [card for card in cards if settings.get("mac") and card[1].get("mac") == settings["mac"]]
        mine = same or (cards if len(cards) == 1 == len(wanted) else [])
        if not mine:
            shown = ", ".join(f"{key} = {value}" for key, value in settings.items() if key != "type")
            message = (
                f"which card of the domain is this virtual function of {settings.get('pf')}? The script sets {shown}"
            )
            yield _finding("network", message, "write these into its [[network]], in the place of host")
            continue
        row = mine[0][1]
        row.pop("host", None)
        row |= {"pf": settings["pf"], "vf": settings["vf"]}
        row |= {key: settings[key] for key in _VF_KEYS if key in settings and key not in row}


def _rows(draft: Draft, section: str) -> list[Table]:
    rows: list[Table] = draft.tables.get(section, [])
    return rows


def _slot(host: str) -> str:
    return host.removeprefix("0000:").partition(".")[0]


def _finding(key: str, message: str, hint: str) -> Problem:
    return Problem(code="hook-unmatched", key=key, message=message, hint=hint, severity="warning")
