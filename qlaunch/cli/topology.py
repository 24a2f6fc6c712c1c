"""`qlaunch topology [NAME…]`: the host's packages, caches, cores and threads, and who is pinned where."""

import argparse
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import msgspec

from qlaunch.cli.machines import all_running, running
from qlaunch.cli.prepare import host_root, plan_for
from qlaunch.cli.terminal import bold
from qlaunch.duty import Pins
from qlaunch.host.cpus import Cpu, CpuFacts
from qlaunch.host.facts import HostFacts
from qlaunch.host.numa import Node
from qlaunch.host.tree import Tree
from qlaunch.values.cpus import CpuSet
from qlaunch.values.size import Size


def run(options: argparse.Namespace) -> int:
    """Print the picture, or the documented JSON shape."""
    root = host_root(options)
    host = HostFacts(Tree(root))
    pins = {name: plan_for(name, [], root).duty.pins for name in options.names}
    if not options.names and root == "/":
        pins = {name: running(name)[1].duty.pins for name in all_running()}
    if options.json:
        print(msgspec.json.encode(as_json(host)).decode())
        return 0
    if not host.cpus.cpus:
        print("this host does not say what CPUs it has (there is no /sys/devices/system/cpu)")
        return 0
    for line in picture(host.cpus, pins):
        print(line)
    for node in host.memory.nodes:
        print(_node_line(node))
    return 0


def as_json(host: HostFacts) -> dict[str, Any]:
    """Give the documented shape, with the kernel's own CPU numbers."""
    cpus = [
        {
            "cpu": cpu.cpu,
            "core": cpu.core,
            "socket": cpu.socket,
            "die": cpu.die,
            "node": cpu.node,
            "l3": _domain(host.cpus, cpu),
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
    online = [cpu for cpu in facts.cpus if cpu.online]
    online.sort(key=lambda cpu: (cpu.socket or 0, _domain(facts, cpu) or 0, cpu.core or 0, cpu.cpu))
    for socket, package in groupby(online, key=lambda cpu: cpu.socket):
        yield bold(f"package {'?' if socket is None else socket}")
        for _, domain in groupby(package, key=lambda cpu: _domain(facts, cpu)):
            cpus = list(domain)
            yield f"  {_domain_line(facts, cpus)}"
            for _, core in groupby(cpus, key=lambda cpu: cpu.core):
                yield _core_line(list(core), pins)
    offline = CpuSet(cpu.cpu for cpu in facts.cpus if not cpu.online)
    if offline:
        yield f"offline: CPU {offline}"


def _domain_line(facts: CpuFacts, cpus: list[Cpu]) -> str:
    first = cpus[0]
    shared = next((cache for cache in facts.caches if cache.level == 3 and first.cpu in cache.cpus), None)
    parts = [f"L3 {Size(shared.size)}" if shared and shared.size else "L3 unknown"]
    parts += [f"node {first.node}"] if first.node is not None else []
    kinds = sorted({str(cpu.kind) for cpu in cpus if cpu.kind})
    governors = sorted({cpu.governor for cpu in cpus if cpu.governor})
    parts += [f"{'/'.join(kinds)} cores"] if kinds else []
    parts += [f"governor {'/'.join(governors)}"] if governors else []
    return ", ".join(parts)


def _core_line(core: list[Cpu], pins: dict[str, Pins]) -> str:
    numbers = ",".join(str(cpu.cpu) for cpu in core)
    marks = " isolated" if any(cpu.isolated for cpu in core) else ""
    users = "; ".join(filter(None, (_uses({cpu.cpu for cpu in core}, name, pin) for name, pin in pins.items())))
    return f"    core {core[0].core if core[0].core is not None else '?':<4} CPU {numbers:<10}{marks} {users}".rstrip()


def _uses(core: set[int], name: str, pins: Pins) -> str:
    vcpus = [number for number, cpus in pins.vcpus.items() if core & CpuSet.parse(cpus)]
    uses = [f"vCPU {','.join(vcpus)}"] if vcpus else []
    uses += [f"iothread {thread}" for thread, cpus in pins.iothreads.items() if core & CpuSet.parse(cpus)]
    uses += ["emulator"] if pins.emulator and core & CpuSet.parse(pins.emulator) else []
    return f"{name}: {', '.join(uses)}" if uses else ""


def _domain(facts: CpuFacts, cpu: Cpu) -> int | None:
    """Number an L3 domain by its place among those of the host."""
    domains = [cache for cache in facts.caches if cache.level == 3]
    return next((number for number, cache in enumerate(domains) if cpu.cpu in cache.cpus), None)


def _node_line(node: Node) -> str:
    pools = [f"{pool.free} of {pool.total} pages of {Size(pool.page_size)} free" for pool in node.hugepages]
    memory = f"{node.memory_total >> 20} MiB" if node.memory_total else "memory unknown"
    free = f", {node.memory_free >> 20} MiB free" if node.memory_free else ""
    return f"node {node.node}: CPU {node.cpus}, {memory}{free}{''.join(f', {pool}' for pool in pools)}"
