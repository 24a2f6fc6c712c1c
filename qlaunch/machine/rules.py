"""All rules across keys and sections, by theme. Adding one is a function there and a case in ``tests/bad``."""

from qlaunch.machine import (
    rules_boot,
    rules_cpu,
    rules_disk,
    rules_guest,
    rules_host,
    rules_memory,
    rules_network,
    rules_pci,
    rules_places,
    rules_qemu,
)
from qlaunch.machine.rule import Rule

RULES: tuple[Rule, ...] = (
    *rules_boot.RULES,
    *rules_cpu.RULES,
    *rules_memory.RULES,
    *rules_disk.RULES,
    *rules_pci.RULES,
    *rules_places.RULES,
    *rules_network.RULES,
    *rules_guest.RULES,
    *rules_host.RULES,
    *rules_qemu.RULES,
)
