"""`qlaunch topology [NAME…]`: the host's packages, caches, cores and threads, and who is pinned where."""

import argparse
from collections.abc import Iterator
from typing import Any

import msgspec

from qlaunch.cli.host import host_facts
from qlaunch.cli.new_file import write_new
from qlaunch.cli.prepare import pins_of, plan_for
from qlaunch.cli.terminal import bold
from qlaunch.cli.topology_layout import Core, node_line, offline_cpus, packages, uses
from qlaunch.duty import Pins
from qlaunch.errors import HostError
from qlaunch.host.cpus import CpuFacts
from qlaunch.host.facts import HostFacts

_NO_CPUS = "this host does not say what CPUs it has (there is no /sys/devices/system/cpu)"


def run(options: argparse.Namespace) -> int:
    """Print the picture, or the documented JSON shape."""
    host = host_facts(options)
    planned = (plan_for(name, [], host).duty for name in options.names)
    pins = {duty.name: duty.pins for duty in planned} or pins_of(host.tree)
    if options.svg:
        _draw(options.svg, host, pins)
    if options.json:
        print(msgspec.json.encode(as_json(host)).decode())
    if options.svg or options.json:
        return 0
    if not host.cpus.cpus:
        print(_NO_CPUS)
        return 0
    for line in picture(host.cpus, pins):
        print(line)
    for node in host.memory.nodes:
        print(node_line(node))
    return 0


def _draw(file: str, host: HostFacts, pins: dict[str, Pins]) -> None:
    """Write a drawing. Raises UsageError, HostError."""
    from qlaunch.cli.topology_svg import drawing  # noqa: PLC0415 - for --svg alone

    if not host.cpus.cpus:
        raise HostError(f"{file} is not written: {_NO_CPUS}", "run qlaunch on the host itself")
    write_new(file, drawing(host.cpus, host.memory.nodes, pins).encode())


def as_json(host: HostFacts) -> dict[str, Any]:
    """Give the documented shape, with the kernel's own CPU numbers."""
    cpus = [
        {
            "cpu": cpu.cpu,
            "core": cpu.core,
            "socket": cpu.socket,
            "die": cpu.die,
            "node": cpu.node,
            "l3": cpu.l3,
            "siblings": list(cpu.siblings),
            "online": cpu.online,
            "max_khz": cpu.max_khz,
            "class": cpu.kind,
        }
        for cpu in host.cpus.cpus
    ]
    nodes = [
        {
            "node": node.node,
            "cpus": str(node.cpus),
            "memory_total": node.memory_total,
            "memory_free": node.memory_free,
            "hugepages": [
                {"page_size": pool.page_size, "total": pool.total, "free": pool.free} for pool in node.hugepages
            ],
        }
        for node in host.memory.nodes
    ]
    return {"cpus": cpus, "nodes": nodes}


def picture(facts: CpuFacts, pins: dict[str, Pins]) -> Iterator[str]:
    """Yield the lines: a package, its L3 domains, their cores with their threads, and what is pinned to them."""
    for package in packages(facts):
        yield bold(package.title)
        for domain in package.domains:
            yield f"  {domain.title}"
            for core in domain.cores:
                yield _core_line(core, pins)
    if offline := offline_cpus(facts):
        yield f"offline: CPU {offline}"


def _core_line(core: Core, pins: dict[str, Pins]) -> str:
    numbers = ",".join(str(cpu.cpu) for cpu in core.cpus)
    marks = f" {core.marks}" if core.marks else ""
    here = {cpu.cpu for cpu in core.cpus}
    users = "; ".join(f"{name}: {', '.join(found)}" for name, pin in pins.items() if (found := [*uses(pin, here)]))
    return f"    core {'?' if core.number is None else core.number:<4} CPU {numbers:<10}{marks} {users}".rstrip()
