"""What stands against giving a USB device, a keyboard or a mouse to a machine, on hosts of files."""

from typing import Any

import pytest

from qlaunch.errors import Problem
from qlaunch.host.facts import HostFacts
from qlaunch.host.tree import Tree
from qlaunch.preparation import evdev, usb
from qlaunch.preparation.wish import Wish
from tests.sites import machine

DEVICES = "/sys/bus/usb/devices"
KEYBOARD = "/dev/input/by-id/usb-Holtek_USB_Keyboard-event-kbd"


Part = tuple[dict[str, str], dict[str, str]]


def a_device(port: str, id_: str, number: int, driver: str, **more: str) -> Part:
    vendor, _, product = id_.partition(":")
    texts = {"idVendor": vendor, "idProduct": product, "busnum": port[0], "devnum": str(number), **more}
    folder = f"devices/pci0000:00/0000:00:14.0/usb{port[0]}/{port}"
    links = {
        f"{DEVICES}/{port}": f"../../../{folder}",
        f"{DEVICES}/{port}:1.0": f"../../../{folder}/{port}:1.0",
        f"/sys/{folder}/{port}:1.0/driver": f"../../../../bus/usb/drivers/{driver}",
    }
    return {f"/sys/{folder}/{name}": text for name, text in texts.items()}, links


def wish(given: dict[str, Any], *parts: Part) -> Wish:
    texts = {path: text for files, _ in parts for path, text in files.items()}
    links = {path: target for _, found in parts for path, target in found.items()}
    facts = HostFacts(Tree.holding(texts, links))
    return Wish(name="gaming", uuid="", machine=machine(**given), facts=facts, runtime="/run/qlaunch/gaming")


HEADSET = a_device("1-2", "1038:12ad", 5, "usbhid", manufacturer="SteelSeries", product="Arctis 7")
TWIN = a_device("1-3", "1038:12ad", 6, "usbhid")
STICK = a_device("3-4.1", "46f4:0001", 7, "usb-storage")
TAKEN = a_device("1-2", "1038:12ad", 5, "usbfs")
HUB = a_device("1-4", "0409:55aa", 8, "hub", bDeviceClass="09")
MOUNTED = (
    {
        "/proc/self/mountinfo": "30 1 8:0 / /media rw - vfat /dev/sda rw\n",
        "/sys/class/block/sda/dev": "8:0",
        "/sys/class/block/sda/size": "32768",
    },
    {"/sys/class/block/sda": "../../devices/pci0000:00/0000:00:14.0/usb3/3-4/3-4.1/3-4.1:1.0/host6/block/sda"},
)
ROUTED = (
    {
        "/proc/net/route": "Iface Destination Gateway Flags\nusb0 00000000 0102A8C0 0003 0 0 0 00000000",
        "/sys/class/net/usb0/operstate": "up",
    },
    {"/sys/class/net/usb0": "../../devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/net/usb0"},
)
ROOT_HUB = {f"{DEVICES}/usb1": "../../../devices/pci0000:00/0000:00:14.0/usb1"}
QEMU_OF_GAMING = ({"/proc/77/comm": "ql-gaming"}, {"/proc/77/fd/9": "/dev/bus/usb/001/005", **ROOT_HUB})
SOMEBODY = ({"/proc/78/comm": "gphoto2"}, {"/proc/78/fd/9": "/dev/bus/usb/001/005", **ROOT_HUB})
INPUTS = (
    {"/sys/class/input/event3/device/name": "Holtek", "/dev/input/event3": "", "/dev/null": ""},
    {KEYBOARD: "../event3", "/dev/input/kbd": "event3", "/sys/class/input/event3": "../../devices/x/input/event3"},
)


def only(problems: list[Problem]) -> Problem:
    (problem,) = problems
    return problem


@pytest.mark.parametrize(
    ("section", "parts", "code", "words"),
    [
        ({"id": "046d:c547"}, [HEADSET], "no-usb", "no USB device 046d:c547 is plugged in"),
        ({"at": "9-1"}, [HEADSET], "no-usb", "no USB device at 9-1 is plugged in"),
        ({"id": "46f4:0001", "at": "1-2"}, [HEADSET, STICK], "identity", "1-2 has SteelSeries Arctis 7"),
        ({"id": "1038:12ad"}, [HEADSET, TWIN], "usb-twins", "2 devices are 1038:12ad: at 1-2, 1-3"),
        ({"at": "1-4"}, [HUB], "usb-hub", "is a hub"),
        ({"id": "46f4:0001"}, [STICK, MOUNTED], "own-disk", "is a disk that this host uses: mounted"),
        ({"id": "1038:12ad"}, [HEADSET, ROUTED], "own-network", "this host's way to the network (usb0)"),
        ({"id": "1038:12ad"}, [TAKEN, SOMEBODY], "held", "is in use by gphoto2 (process 78)"),
        ({"id": "1038:12ad"}, [TAKEN], "held", "is in use"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_a_usb_device_is_refused(section: dict[str, str], parts: list[Any], code: str, words: str) -> None:
    problem = only(list(usb.refusals(wish({"usb": [section]}, *parts))))
    assert problem.code == code
    assert words in problem.message
    assert problem.key.startswith("usb.0.")


@pytest.mark.parametrize(
    ("section", "parts"),
    [
        ({"id": "1038:12ad"}, [HEADSET, STICK, MOUNTED]),
        ({"id": "1038:12ad", "at": "1-3"}, [HEADSET, TWIN]),
        ({"id": "046d:c547", "optional": True}, [HEADSET]),
        ({"id": "1038:12ad"}, [TAKEN, QEMU_OF_GAMING]),
    ],
    ids=["plugged in", "one of two", "optional", "the machine's own QEMU has it"],
)
def test_a_usb_device_is_accepted(section: dict[str, Any], parts: list[Any]) -> None:
    assert not list(usb.refusals(wish({"usb": [section]}, *parts)))


def test_a_step_is_planned_for_each_device_that_is_there() -> None:
    found = wish({"usb": [{"id": "1038:12ad"}, {"at": "3-4.1"}, {"id": "046d:c547", "optional": True}]}, HEADSET, STICK)
    claims = [step.claims for step in usb.steps(found)]
    assert claims == [{"1-2 1038:12ad": "guest"}, {"3-4.1 46f4:0001": "guest"}]
    assert not any(step.needs_root for step in usb.steps(found))


@pytest.mark.parametrize("path", [KEYBOARD, "/dev/input/event3", "/dev/input/kbd"])
def test_an_event_device_is_found_by_any_of_its_names(path: str) -> None:
    found = wish({"evdev": [{"path": path}]}, INPUTS)
    assert not list(evdev.refusals(found))
    assert [step.claims for step in evdev.steps(found)] == [{"/dev/input/event3": "as it is"}]


@pytest.mark.parametrize(
    ("path", "words"),
    [("/dev/input/by-id/none", f"there are: {KEYBOARD}"), ("/dev/null", "see: ls")],
    ids=["absent", "no event device"],
)
def test_an_event_device_is_refused(path: str, words: str) -> None:
    problem = only(list(evdev.refusals(wish({"evdev": [{"path": path}]}, INPUTS))))
    assert (problem.code, problem.key) == ("no-evdev", "evdev.0.path")
    assert words in problem.hint


def test_an_event_device_that_is_optional_may_come_later() -> None:
    assert not list(evdev.refusals(wish({"evdev": [{"path": "/dev/input/later", "optional": True}]}, INPUTS)))
