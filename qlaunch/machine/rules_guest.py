"""Rules of the board's ports, shares, display, sound, input and TPM.

Source: ``hw/display/qxl.c`` (a card for SPICE), ``audio/spiceaudio.c``, ``hw/tpm/tpm_crb.c`` (CRB is TPM 2.0 only),
``hw/i386/pc.c`` (vmport needs the i8042 controller; QEMU 10 says so, 7.2 ignores it).
"""

from collections.abc import Iterator

from qlaunch.errors import Problem
from qlaunch.machine.model import Machine
from qlaunch.machine.rule import caution, fault, repeated


def vmport_has_ps2(machine: Machine) -> Iterator[Problem]:
    """The port of VMware's backdoor carries a PS/2 mouse."""
    if machine.machine.vmport and not machine.machine.ps2:
        yield fault("vmport", "machine.vmport", "needs the PS/2 controller, and ps2 is false", "take one of them out")


def share_tags_differ(machine: Machine) -> Iterator[Problem]:
    """The guest mounts by the tag."""
    for key, other, tag in repeated((f"share.{number}.tag", share.tag) for number, share in enumerate(machine.share)):
        yield fault("tag-twice", key, f'"{tag}" is the tag of {other.rpartition(".")[0]} already', "give each its own")


def spice_sound_has_spice(machine: Machine) -> Iterator[Problem]:
    """The sound goes to the client of the display."""
    if machine.audio and machine.audio.backend == "spice" and machine.display.type != "spice":
        hint = 'set display.type = "spice", or use another backend'
        yield fault(
            "spice-audio",
            "audio.backend",
            f'"spice" needs a SPICE display, and display.type is "{machine.display.type}"',
            hint,
        )


def sound_servers_have_names(machine: Machine) -> Iterator[Problem]:
    """Only two sound servers are found by a name."""
    audio = machine.audio
    if audio and audio.server is not None and audio.backend not in ("pulse", "jack"):
        yield fault("audio-server", "audio.server", f'means nothing to backend = "{audio.backend}"', "take it out")


def qxl_has_spice(machine: Machine) -> Iterator[Problem]:
    """QXL sends drawing commands to a SPICE client; anything else sees plain pixels."""
    display = machine.display
    if display.gpu == "qxl" and display.type != "spice":
        yield caution(
            "qxl", "display.gpu", f'"qxl" is made for SPICE, and display.type is "{display.type}"', 'use gpu = "virtio"'
        )


def evdev_devices_differ(machine: Machine) -> Iterator[Problem]:
    """The second grab of one device fails."""
    for key, other, path in repeated(
        (f"evdev.{number}.path", device.path) for number, device in enumerate(machine.evdev)
    ):
        yield fault(
            "evdev-twice", key, f'"{path}" is passed by {other.rpartition(".")[0]} already', "pass each device once"
        )


def crb_is_tpm_2(machine: Machine) -> Iterator[Problem]:
    """The CRB interface came with TPM 2.0."""
    if machine.tpm and machine.tpm.version == "1.2" and machine.tpm.model == "crb":
        yield fault("tpm-model", "tpm.model", '"crb" needs version = "2.0"', 'set model = "tis"')


RULES = (
    *(
        vmport_has_ps2,
        share_tags_differ,
        spice_sound_has_spice,
        sound_servers_have_names,
        qxl_has_spice,
        evdev_devices_differ,
    ),
    crb_is_tpm_2,
)
