"""What a running machine's disks and network cards have moved since its start.

Disks are counted by QEMU. Network cards are not: what is known of them, the host's own link has counted.

Source: ``qapi/block-core.json`` (query-blockstats); the kernel's ``Documentation/ABI/testing/``
``sysfs-class-net-statistics``, ``drivers/net/tun.c`` (what the guest sends, a tap receives) and
``drivers/net/macvlan.c`` (a macvtap stands on the guest's side of the wire: what it receives, the guest does).
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from qlaunch.duty import CardDuty
from qlaunch.errors import MonitorError
from qlaunch.run.request import execute

ANSWER_S = 2.0
_STATISTICS = "/sys/class/net/{link}/statistics/{way}_bytes"


class DiskTraffic(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes and requests of one disk since the start."""

    read: int
    written: int
    read_requests: int = 0
    write_requests: int = 0


class CardTraffic(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of one network card since its link was made, as its guest sees them."""

    received: int
    sent: int


def disk_traffic(control: str) -> dict[str, DiskTraffic]:
    """Give the traffic of each disk by its device's id."""
    found: dict[str, DiskTraffic] = {}
    with suppress(MonitorError):
        for row in rows(execute(control, "query-blockstats", timeout_s=ANSWER_S)):
            parts = str(row.get("qdev", "")).split("/")
            name = parts[3] if len(parts) > 3 else str(row.get("device") or row.get("node-name") or "?")
            count = row["stats"]
            found[name] = DiskTraffic(
                read=count["rd_bytes"],
                written=count["wr_bytes"],
                read_requests=count["rd_operations"],
                write_requests=count["wr_operations"],
            )
    return found


def card_traffic(cards: Mapping[str, CardDuty], pattern: str = _STATISTICS) -> dict[str, CardTraffic]:
    """Give the traffic of each card that a link of this host counts, by its id."""
    found: dict[str, CardTraffic] = {}
    for name, card in cards.items():
        with suppress(OSError, ValueError):  # the link is gone, or in another network namespace
            if card.link:
                came, went = (_count(pattern.format(link=card.link, way=way)) for way in ("rx", "tx"))
                theirs = (came, went) if card.type == "macvtap" else (went, came)
                found[name] = CardTraffic(received=theirs[0], sent=theirs[1])
    return found


def each(
    first: Mapping[str, DiskTraffic] | Mapping[str, CardTraffic],
    second: Mapping[str, DiskTraffic] | Mapping[str, CardTraffic],
    seconds: float,
) -> dict[str, dict[str, float]]:
    """Give the rates of each disk, or card, that is in both; what was counted anew meanwhile is 0."""
    return {
        name: {
            field: max(0, getattr(now, field) - getattr(first[name], field)) / max(seconds, 1e-6)
            for field in now.__struct_fields__
        }
        for name, now in second.items()
        if name in first
    }


def _count(path: str) -> int:
    with open(path, encoding="ascii") as file:
        return int(file.read())


def rows(told: object) -> list[Mapping[str, Any]]:
    """Give what QEMU lists."""
    return told if isinstance(told, list) else []
