"""Network cards, and what they are plugged into.

Source: libvirt's ``docs/formatdomain.rst``, "Network interfaces"; ``src/qemu/qemu_domain.c``,
``qemuDomainDefaultNetModel`` (rtl8139 where nothing is said).
"""

from qlaunch.errors import UsageError
from qlaunch.libvirt.import_draft import Draft, Key, Table, shown
from qlaunch.libvirt.import_hostdevs import alias_of, host_address
from qlaunch.libvirt.import_node import Node
from qlaunch.libvirt.import_places import Places
from qlaunch.values.mac import Mac

_MODELS = {name: name for name in ("virtio", "e1000e", "e1000", "igb", "rtl8139", "vmxnet3", "pcnet", "ne2k_pci")}
_MODELS |= {"virtio-transitional": "virtio", "virtio-non-transitional": "virtio", "ne2000": "ne2k_pci"}
_IDLE = {
    "filterref": "a filter of libvirt's, which the host's firewall can do",
    "target": "the name of the host's side, which qlaunch gives itself",
}
_LOST = {
    "bandwidth": "limits of speed have no key here",
    "coalesce": "has no key here",
    "tune": "has no key here",
    "ip": "addresses are the guest's and the host's own affair",
    "route": "routes are the guest's and the host's own affair",
    "port": "isolation of ports is the bridge's own affair",
    "teaming": "is for moving running guests",
    "acpi": "the guest's numbering of cards has no key here",
    "guest": "is for containers",
    "backenddomain": "is for Xen",
    "downscript": "scripts are not run; see [[hook]]",
}
_MODES = {"bridge": "bridge", "vepa": "vepa", "private": "private", "passthrough": "passthru"}
_ON_TAP = ("bridge", "tap", "macvtap")


def interfaces(draft: Draft, places: Places) -> None:
    """Read every card."""
    for number, node in enumerate(places.devices.each("interface")):
        alias = alias_of(draft, node, f"net{number}")
        _idle(draft, node)
        row, key = draft.add(node, "network")
        if not _plugged(draft, places, node, row, key):
            draft.tables["network"].pop()
            node.close()
            continue
        _card(draft, node, row, key)
        boot = draft.number(node.one("boot"), "order", 1, 1 << 30)
        if boot is None and places.network_boot:
            boot, places.network_boot = places.network_boot, None
        if boot:
            row["boot_index"] = boot
        draft.aliases[alias] = ("network", row)
        places.claim(node, row)


def _idle(draft: Draft, node: Node) -> None:
    for tag, reason in _IDLE.items():
        if tag == "target" and node.get("type") == "ethernet":
            continue
        for child in node.each(tag):
            draft.idle(child, reason)
    for tag, reason in _LOST.items():
        for child in node.each(tag):
            draft.lost(child, reason)
    if node.get("type") != "ethernet":
        draft.lost(node.one("script"), _LOST["downscript"])
    if node.get("type") != "user":
        for child in node.each("portForward"):
            draft.lost(child, "ports are forwarded by user networking alone")
    source, boot = node.one("source"), node.one("boot")
    for child in source.each("ip", "route") if source else []:
        draft.lost(child, _LOST[child.tag])
    draft.idle(source, "a group of ports of libvirt's network", "portgroup") if source is not None else None
    draft.idle(boot, "is for s390", "loadparm") if boot is not None else None
    draft.idle(node, "how addresses are trusted is the network's affair", "trustGuestRxFilters")


