"""``pin = "auto"``: a machine file without pins, and a host, become a machine with pins. Pure.

Owns: what is asked of `choose_cpus`, and how its answer is laid into the machine. What the file says itself stays.
"""

import msgspec

from qlaunch.devices.cpu import Topology
from qlaunch.errors import Problem
from qlaunch.host.choose_cpus import CpuChoice, CpuWish, choose_cpus
from qlaunch.host.cpus import CpuFacts
from qlaunch.machine.model import Machine
from qlaunch.values.cpus import CpuSet, PinList


def pin_automatically(
    machine: Machine, cpus: CpuFacts, *, gpu_node: int | None = None, taken: CpuSet | None = None
) -> tuple[Machine, list[Problem]]:
    """Fill in pins, and topology, emulator and iothread sets where the file has none.

    Gives the machine and what is to be told: the reasons, or one error when no choice keeps the rules. ``taken`` are
    the CPUs of other running machines.
    """
    if machine.cpu.pin is None or not machine.cpu.pin.auto:
        return machine, []
    topology = machine.cpu.topology
    wish = CpuWish(
        vcpus=topology.vcpus if topology else machine.cpu.vcpus,
        threads=topology.threads if topology else None,
        node=machine.memory.node if machine.memory.node is not None else gpu_node,
        taken=taken or CpuSet(),
    )
    choice = choose_cpus(cpus, wish)
    if choice.refusal:
        return machine, [Problem(code="pins-refused", key="cpu.pin", message=choice.refusal, hint=choice.hint)]
    reasons = [Problem(code="pins-chosen", severity="info", key="cpu.pin", message=reason) for reason in choice.reasons]
    return _laid_in(machine, choice), reasons


def _laid_in(machine: Machine, choice: CpuChoice) -> Machine:
    shape = Topology(sockets=choice.sockets, dies=choice.dies, cores=choice.cores, threads=choice.threads)
    cpu = msgspec.structs.replace(
        machine.cpu,
        pin=PinList(choice.pins),
        topology=machine.cpu.topology or shape,
        emulator=machine.cpu.emulator or choice.emulator,
    )
    threads = [
        msgspec.structs.replace(thread, pin=thread.pin or choice.iothreads or None) for thread in machine.iothread
    ]
    return msgspec.structs.replace(machine, cpu=cpu, iothread=threads)
