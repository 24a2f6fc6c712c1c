"""Every kind of change to the host, one a file. The names here are the journal's vocabulary: they are never renamed.

A kind is imported when it is used: most machines change one or two things.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qlaunch.steps.kind import Kind

KINDS = {
    "cgroup": "qlaunch.steps.cgroup:Group",
    "cgroup-controller": "qlaunch.steps.cgroup:Controller",
    "cgroup-cpus": "qlaunch.steps.cgroup:GroupCpus",
    "cgroup-shield": "qlaunch.steps.cgroup:Pen",
    "scope": "qlaunch.steps.shield:Scope",
    "service": "qlaunch.steps.service:Service",
    "shield": "qlaunch.steps.shield:Shield",
    "cpumask": "qlaunch.steps.cpu_mask:CpuMask",
    "framebuffer": "qlaunch.steps.framebuffer:Framebuffer",
    "governor": "qlaunch.steps.sysfs:Governor",
    "hugepages": "qlaunch.steps.hugepages:Hugepages",
    "irq": "qlaunch.steps.cpu_mask:Interrupts",
    "hook": "qlaunch.steps.hook:Hook",
    "process": "qlaunch.steps.process:Process",
    "kthread": "qlaunch.steps.kernel_threads:KernelThread",
    "owner": "qlaunch.steps.owner:Owner",
    "own-file": "qlaunch.steps.own_file:OwnFile",
    "module": "qlaunch.steps.module:Module",
    "vtconsole": "qlaunch.steps.sysfs:Vtconsole",
    "partition": "qlaunch.steps.partition:Partition",
    "pci-driver": "qlaunch.steps.pci_driver:PciDriver",
    "link": "qlaunch.steps.link:Link",
    "sriov": "qlaunch.steps.sriov:Sriov",
    "vf": "qlaunch.steps.vf:Vf",
    "bridge": "qlaunch.steps.own_link:Bridge",
    "tap": "qlaunch.steps.own_link:Tap",
    "macvtap": "qlaunch.steps.own_link:Macvtap",
    "nat": "qlaunch.steps.nat:Nat",
    "daemon": "qlaunch.steps.daemon:Daemon",
    "cpus": "qlaunch.steps.cpus:Cpus",
    "usb": "qlaunch.steps.usb:Usb",
    "input": "qlaunch.steps.input:Input",
    "sysfs": "qlaunch.steps.sysfs:Sysfs",
}


def kind_named(name: str) -> "Kind":
    """Give the kind of change that a journal names. Raises KeyError for one that this qlaunch does not know."""
    module, _, attribute = KINDS[name].partition(":")
    kind: Kind = getattr(import_module(module), attribute)()
    return kind
