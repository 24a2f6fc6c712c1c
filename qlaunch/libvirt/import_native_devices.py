"""Which of QEMU's options are keys of the machine file: the tricks that guides are full of.

Each reader gives whether it took the option; what nobody takes is passed on as it is.
"""

import re
from collections.abc import Callable

from qlaunch.libvirt.import_draft import in_bytes, integer, shown
from qlaunch.libvirt.import_native_cpu import read_cpu
from qlaunch.libvirt.import_native_words import Option, Words, split_commas, typed
from qlaunch.values.pci import PciAddress

_TOGGLES = ("ctrl-ctrl", "alt-alt", "shift-shift", "meta-meta", "scrolllock", "ctrl-scrolllock")
_CARDS = ("hda-micro", "hda-duplex", "hda-output")
_SERVERS = {"pa": "pulse", "pipewire": "pipewire", "jack": "jack", "alsa": "alsa", "spice": "spice", "none": "none"}
_TABLES = {"0": "bios", "1": "system", "2": "baseboard", "3": "chassis"}
_KVMFR = re.compile(r"/dev/kvmfr[0-9]+", re.ASCII)
_SIZE = re.compile(r"([0-9]+)([kKMGT]?)[bB]?", re.ASCII)


def read_option(words: Words, option: Option) -> bool:
    """Take an option as keys; give whether that could be."""
    reader = _READERS.get(option.flag)
    return False if reader is None else reader(words, option)


def _object(words: Words, option: Option) -> bool:
    values = option.values()
    kind = values.get("")
    if kind == "input-linux" and values.get("evdev"):
        row, _ = words.draft.add(option.node, "evdev", path=values["evdev"])
        row |= {key: True for key in ("grab_all", "repeat") if values.get(key) in ("on", "true", "yes")}
        toggle = values.get("grab-toggle")
        if toggle in _TOGGLES and toggle != "ctrl-ctrl":
            row["grab_toggle"] = toggle
        return True
    path = values.get("mem-path", "")
    shared = path.startswith("/dev/shm/") or _KVMFR.fullmatch(path)  # noqa: S108 - a path in the domain
    if kind == "memory-backend-file" and shared and "id" in values:
        words.memories[values["id"]] = (option, values)
        return True
    return False


def _device(words: Words, option: Option) -> bool:
    values = option.values()
    return _DEVICES.get(values.get("", ""), _sound)(words, option, values)


def _virtio_input(words: Words, option: Option, values: dict[str, str]) -> bool:
    row, _ = words.draft.add(option.node, "input", type=values[""].split("-")[1], bus="virtio")
    words.claim(option, row, "address", values)
    return True


def _root_port(words: Words, option: Option, values: dict[str, str]) -> bool:
    """Take a root port of the board's, which older guides add by hand for a card behind it."""
    address = words.places.on_bus("pcie.0", values.get("addr", "1c.0"))
    if not words.places.on_q35 or values.get("bus", "pcie.0") != "pcie.0" or address is None or not values.get("id"):
        return False
    words.places.named_ports[values["id"]] = address
    if values[""] == "ioh3420":
        words.draft.differs(option.node, "a plain root port (pcie-root-port) takes the place of Intel's ioh3420")
    return True


def _usb_input(words: Words, option: Option, values: dict[str, str]) -> bool:
    match = re.fullmatch(r"(?:usb([0-9]{0,2})\.0)?", values.get("bus", ""))
    if match is None or set(values) - {"", "driver", "id", "bus", "port"}:
        return False
    kind = {"usb-kbd": "keyboard"}.get(values[""], values[""].removeprefix("usb-"))
    row, _ = words.draft.add(option.node, "input", type=kind, port=values.get("port"))
    if int(match[1] or 0):
        row["controller"] = int(match[1])
    return True


def _sound(words: Words, option: Option, values: dict[str, str]) -> bool:
    """Take a sound card, or the controller that one sits on."""
    kind = values.get("", "")
    if kind in ("ich9-intel-hda", "intel-hda", "AC97", "ES1370") and not words.draft.tables.get("audio"):
        card = {"AC97": "ac97", "ES1370": "es1370"}.get(kind, "hda-duplex")
        words.draft.set(option.node, "audio", "card", card)
        words.draft.set(option.node, "audio", "controller", "ich6" if kind == "intel-hda" else "ich9")
        words.claim(option, words.draft.tables["audio"], "address", values)
    elif kind in _CARDS and "audio" in words.draft.tables:
        words.draft.set(option.node, "audio", "card", kind)
    else:
        return False
    _use_sound(words, values)
    return True


