"""The packet filter by netlink: one table of ours, in which addresses of guests are translated.

Owns: the expressions of its one rule. Must not: look at anybody else's table.

Source: ``nft(8)``; the kernel's ``include/uapi/linux/netfilter/nf_tables.h`` (NFTA_*), ``nf_tables_api.c``: a table is
deleted with all that it has; libnftnl's ``include/libnftnl/udata.h`` for a rule's comment.
"""

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from qlaunch.steps.pyroute import netlink_error, nftables_socket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyroute2.nftables.main import NFTables

_CHAIN = "postrouting"
_SRCNAT = 100  # NF_IP_PRI_NAT_SRC
_NETWORK_HEADER, _SOURCE = 1, 12  # of an IPv4 packet
_OIFNAME, _EQUAL, _UNEQUAL = 7, 0, 1
_NAME_BYTES = 16  # IFNAMSIZ


class Nftables(Protocol):
    """What steps do with the packet filter. Each raises OSError with the table's name as its file name."""

    def comment(self, table: str) -> str | None:
        """Give the comment of a table's last rule; empty where it has no rule, None where there is no such table."""

    def make_masquerade(self, table: str, network: str, bridge: str, comment: str) -> None:
        """Make a table that gives packets from a network the host's address where they leave it by another link."""

    def remove(self, table: str) -> None:
        """Remove a table."""


class LocalNftables:
    """The packet filter of this computer."""

    def comment(self, table: str) -> str | None:
        """See Nftables."""
        with _about(table) as nft:
            if all(one.get_attr("NFTA_TABLE_NAME") != table for one in nft.get_tables()):
                return None
            rules = [rule for rule in nft.get_rules() if rule.get_attr("NFTA_RULE_TABLE") == table]
            comments = [rule.get_attr("NFTA_RULE_USERDATA") for rule in rules]
            return str(comments[-1]) if comments and comments[-1] else ""

    def make_masquerade(self, table: str, network: str, bridge: str, comment: str) -> None:
        """See Nftables."""
        with _about(table) as nft:
            nft.table("create", name=table)
            nft.chain("add", table=table, name=_CHAIN, hook="postrouting", type="nat", priority=_SRCNAT)
            words = (_from_network(network), _not_to(bridge), [_expression("masq")])
            nft.rule("add", table=table, chain=_CHAIN, expressions=words, userdata={"value": comment})

    def remove(self, table: str) -> None:
        """See Nftables."""
        with _about(table) as nft:
            nft.table("del", name=table)


@contextmanager
def _about(table: str) -> "Iterator[NFTables]":
    try:
        nft = nftables_socket()()
        try:
            yield nft
        finally:
            nft.close()
    except netlink_error() as error:
        raise OSError(error.code, os.strerror(error.code), f"nftables table {table}") from error


def _from_network(network: str) -> list[Any]:
    address, _, prefix = network.partition("/")
    wanted = bytes(map(int, address.split(".")))
    mask = (0xFFFFFFFF << (32 - int(prefix)) & 0xFFFFFFFF).to_bytes(4, "big")
    return [
        _expression("payload", dreg=1, base=_NETWORK_HEADER, offset=_SOURCE, len=4),
        _expression("bitwise", sreg=1, dreg=1, len=4, mask=_data(mask), xor=_data(bytes(4))),
        _expression("cmp", sreg=1, op=_EQUAL, data=_data(wanted)),
    ]


def _not_to(link: str) -> list[Any]:
    return [
        _expression("meta", key=_OIFNAME, dreg=1),
        _expression("cmp", sreg=1, op=_UNEQUAL, data=_data(link.encode().ljust(_NAME_BYTES, b"\0"))),
    ]


def _expression(name: str, **values: object) -> dict[str, object]:
    attributes = [(f"NFTA_{name}_{key}".upper(), value) for key, value in values.items()]
    return {"attrs": [("NFTA_EXPR_NAME", name), ("NFTA_EXPR_DATA", {"attrs": attributes})]}


def _data(value: bytes) -> dict[str, object]:
    return {"attrs": [("NFTA_DATA_VALUE", value)]}
