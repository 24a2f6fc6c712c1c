"""Disks and network cards in `qlaunch status`: what they have moved in all, and what they move now."""

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from qlaunch.cli.terminal import short
from qlaunch.run.folder import Record
from qlaunch.run.traffic import CardTraffic, DiskTraffic, card_traffic, disk_traffic, each

_MOMENT_S = 0.2  # over which is measured what is moved now, or longer: as long as the rest of the report takes
_UNCOUNTED = {
    "user": "QEMU does not count its own network",
    "passt": "passt does not count",
    "vf": "a virtual function is the guest's own, the host sees nothing of it",
}


class Traffic:
    """One machine's disks and cards, looked at twice: when this is made, and to measure."""

    def __init__(self, record: Record, *, supervised: bool) -> None:
        self._duty = record.duty
        self._supervised = supervised
        self._first = self._look()

    def _look(self) -> tuple[float, dict[str, DiskTraffic], dict[str, CardTraffic]]:
        disks = disk_traffic(self._duty.socket("control")) if self._supervised else {}
        return time.monotonic(), disks, card_traffic(self._duty.cards)

    def measure(self) -> dict[str, Any]:
        """Give ``disks`` and ``cards``: totals, and ``now`` a second; null for what nobody counts."""
        began, disks, cards = self._first
        if disks or cards:
            time.sleep(max(0.0, began + _MOMENT_S - time.monotonic()))
        ended, disks_now, cards_now = self._look()
        disk_rates, card_rates = each(disks, disks_now, ended - began), each(cards, cards_now, ended - began)
        asdict = msgspec.structs.asdict
        unknown = dict.fromkeys(CardTraffic.__struct_fields__)
        return {
            "disks": {name: {**asdict(disk), "now": disk_rates.get(name)} for name, disk in disks_now.items()},
            "cards": {
                name: {
                    "type": card.type,
                    "link": card.link or None,
                    **(asdict(cards_now[name]) if name in cards_now else unknown),
                    "now": card_rates.get(name),
                }
                for name, card in self._duty.cards.items()
            },
        }


def print_traffic(report: Mapping[str, Any]) -> None:
    """Print a table of the disks and one of the cards."""
    if report["disks"]:
        print(f"  {'disk':<20} {'read':>8} {'written':>8} {'read/s':>8} {'written/s':>10} {'requests/s':>11}")
    for name, disk in report["disks"].items():
        now = disk["now"] or {}
        rates = f"{short(now.get('read')):>8} {short(now.get('written')):>10}"
        requests = now["read_requests"] + now["write_requests"] if now else None
        print(f"  {name:<20} {short(disk['read']):>8} {short(disk['written']):>8} {rates} {short(requests, ' KM'):>11}")
    if report["cards"]:
        print(f"  {'network (the guest)':<20} {'received':>8} {'sent':>8} {'recv/s':>8} {'sent/s':>10}")
    for name, card in report["cards"].items():
        now = card["now"] or {}
        row = f"{short(card['received']):>8} {short(card['sent']):>8}"
        rates = f"{short(now.get('received')):>8} {short(now.get('sent')):>10}"
        why = _UNCOUNTED.get(card["type"], "its link is not to be seen from here") if card["sent"] is None else ""
        place = f"{name}, {card['link'] or card['type']}"
        print(f"  {place:<20} {row} {rates}  {why}".rstrip())