def _shared_memory(words: Words, option: Option, values: dict[str, str]) -> bool:
    if values.get("memdev") not in words.memories:
        return False
    behind, memory = words.memories[values["memdev"]]
    match = _SIZE.fullmatch(memory.get("size", ""))
    name = memory["mem-path"].rpartition("/")[2]
    if not match or not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        return False
    power = {"": 20, "k": 10, "K": 10, "M": 20, "G": 30, "T": 40}[match[2]] if match[2] else 0
    size = in_bytes(int(match[1]) << power)
    del words.memories[values["memdev"]]
    display = words.draft.tables.setdefault("display", {})
    if _KVMFR.fullmatch(memory["mem-path"]):
        if "looking_glass" in display:
            words.draft.asks(option.node, "a machine has one Looking Glass; left out", ("display", "looking_glass"))
            return True
        words.draft.set(behind.node, "display", "looking_glass", size)
        words.draft.set(behind.node, "display", "looking_glass_path", memory["mem-path"])
        words.claim(option, display, "looking_glass_address", values)
        return True
    if "looking-glass" in name and "looking_glass" not in display:
        words.draft.set(behind.node, "display", "looking_glass", size)
        message = "the file is /dev/shm/looking-glass-NAME, of the machine's name: looking-glass-client app:shmFile="
        words.draft.differs(option.node, message, ("display", "looking_glass"))
        words.claim(option, display, "looking_glass_address", values)
        return True
    row, _ = words.draft.add(option.node, "shmem", name=name, size=size)
    words.claim(option, row, "address", values)
    return True


def _use_sound(words: Words, values: dict[str, str]) -> None:
    """Join a card with the server that it names, or with the only one."""
    name = values.get("audiodev") or (next(iter(words.sounds)) if len(words.sounds) == 1 else "")
    if name in words.sounds:
        behind, server = words.sounds.pop(name)
        _server(words, behind, server)


def _audiodev(words: Words, option: Option) -> bool:
    values = option.values()
    kind = values.get("", "") or values.get("driver", "")
    if kind not in _SERVERS or "id" not in values:
        return False
    if "audio" in words.draft.tables and any(key[0] == "audio" for key in words.draft.keys):
        # Libvirt's own card, whose server a guide replaces.
        _server(words, option, values)
        return True
    words.sounds[values["id"]] = (option, values)
    return True


def _server(words: Words, option: Option, values: dict[str, str]) -> None:
    draft = words.draft
    kind = _SERVERS[values.get("", "") or values.get("driver", "")]
    draft.set(option.node, "audio", "backend", kind)
    if kind in ("pulse", "jack") and values.get("server"):
        draft.set(option.node, "audio", "server", values["server"])
    for name, key in (("timer-period", "period_us"), ("out.latency", "latency_us")):
        number = integer(values.get(name, ""))
        if number is not None and 100 <= number <= 1_000_000:
            draft.set(option.node, "audio", key, number)
    known = {
        "",
        "id",
        "driver",
        "server",
        "timer-period",
        "out.latency",
        "in.latency",
        "out.stream-name",
        "in.stream-name",
    }
    rest = [f"{name}={value}" for name, value in values.items() if name not in known]
    if rest:
        draft.differs(
            option.node, f"details of the sound server have no key here: {shown(', '.join(rest))}", ("audio",)
        )


def _usb(words: Words, option: Option, values: dict[str, str]) -> bool:
    vendor, product = integer(values.get("vendorid", "")), integer(values.get("productid", ""))
    bus, port = values.get("hostbus", ""), values.get("hostport", "")
    if vendor is not None and product is not None:
        words.draft.add(option.node, "usb", id=f"{vendor:04x}:{product:04x}")
    elif bus.isdigit() and port:
        words.draft.add(option.node, "usb", at=f"{bus}-{port}")
    else:
        return False
    if values.get("guest-reset") == "off" or values.get("guest-reset") == "false":
        words.draft.tables["usb"][-1]["guest_reset"] = False
    return True


def _pci(words: Words, option: Option, values: dict[str, str]) -> bool:
    try:
        host = PciAddress.parse(values.get("host", ""))
    except ValueError:
        return False
    known = {"", "driver", "host", "id", "bus", "addr", "multifunction", "x-vga", "romfile", "rombar"}
    if host.function is None:
        return False
    row, _ = words.draft.add(option.node, "pci", host=host.removeprefix("0000:"), rom=values.get("romfile") or None)
    if values.get("x-vga") == "on":
        row["x_vga"] = True
    if values.get("rombar") in ("0", "off"):
        row["rom_bar"] = False
    rest = {name: typed(value) for name, value in values.items() if name not in known}
    if rest:
        properties = words.draft.tables.setdefault("qemu", {}).setdefault("properties", {})
        properties[f"pci{len(words.draft.tables['pci']) - 1}-0"] = rest
    words.claim(option, row, "address", values)
    return True


def _set(words: Words, option: Option) -> bool:
    """Read ``device.ALIAS.PROPERTY=VALUE``."""
    match = re.fullmatch(r"device\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)=(.*)", option.word or "")
    if not match:
        return False
    words.override(words.draft, option.node, match[1], match[2], match[3])
    return True


def _fw_cfg(words: Words, option: Option) -> bool:
    values = option.values()
    name = values.get("name") or values.get("", "")
    size = integer(values.get("string", ""))
    if name == "opt/ovmf/X-PciMmio64Mb" and size and words.draft.tables.get("firmware", {}).get("type") == "uefi":
        words.draft.set(option.node, "memory", "mmio64", f"{size}M")
        return True
    return False


