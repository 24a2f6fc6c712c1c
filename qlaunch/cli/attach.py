"""`qlaunch attach|detach NAME DEVICE`: a USB or PCI device to a running machine, and back, host side included."""

import argparse
import re

from qlaunch.cli.machines import control_socket
from qlaunch.duty import Plugged
from qlaunch.errors import HostError, UsageError
from qlaunch.host.facts import HostFacts
from qlaunch.machine.search import machine_name
from qlaunch.plan import usb_problems
from qlaunch.run.request import plug
from qlaunch.values.pci import DeviceId, PciAddress

_PORT = re.compile(r"[0-9]+-[0-9]+(\.[0-9]+)*", re.ASCII)


def run(options: argparse.Namespace) -> int:
    """Refuse what cannot be given away, then let the supervisor do it."""
    device = parse_device(options.device)
    socket = control_socket(options.name)
    if options.verb == "attach" and isinstance(device, Plugged):
        for problem in usb_problems(machine_name(options.name), device, HostFacts()):
            raise HostError(problem.message, problem.hint)
    print(plug(socket, options.verb, device))
    return 0


def parse_device(text: str) -> Plugged | PciAddress:
    """Read ``046d:c547`` or ``1-2.1``, or a PCI slot or function, ``0b:00``. Raises UsageError."""
    if _PORT.fullmatch(text):
        return Plugged(at=text)
    try:
        return Plugged(id=str(DeviceId.parse(text)))
    except ValueError:
        pass
    try:
        return PciAddress.parse(text)
    except ValueError as error:
        message = f"{text!r} is no USB device such as 046d:c547 or 1-2.1 (its port), and no PCI address such as 0b:00"
        raise UsageError(message, "see: qlaunch groups") from error