def _plugged(draft: Draft, places: Places, node: Node, row: Table, key: Key) -> bool:
    """Write the type of a card. Give whether there is one here."""
    kind, source = node.get("type"), node.one("source")
    del places
    portgroup = node.one("virtualport")
    name = source.get("bridge") or source.get("dev") or source.get("network") if source else None
    match kind:
        case "network":
            _network(draft, node, row, key, name or "default")
        case "bridge":
            row.update({"type": "bridge", "bridge": name})
        case "direct":
            row.update({"type": "macvtap", "device": name})
            mode = draft.choice(source, "mode", _MODES) or "vepa"  # libvirt's default
            row.update({} if mode == "bridge" else {"mode": mode})
        case "ethernet":
            _ethernet(draft, node, row, key)
        case "user":
            _user(draft, node, row)
        case "hostdev":
            return _hostdev(draft, node, row, key)
        case _:
            message = f'a card on "{shown(kind or "nothing")}" has no key here; left out'
            draft.asks(node, message, ("network",))
            return False
    if row.get("type") in ("bridge", "macvtap") and not name:
        draft.asks(node, "says not what it is plugged into; left out", ("network",))
        return False
    if portgroup is not None:
        portgroup.close()
        draft.asks(portgroup, "switches other than the kernel's own bridge have no key here", key)
    vlan = node.one("vlan")
    if vlan is not None and row.get("type") != "vf":
        draft.lost(vlan, "VLANs are for virtual functions; for a bridge, let the bridge do it")
    return True


def _ethernet(draft: Draft, node: Node, row: Table, key: Key) -> None:
    target, script = node.one("target"), node.one("script")
    row["type"] = "tap"
    if target is not None and draft.flag(target, "managed") is False and target.get("dev"):
        row["device"] = target.get("dev")  # it is there already
    draft.idle(target, _IDLE["target"], "dev") if "device" not in row else None
    if script is not None:
        path = shown(script.get("path") or "")
        draft.asks(node, f"its script {path} is not run; make it a [[hook]], or use a bridge", key)


def _network(draft: Draft, node: Node, row: Table, key: Key, name: str) -> None:
    source = node.one("source")
    row["type"] = "user"
    bridge = (source.get("bridge") if source else None) or ("virbr0" if name == "default" else "virbr…")
    if source is not None:
        draft.idle(source, "is of a running domain", "portid")
    text = f'the network "{shown(name)}" is libvirt\'s own; user networking takes its place.'
    way = f'To be on it while libvirt runs it: type = "bridge", bridge = "{shown(bridge)}"'
    draft.asks(node, f"{text} {way}", key)
    draft.comment((*key, "type"), f'needs your word: it was libvirt\'s network "{shown(name)}"; see the report')


def _user(draft: Draft, node: Node, row: Table) -> None:
    backend = node.one("backend")
    kind = draft.choice(backend, "type", {"passt": "passt", "default": "user"})
    row["type"] = kind or "user"
    draft.lost(backend, "has no key here", "logFile", "hostname", "fqdn") if backend else None
    forwards = []
    for forward in node.each("portForward"):
        protocol, address = forward.get("proto") or "tcp", forward.get("address")
        if forward.get("dev") is not None:
            draft.lost(forward, "ports are forwarded from all of the host's cards, or from one address", "dev")
        for area in forward.each("range"):
            start = draft.number(area, "start", 1, 65535)
            end, to = draft.number(area, "end", 1, 65535) or start, draft.number(area, "to", 1, 65535) or start
            if draft.flag(area, "exclude"):
                draft.lost(area, "what is left out of a range has no key here")
            elif start and end and to:
                many = range(min(end - start + 1, 64))
                host = f"{address}:" if address and ":" not in address else "0.0.0.0:"
                forwards += [f"{protocol}:{host}{start + step}-{to + step}" for step in many]
                if end - start >= 64:
                    draft.differs(area, "64 ports of the range are forwarded", ("network",))
    if forwards:
        row["forward"] = forwards
    source = node.one("source")
    if source is not None:
        source.get("dev")
        draft.idle(source, "the card of the host that passt speaks through", "dev")


