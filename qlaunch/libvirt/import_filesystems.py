"""Folders of the host that the guest mounts.

Source: libvirt's ``docs/formatdomain.rst``, "Filesystems"; its 9p server leaves owners as they are by default.
"""

from qlaunch.libvirt.import_draft import Draft, shown
from qlaunch.libvirt.import_places import Places

_ACCESS = {"passthrough": "passthrough", "mapped": "mapped", "squash": "none"}
_VIRTIOFS = "virtiofsd is started as qlaunch does it; this setting has no key here"


def filesystems(draft: Draft, places: Places) -> None:
    """Read every folder."""
    for node in places.devices.each("filesystem"):
        draft.idle(node.one("alias"), "libvirt's own name")
        kind, driver = node.get("type") or "mount", node.one("driver")
        source, target = node.one("source"), node.one("target")
        name = (driver.get("type") if driver else None) or "path"
        folder, tag = source.get("dir") if source else None, target.get("dir") if target else None
        if kind != "mount" or name not in ("virtiofs", "path", "handle", "mtp") or not tag or not folder:
            outside = source.attributes.get("socket") if source else None
            what = f"a virtiofsd of its own at {shown(outside)}" if outside else f'the type "{shown(kind)}"'
            node.close()
            draft.asks(node, f"{what} has no key here; left out", ("share",))
            continue
        row, _ = draft.add(node, "share", path=folder, tag=tag)
        access = draft.choice(node, "accessmode", _ACCESS)
        if name != "virtiofs":
            row["type"] = "9p"
            row["access"] = access or "passthrough"
        draft.lost(node, "this detail of 9p has no key here", "fmode", "dmode", "multidevs")
        draft.lost(node.one("boot"), "has no place in the boot order")
        if driver is not None:
            draft.lost(
                driver, "this detail has no key here", "wrpolicy", "format", "iommu", "ats", "packed", "page_per_vq"
            )
            size = draft.number(driver, "queue", 1, 1 << 16)
            if size not in (None, 1024):
                draft.differs(driver, "the queue has 1024 places", (), "queue")
        if node.one("readonly") is not None:
            row["read_only"] = True
        for child in ("binary", "idmap", "space_hard_limit", "space_soft_limit"):
            found = node.one(child)
            if found is not None:
                path = found.attributes.get("path")
                only_path = set(found.attributes) <= {"path"} and not found.children
                draft.idle(
                    found, f"virtiofsd is found by qlaunch; libvirt used {shown(path)}"
                ) if path and only_path else (draft.lost(found, _VIRTIOFS))
        draft.choice(node, "model", dict.fromkeys(("virtio", "virtio-transitional", "virtio-non-transitional")))
        places.claim(node, row)
