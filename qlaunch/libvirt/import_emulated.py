"""Small devices: TPM, watchdog, randomness, balloon, vsock, panic, IOMMU; and the program that runs it all.

Source: libvirt's ``docs/formatdomain.rst``, the sections of their names; ``src/qemu/qemu_command.c`` for what each
becomes.
"""

from qlaunch.libvirt.import_controllers import controllers
from qlaunch.libvirt.import_draft import Draft, shown
from qlaunch.libvirt.import_node import Node
from qlaunch.libvirt.import_places import Places

# Where distributions have the emulator that is meant by its plain name.
_USUAL = ("/usr/bin/", "/usr/libexec/", "/bin/", "/usr/local/bin/", "/run/libvirt/nix-emulators/")
_NAMES = ("qemu-system-x86_64", "qemu-kvm", "kvm", "qemu-system-i386", "qemu")


def emulated(draft: Draft, places: Places) -> None:
    """Read them all."""
    controllers(draft, places)
    _emulator(draft, places.devices.one("emulator"))
    _tpm(draft, places)
    _watchdog(draft, places)
    _rng(draft, places)
    _balloon(draft, places)
    _vsock(draft, places)
    _panic(draft, places)
    _iommu(draft, places)
    for node in places.devices.each("crypto"):
        draft.lost(node, "a virtio device for ciphers has no key here")
    for tag in ("nvram", "lease", "pstore"):
        for node in places.devices.each(tag):
            draft.lost(node, "has no key here")


def _emulator(draft: Draft, node: Node | None) -> None:
    if node is None:
        return
    path = node.word()
    folder, _, name = path.rpartition("/")
    if name in _NAMES and f"{folder}/" in _USUAL:
        return
    draft.set(node, "qemu", "binary", path or "qemu-system-x86_64")
    draft.asks(
        node, f"qlaunch will run {shown(path)}: take qemu.binary out for the QEMU of this host", ("qemu", "binary")
    )


def _tpm(draft: Draft, places: Places) -> None:
    nodes = places.devices.each("tpm")
    for node in nodes[1:]:
        draft.lost(node, "a machine has one TPM")
    if not nodes:
        return
    node = nodes[0]
    draft.idle(node.one("alias"), "libvirt's own name")
    backend = node.one("backend")
    kind = (backend.get("type") if backend else None) or "passthrough"
    if kind != "emulator":
        node.close()
        draft.asks(
            node, f'a TPM of the kind "{shown(kind)}" has no key here; write [tpm] for an emulated one', ("tpm",)
        )
        return
    model = draft.choice(node, "model", {"tpm-crb": "crb", "tpm-tis": "tis"})
    version = draft.choice(backend, "version", {"2.0": "2.0", "1.2": "1.2"})
    draft.set(node, "tpm", "version", version or "2.0")
    draft.set(node, "tpm", "model", model or "tis")
    if backend is not None:
        draft.idle(backend, "the state is always kept", "persistent_state", "debug")
        for tag in ("encryption", "active_pcr_banks", "profile", "source"):
            draft.lost(backend.one(tag), "swtpm makes it as it likes")
    uuid = draft.tables.get("machine", {}).get("uuid", "UUID")
    message = f"the new TPM is empty: BitLocker will ask for its key, unless you copy /var/lib/libvirt/swtpm/{uuid}"
    draft.asks(node, message, ("tpm",))


def _watchdog(draft: Draft, places: Places) -> None:
    nodes = places.devices.each("watchdog")
    actions = {name: name for name in ("reset", "shutdown", "poweroff", "pause", "none", "inject-nmi")}
    for node in nodes:
        draft.idle(node.one("alias"), "libvirt's own name")
        model = draft.choice(node, "model", {name: name for name in ("i6300esb", "ib700", "itco")})
        action = draft.choice(node, "action", {**actions, "dump": "pause"})
        if node.attributes.get("action") == "dump":
            draft.differs(
                node, "no core dump is written: the guest is paused", ("machine", "watchdog_action"), "action"
            )
        table = draft.tables.setdefault("machine", {})
        if table.get("watchdog") and (model is None or table["watchdog"] != model):
            if model == "itco":
                continue  # libvirt counts it as one, and q35 has it either way
            if table["watchdog"] != "itco":
                draft.asks(node, "a machine has one watchdog; this one is left out", ("machine", "watchdog"))
                node.close()
                continue
        if model is None:
            continue
        draft.set(node, "machine", "watchdog", model)
        draft.set(node, "machine", "watchdog_action", action if action != "reset" else None)
        if model == "i6300esb":
            places.claim(node, table, "watchdog_address")
        else:
            draft.idle(node.one("address"), "the board has it where it is")