def _hostdev(draft: Draft, node: Node, row: Table, key: Key) -> bool:
    """Write a virtual function: libvirt names it by its address, and sets MAC and VLAN on its card."""
    source = node.one("source")
    host = host_address(draft, source.one("address") if source else None)
    for driver in node.each("driver"):
        driver.get("name")
    draft.flag(node, "managed")
    if host is None:
        draft.asks(node, "says no PCI address of the host; left out", ("network",))
        return False
    row.update({"type": "vf", "host": host.removeprefix("0000:")})
    vlan = node.one("vlan")
    if vlan is not None:
        draft.flag(vlan, "trunk")
        tags = [tag for one in vlan.each("tag") if (tag := draft.number(one, "id", 0, 4094)) is not None]
        for one in vlan.each("tag"):
            draft.lost(one, "the guest's own tag has no key here", "nativeMode")
        if tags:
            row["vlan"] = tags[0]
        if len(tags) > 1:
            draft.asks(vlan, f"a virtual function is in one VLAN; {tags[0]} is written", key)
    return True


def _mac(draft: Draft, mac: Node | None, row: Table, key: Key) -> None:
    if mac is None:
        return
    draft.idle(mac, "how libvirt chose it", "type", "check", "currentAddress")
    text = mac.get("address") or ""
    try:
        row["mac"] = str(Mac.parse(text))
    except (ValueError, UsageError):
        draft.asks(mac, f'"{shown(text)}" is no address of a card; one is made', (*key, "mac"))


def _card(draft: Draft, node: Node, row: Table, key: Key) -> None:
    _mac(draft, node.one("mac"), row, key)
    model = node.one("model")
    if row.get("type") == "vf":
        node.one("rom")
        draft.idle(model, "the card is what it is", "type") if model is not None else None
        draft.lost(node.one("backend"), "has no key here")
        return
    name = (model.get("type") or "rtl8139") if model else "rtl8139"
    if name not in _MODELS:
        draft.asks(node, f'a card of the model "{shown(name)}" has no key here; e1000e takes its place', key)
    chosen = _MODELS.get(name, "e1000e")
    if chosen != "virtio":
        row["model"] = chosen
    driver = node.one("driver")
    if driver is not None:
        _driver(draft, driver, row, chosen)
    mtu = node.one("mtu")
    size = draft.number(mtu, "size", 68, 65535)
    if mtu is not None and size:
        if chosen == "virtio":
            row["mtu"] = size
        else:
            draft.lost(mtu, "only virtio cards tell the guest their MTU")
    link = node.one("link")
    if link is not None and draft.choice(link, "state", {"up": True, "down": False}) is False:
        draft.asks(link, "the card is plugged in here; in libvirt its cable is out", key)
    _rom(draft, node.one("rom"), row)
    backend = node.one("backend")
    if backend is not None:
        draft.idle(backend, "a device of the host that libvirt would open", "tap", "vhost")
        if row["type"] not in ("user", "passt"):
            draft.lost(backend, "has no key here", "type", "logFile", "hostname", "fqdn")


def _rom(draft: Draft, rom: Node | None, row: Table) -> None:
    if rom is None:
        return
    file, enabled, bar = rom.get("file"), draft.flag(rom, "enabled"), draft.flag(rom, "bar")
    if file is not None and enabled is not False and bar is not False:
        row["rom"] = file


def _driver(draft: Draft, node: Node, row: Table, model: str) -> None:
    draft.idle(node, "is QEMU's default anyway", "ioeventfd", "event_idx", "txmode")
    draft.lost(
        node, "this tuning of a virtio card has no key here", "iommu", "ats", "page_per_vq", "rss", "rss_hash_report"
    )
    for tag in ("host", "guest"):
        draft.lost(node.one(tag), "single offloads have no key here")
    vhost = draft.choice(node, "name", {"vhost": True, "qemu": False})
    if vhost is False and row["type"] in _ON_TAP:
        row["vhost"] = False
    values = {
        "queues": draft.number(node, "queues", 1, 256),
        "rx_queue_size": draft.number(node, "rx_queue_size", 256, 1024),
        "tx_queue_size": draft.number(node, "tx_queue_size", 256, 1024),
        "packed": draft.flag(node, "packed"),
    }
    if model == "virtio":
        row.update({name: value for name, value in values.items() if value is not None})
