"""What a machine wants of its host, as steps: machine file and facts brought together, one theme a file. Pure.

Each theme is two functions: ``steps(wish)`` yields the steps, in their order, and ``refusals(wish)`` what stands
against them on this host, before anything is touched.
"""

from collections.abc import Callable, Iterator

from qlaunch.errors import Problem
from qlaunch.preparation import (
    cpus,
    evdev,
    hooks,
    kernel,
    link_refusals,
    links,
    memory,
    network,
    ownership,
    pci,
    picture,
    quiet,
    shield,
    sidecars,
    sound,
    systemd,
    usb,
    values,
)
from qlaunch.preparation.wish import Wish
from qlaunch.steps.step import Step

THEMES: tuple[tuple[Callable[[Wish], Iterator[Step]], Callable[[Wish], Iterator[Problem]]], ...] = (
    (cpus.steps, cpus.refusals),
    (hooks.steps, hooks.refusals),
    (sidecars.steps, sidecars.refusals),
    (systemd.steps, systemd.refusals),
    (shield.steps, shield.refusals),
    (values.steps, values.refusals),
    (memory.steps, memory.refusals),
    (quiet.steps, quiet.refusals),
    (kernel.steps, kernel.refusals),
    (pci.steps, pci.refusals),
    (network.steps, network.refusals),
    (links.steps, link_refusals.refusals),
    (usb.steps, usb.refusals),
    (evdev.steps, evdev.refusals),
    (sound.steps, sound.refusals),
    (picture.steps, picture.refusals),
    (ownership.steps, ownership.refusals),
)


def steps(wish: Wish) -> list[Step]:
    """Give every step of a machine, in order."""
    return [step for theme, _ in THEMES for step in theme(wish)]


def refusals(wish: Wish) -> list[Problem]:
    """Give everything that stands against them."""
    return [problem for _, theme in THEMES for problem in theme(wish)]