def _smbios(words: Words, option: Option) -> bool:
    values = option.values()
    table = _TABLES.get(values.pop("type", ""))
    values.pop("", None)
    smbios = words.draft.tables.get("firmware", {}).get("smbios", {})
    if table is None or smbios == "host" or "file" in values:
        return False
    words.draft.set(option.node, "firmware", "smbios", {**smbios, table: {**smbios.get(table, {}), **values}})
    return True


def _machine(words: Words, option: Option) -> bool:
    draft, values = words.draft, option.values()
    chips = {"on": "kernel", "split": "split"}
    rest = []
    for key, value in values.items():
        match key.replace("-", "_"):
            case "kernel_irqchip" if value in chips:
                draft.set(option.node, "machine", "irqchip", chips[value])
            case "vmport" | "smm" if value in ("on", "off"):
                draft.set(option.node, "machine", key, value == "on")
            case "hpet" if value in ("on", "off"):
                draft.set(option.node, "clock", "hpet", value == "on")
            case "accel" | "type":
                pass  # libvirt's own word of it holds
            case "" if value in ("", "q35", "pc") or value.startswith("pc-"):
                pass
            case _:
                rest.append(f"{key}={value}" if key else value)
    if rest:
        draft.asks(option.node, f"{shown(', '.join(rest))} of -machine has no key here; left out", ("machine",))
    return True


def _overcommit(words: Words, option: Option) -> bool:
    values = option.values()
    for name, section, key in (("cpu-pm", "cpu", "power_management"), ("mem-lock", "memory", "lock")):
        if name in values:
            words.draft.set(option.node, section, key, values[name] == "on")
    return not set(values) - {"", "cpu-pm", "mem-lock"}


def _rtc(words: Words, option: Option) -> bool:
    values = option.values()
    if values.get("base") in ("utc", "localtime"):
        words.draft.set(option.node, "clock", "base", values["base"])
    if values.get("driftfix") == "slew":
        words.draft.set(option.node, "clock", "rtc_catchup", value=True)
    tracks = {"vm": "guest", "host": "wall", "rt": "realtime"}
    words.draft.set(option.node, "clock", "track", tracks.get(values.get("clock", "")))
    if values.get("base", "utc") not in ("utc", "localtime"):
        words.draft.asks(option.node, f"{shown(values['base'])} has no key here", ("clock", "base"))
    return True


def _global(words: Words, option: Option) -> bool:
    name, _, value = (option.word or "").partition("=")
    policy = {"kvm-pit.lost_tick_policy": ("pit", ("delay", "discard"))}
    if name in policy and value in policy[name][1]:
        words.draft.set(option.node, "clock", policy[name][0], value)
        return True
    return False


def _flags(words: Words, option: Option) -> bool:
    if option.flag == "no-hpet":
        words.draft.set(option.node, "clock", "hpet", value=False)
    elif option.flag == "mem-prealloc":
        words.draft.set(option.node, "memory", "prealloc", value=True)
    return True


def _boot(words: Words, option: Option) -> bool:
    """Libvirt has said the order; a menu is all that is left."""
    values = option.values()
    if values.get("menu") in ("on", "off"):
        words.draft.set(option.node, "boot", "menu", values["menu"] == "on")
    if rest := set(values) - {"menu", "", "strict"}:
        words.draft.asks(option.node, f"{shown(', '.join(sorted(rest)))} of -boot: write boot_index", ("boot",))
    return True


def _bios(words: Words, option: Option) -> bool:
    if words.draft.tables.get("firmware", {}).get("type") != "bios" or not option.word:
        return False
    words.draft.set(option.node, "firmware", "rom", option.word)
    return True


def _cpu(words: Words, option: Option) -> bool:
    return read_cpu(words.draft, option.node, split_commas(option.word or ""))


_DEVICES: dict[str, Callable[[Words, Option, dict[str, str]], bool]] = {
    "ivshmem-plain": _shared_memory,
    "usb-host": _usb,
    "vfio-pci": _pci,
    "ioh3420": _root_port,
    "pcie-root-port": _root_port,
    **dict.fromkeys(("usb-tablet", "usb-kbd", "usb-mouse"), _usb_input),
    **dict.fromkeys(("virtio-keyboard-pci", "virtio-mouse-pci", "virtio-tablet-pci"), _virtio_input),
}
_READERS: dict[str, Callable[[Words, Option], bool]] = {
    "object": _object,
    "device": _device,
    "audiodev": _audiodev,
    "set": _set,
    "fw_cfg": _fw_cfg,
    "smbios": _smbios,
    "machine": _machine,
    "M": _machine,
    "overcommit": _overcommit,
    "rtc": _rtc,
    "global": _global,
    "no-hpet": _flags,
    "mem-prealloc": _flags,
    "enable-kvm": _flags,
    "boot": _boot,
    "bios": _bios,
    "cpu": _cpu,
}
