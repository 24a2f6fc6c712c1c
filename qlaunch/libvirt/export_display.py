"""Picture, sound and pointers in libvirt's words.

Source: libvirt's ``docs/formatdomain.rst``, "Graphical framebuffers", "Video devices", "Sound devices", "Audio
backends", "Shared memory device", "Input devices".
"""

from collections.abc import Iterator

from qlaunch.devices.audio import Audio
from qlaunch.libvirt.export_sheet import Part, Sheet, changed, left, since
from qlaunch.libvirt.export_xml import Element, element

_VIDEO = {"virtio": "virtio", "virtio-gpu": "virtio", "qxl": "qxl", "std": "vga", "bochs": "bochs", "none": "none"}
_VIDEO |= {"cirrus": "cirrus", "vmware": "vmvga", "ramfb": "ramfb"}
_CODECS = {"hda-micro": "micro", "hda-duplex": "duplex", "hda-output": "output"}
_BACKENDS = {"pulse": "pulseaudio", "none": "none", "spice": "spice", "alsa": "alsa", "jack": "jack"}


def pointers(sheet: Sheet) -> Iterator[Part]:
    """Yield tablets, keyboards and mice that QEMU emulates."""
    wanted = sheet.machine.display
    if sheet.places.devices.get("tablet0"):
        yield element("input", sheet.usb_place(1, None, 0), type="tablet", bus="usb")
    if wanted.virtio_input:
        yield element("input", sheet.places.address("kbd0"), type="keyboard", bus="virtio")
        yield element("input", sheet.places.address("mouse0"), type="mouse", bus="virtio")
    for index, device in enumerate(sheet.machine.input):
        place = sheet.places.address(f"input{index}")
        if device.type == "host":
            yield element("input", element("source", evdev=device.path), place, type="passthrough", bus="virtio")
        elif device.bus == "virtio":
            yield element("input", place, type=device.type, bus="virtio")
        else:
            spot = None
            if device.port:
                spot = element("address", type="usb", bus=device.controller, port=device.port)
            yield element("input", spot, type=device.type, bus="usb")


def picture(sheet: Sheet) -> Iterator[Part]:
    """Yield graphics, the video card, and the shared memory of Looking Glass."""
    wanted = sheet.machine.display
    listen = element("listen", type="socket")
    match wanted.type:
        case "spice" | "gtk":
            yield element("graphics", listen, element("image", compression="off"), type="spice")
        case "vnc":
            yield element("graphics", listen, type="vnc")
        case _:
            pass
    if wanted.type == "gtk":
        message = "libvirt opens no window of its own; SPICE is written, and virt-viewer shows it"
        yield changed("display.type", message)
    model = _VIDEO[wanted.drawn_by]
    primary = None if model == "none" else "no" if wanted.drawn_by == "virtio-gpu" else "yes"
    heads = (wanted.heads or 1) if model in ("qxl", "virtio") else wanted.heads
    place = sheet.places.address("gpu0")
    yield element("video", element("model", type=model, heads=heads, primary=primary), place)
    if wanted.drawn_by == "virtio-gpu":
        yield changed(
            "display.gpu", "libvirt makes the first card a VGA one: virtio-vga in the place of virtio-gpu-pci"
        )
    if wanted.looking_glass:
        yield _looking_glass(sheet)
        if wanted.looking_glass_user:
            yield left("display.looking_glass_user", "libvirt's shared memory belongs to the user of its QEMU")
        if wanted.looking_glass_path:
            yield left("display.looking_glass_path", "libvirt has no kvmfr; it can be added with <qemu:commandline>")
    for _ in range(wanted.usb_redirection):
        yield element("redirdev", bus="usb", type="spicevmc")


def sound(sheet: Sheet) -> Iterator[Part]:
    """Yield the sound card and its connection to the host."""
    wanted = sheet.machine.audio
    if wanted is None:
        return
    card, place = wanted.card, sheet.places.address("sound0")
    if card == "virtio" and not sheet.knows("virtio sound"):
        yield changed("audio.card", f"libvirt knows virtio sound from {since('virtio sound')} on; HDA is written")
        card = "hda-duplex"
    audio = element("audio", id=1)
    if card == "usb":
        yield element("sound", audio, sheet.usb_place(9, None, 0), model="usb")
    elif card in _CODECS:
        yield element("sound", element("codec", type=_CODECS[card]), audio, place, model=wanted.controller)
    else:
        yield element("sound", audio, place, model=card)
    yield from _backend(sheet, wanted)


def _backend(sheet: Sheet, wanted: Audio) -> Iterator[Part]:
    backend = wanted.backend
    kind = "pipewire" if backend == "pipewire" and sheet.knows("pipewire") else _BACKENDS.get(backend, "pulseaudio")
    if backend == "pipewire" and kind != "pipewire":
        message = f"libvirt knows PipeWire from {since('pipewire')} on; PulseAudio's protocol is written instead"
        yield changed("audio.backend", message, "pipewire-pulse answers to it")
    own = kind in ("pipewire", "pulseaudio")
    latency = wanted.latency_us if own else None
    server = wanted.server if kind == "jack" else None
    label = sheet.site.name if kind in ("pipewire", "pulseaudio") else None
    client = sheet.site.name if kind == "jack" else None
    keys = {"streamName": label, "latency": latency, "serverName": server, "clientName": client}
    streams = (element(way, **keys) for way in ("input", "output")) if own or kind == "jack" else ()
    yield element(
        "audio",
        *streams,
        id=1,
        type=kind,
        timerPeriod=wanted.period_us,
        serverName=wanted.server if kind == "pulseaudio" else None,
    )
    if wanted.latency_us and not own:
        yield left("audio.latency_us", f"{backend} has no latency of its own in libvirt")


def _looking_glass(sheet: Sheet) -> Element:
    size = sheet.machine.display.looking_glass or 0
    model = element("model", type="ivshmem-plain")
    length = element("size", text=size >> 20, unit="M")
    return element("shmem", model, length, sheet.places.address("lg0"), name=f"looking-glass-{sheet.site.name}")
