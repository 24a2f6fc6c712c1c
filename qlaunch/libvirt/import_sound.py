"""Sound cards, and the host's sound servers.

Source: libvirt's ``docs/formatdomain.rst``, "Sound devices", "Audio backends"; ``src/conf/domain_conf.c``,
``virDomainDefAddImplicitDevices`` (sound without a backend goes to SPICE where there is one, and else nowhere).
"""

from qlaunch.libvirt.import_draft import Draft, shown
from qlaunch.libvirt.import_node import Node
from qlaunch.libvirt.import_places import Places

_BACKENDS = {
    "none": "none",
    "alsa": "alsa",
    "jack": "jack",
    "pipewire": "pipewire",
    "pulseaudio": "pulse",
    "spice": "spice",
}
_CARDS = {"ac97": "ac97", "es1370": "es1370", "sb16": "sb16", "usb": "usb", "virtio": "virtio"}
_CODECS = {"micro": "hda-micro", "duplex": "hda-duplex", "output": "hda-output"}
_DETAIL = "this detail of the sound server has no key here"


def sound(draft: Draft, places: Places) -> None:
    """Read the first card and the server that it speaks to."""
    cards, backends = places.devices.each("sound"), places.devices.each("audio")
    if not cards:
        for node in backends:
            draft.idle(node, "there is no sound card that would use it")
        return
    card = cards[0]
    audio = card.one("audio")
    wanted = audio.get("id") if audio else None
    mine = next((node for node in backends if wanted is None or node.get("id") == wanted), None)
    _card(draft, places, card)
    if mine is not None:
        _backend(draft, mine)
    elif draft.tables.get("display", {}).get("type") == "spice":
        draft.set(card, "audio", "backend", "spice")
    else:
        draft.differs(card, "libvirt plays this card nowhere unless it is told where", ("audio", "backend"))
        draft.set(card, "audio", "backend", "none")
    for node in cards[1:]:
        node.close()
        draft.asks(node, "a second sound card has no key here; left out", ("audio",))
    for node in backends:
        if node is not mine:
            draft.idle(node, "no sound card of the machine uses it")


def _card(draft: Draft, places: Places, node: Node) -> None:
    draft.idle(node.one("alias"), "libvirt's own name")
    model = node.get("model") or ""
    draft.lost(node, "has no key here", "multichannel", "streams")
    draft.lost(node.one("driver"), "this tuning of a virtio card has no key here")
    codecs = [codec.get("type") or "duplex" for codec in node.each("codec")]
    if model in ("ich6", "ich7", "ich9"):
        draft.set(node, "audio", "card", _CODECS.get(codecs[0] if codecs else "duplex", "hda-duplex"))
        draft.set(node, "audio", "controller", "ich9" if model == "ich9" else "ich6")
        if len(codecs) > 1:
            draft.differs(node, "one codec sits on the card: the first", ("audio", "card"))
    elif model in _CARDS:
        draft.set(node, "audio", "card", _CARDS[model])
    else:
        draft.asks(node, f'"{shown(model)}" has no key here; an HDA card takes its place', ("audio", "card"))
        draft.set(node, "audio", "card", "hda-duplex")
    table = draft.tables["audio"]
    if model == "usb":
        draft.idle(node.one("address"), "a port of the guest's that QEMU chooses")
    elif model == "sb16":
        node.one("address")
    else:
        places.claim(node, table)


def _backend(draft: Draft, node: Node) -> None:
    node.get("id")
    kind = node.get("type") or "none"
    backend = _BACKENDS.get(kind)
    if backend is None:
        message = f'the backend "{shown(kind)}" has no key here; write one of pipewire, pulse, jack, alsa'
        draft.asks(node, message, ("audio", "backend"))
        node.close()
        backend = "none"
    draft.set(node, "audio", "backend", backend)
    server = node.get("serverName")
    if server and backend in ("pulse", "jack"):
        draft.set(node, "audio", "server", server)
    draft.lost(node, "write XDG_RUNTIME_DIR of that user where qlaunch is started", "runtimeDir")
    period = draft.number(node, "timerPeriod", 100, 1_000_000)
    draft.set(node, "audio", "period_us", period)
    for direction in ("input", "output"):
        side = node.one(direction)
        if side is None:
            continue
        latency = draft.number(side, "latency", 100, 1_000_000)
        if latency and direction == "output":
            draft.set(side, "audio", "latency_us", latency)
        draft.idle(side, "libvirt's own name of the stream", "streamName", "clientName")
        names = ("mixingEngine", "fixedSettings", "voices", "bufferLength", "bufferCount", "name", "serverName", "dev")
        draft.lost(side, _DETAIL, *names, "tryPoll", "connectPorts", "exactName", "tryMMap", "exclusive", "dspPolicy")
        for child in side.children:
            child.seen = True
            draft.lost(child, _DETAIL)