def _rng(draft: Draft, places: Places) -> None:
    nodes = places.devices.each("rng")
    draft.set(places.devices, "rng", "enabled", bool(nodes))
    for node in nodes[1:]:
        draft.lost(node, "one source of randomness is enough")
    if not nodes:
        return
    node = nodes[0]
    draft.idle(node.one("alias"), "libvirt's own name")
    draft.choice(node, "model", dict.fromkeys(("virtio", "virtio-transitional", "virtio-non-transitional")))
    draft.lost(node.one("driver"), "this tuning of a virtio device has no key here")
    backend, rate = node.one("backend"), node.one("rate")
    kind = backend.get("model") if backend else None
    path = backend.word() if backend else ""
    if kind == "builtin":
        draft.set(node, "rng", "source", "builtin")
    elif kind == "egd" and backend is not None:
        backend.close()
        draft.differs(backend, "the host's own randomness takes the place of a daemon's", ("rng", "source"))
    elif path == "/dev/hwrng" or (path and path != "/dev/urandom"):
        draft.set(node, "rng", "source", path)
    draft.set(node, "rng", "max_bytes", draft.number(rate, "bytes", 1))
    draft.set(node, "rng", "period_ms", draft.number(rate, "period", 1))
    places.claim(node, draft.tables["rng"])


def _balloon(draft: Draft, places: Places) -> None:
    """A domain that says nothing of it has a balloon."""
    node = places.devices.one("memballoon")
    model = (node.get("model") if node else None) or "virtio"
    if model == "none":
        if node is not None:
            node.close()
        return
    table = draft.tables["memory"]
    draft.set(node or places.devices, "memory", "balloon", value=True)
    holder = node or places.devices
    if node is not None:
        draft.idle(node.one("alias"), "libvirt's own name")
        draft.idle(node.one("stats"), "how often libvirt asks")
        draft.lost(node.one("driver"), "this tuning of a virtio device has no key here")
    draft.set(holder, "memory", "balloon_deflate", bool(draft.flag(node, "autodeflate")))
    draft.set(holder, "memory", "balloon_reporting", bool(draft.flag(node, "freePageReporting")))
    places.claim(node or Node("memballoon", {}, None, holder.line, holder.column), table, "balloon_address")


def _vsock(draft: Draft, places: Places) -> None:
    node = places.devices.one("vsock")
    if node is None:
        return
    draft.idle(node.one("alias"), "libvirt's own name")
    draft.choice(node, "model", dict.fromkeys(("virtio", "virtio-transitional", "virtio-non-transitional")))
    draft.lost(node.one("driver"), "this tuning of a virtio device has no key here")
    cid = node.one("cid")
    number = draft.number(cid, "address", 3, 0xFFFFFFFE)
    if draft.flag(cid, "auto") or number is None:
        draft.differs(node, f"libvirt chose a number at each start; {number or 3} is written", ("vsock", "cid"))
    draft.set(node, "vsock", "cid", number or 3)
    places.claim(node, draft.tables["vsock"])


def _panic(draft: Draft, places: Places) -> None:
    draft.set(places.devices, "machine", "panic_device", value=False)
    for node in places.devices.each("panic"):
        draft.idle(node.one("alias"), "libvirt's own name")
        model = node.get("model") or "isa"
        draft.idle(node.one("address"), "the board has it where it is")
        if model == "isa":
            draft.set(node, "machine", "panic_device", value=True)
        elif model == "hyperv":
            draft.set(node, "cpu.hyperv", "crash", value=True)
        else:
            draft.lost(node, f'a panic device of the model "{shown(model)}" has no key here')


def _iommu(draft: Draft, places: Places) -> None:
    for node in places.devices.each("iommu"):
        draft.idle(node.one("alias"), "libvirt's own name")
        model, driver = node.get("model"), node.one("driver")
        if model != "intel":
            node.close()
            draft.asks(
                node, f'an IOMMU of the model "{shown(model or "")}" has no key here; left out', ("qemu", "extra")
            )
            continue
        names = {"intremap": "intremap", "caching_mode": "caching-mode", "eim": "eim", "iotlb": "device-iotlb"}
        words = {ours: draft.flag(driver, theirs) for theirs, ours in names.items()}
        bits = draft.number(driver, "aw_bits", 39, 64)
        draft.lost(driver, "has no key here", "dma_translation", "granule", "xtsup", "pt") if driver else None
        said = [f"{name}={'on' if on else 'off'}" for name, on in words.items() if on is not None]
        said += [f"aw-bits={bits}"] if bits else []
        # Not in JSON: QEMU makes such devices first, and those behind an IOMMU must find it there.
        draft.pass_on("-device", ",".join(["intel-iommu", *said]))
