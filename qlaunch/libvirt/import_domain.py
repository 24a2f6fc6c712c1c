"""A libvirt domain as a machine file, with a report on what became of each element. Pure: no path of it is opened.

Each theme reads its elements from the tree and writes to the draft. What no theme has read is found afterwards and told
as unknown, so nothing can be dropped in silence.

Source: libvirt's ``docs/formatdomain.rst`` and ``src/conf/schemas/domaincommon.rng``.
"""

from collections.abc import Callable

import msgspec

from qlaunch.errors import Problem, UsageError
from qlaunch.libvirt import (
    import_boot,
    import_chars,
    import_clock,
    import_cpu,
    import_disks,
    import_display,
    import_emulated,
    import_features,
    import_filesystems,
    import_hostdevs,
    import_identity,
    import_implicit,
    import_inputs,
    import_interfaces,
    import_memory,
    import_native,
    import_sound,
    import_tuning,
)
from qlaunch.libvirt.import_draft import Draft, Entry, shown
from qlaunch.libvirt.import_node import Node, leftovers
from qlaunch.libvirt.import_places import Places
from qlaunch.libvirt.import_read import read_xml
from qlaunch.libvirt.import_settle import settle
from qlaunch.libvirt.import_toml import write_toml
from qlaunch.machine.model import Machine

Theme = Callable[[Draft, Places], None]
_THEMES: tuple[Theme, ...] = (
    import_identity.identity,
    import_boot.firmware,
    import_boot.system,
    import_features.features,
    import_cpu.cpu,
    import_tuning.threads,
    import_clock.clock,
    import_memory.memory,
    import_disks.disks,
    import_hostdevs.hostdevs,
    import_interfaces.interfaces,
    import_inputs.inputs,
    import_filesystems.filesystems,
    import_display.display,
    import_sound.sound,
    import_chars.chars,
    import_emulated.emulated,
    import_native.native,
    import_implicit.implicit,
)


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """A machine file, the machine that it is, the report, and what the machine's own rules say of it."""

    name: str
    toml: str
    machine: Machine
    entries: list[Entry]
    warnings: list[Problem]
    hooks: list[Problem] = []  # what became of each line of the hook scripts


class HookFiles(msgspec.Struct, frozen=True):
    """Texts of hook scripts by their paths below a folder."""

    folder: str
    texts: dict[str, str]


def import_domain(data: bytes, source: str, hooks: HookFiles | None = None) -> Imported:
    """Turn a document, and the hooks beside it, into a machine file.

    ``source`` is the document's name for messages. Raises UsageError.
    """
    root = read_xml(data, source)
    domain = _domain(root, source)
    domain.seen = True
    draft = Draft(domain)
    places = Places(draft)
    for theme in _THEMES:
        theme(draft, places)
    places.settle()
    import_implicit.common_parts(draft, places)
    for node, what in leftovers(domain):
        draft.tell("unknown", node, "", (), what.removeprefix("@")) if what.startswith("@") else draft.tell(
            "unknown", node, "its text" if what else ""
        )
    told = _hooks(draft, hooks, domain.words("name")) if hooks else []
    machine, warnings = settle(draft)
    _count_taken(draft, domain)
    entries = sorted(draft.entries, key=lambda entry: entry.line)
    name = domain.words("name") or "imported"
    text = write_toml(draft)
    return Imported(name=name, toml=text, machine=machine, entries=entries, warnings=warnings, hooks=told)


def _hooks(draft: Draft, hooks: HookFiles, name: str | None) -> list[Problem]:
    from qlaunch.libvirt.hooks import read  # noqa: PLC0415 - only where asked for
    from qlaunch.libvirt.import_hooks import lay_hooks  # noqa: PLC0415

    return lay_hooks(draft, read(hooks.texts, name or None, hooks.folder))


def _domain(root: Node, source: str) -> Node:
    """Give the domain. Refuses other documents, hypervisors and architectures."""
    where = f"{source}:{root.line}:{root.column}"
    if root.tag != "domain":
        inside = next((node for node in root.walk() if node.tag == "domain"), None)
        more = f"; it has a <domain> in line {inside.line}, which alone can be imported" if inside else ""
        hint = "give it what `virsh dumpxml --inactive NAME` prints"
        raise UsageError(f"{where}: this is <{shown(root.tag)}> and no <domain>{more}", hint)
    kind = root.get("type")
    if kind not in ("kvm", "qemu"):
        said = f'of the type "{shown(kind)}"' if kind else "without a type"
        raise UsageError(f'{where}: this is a domain {said}, and QEMU runs "kvm" and "qemu" alone')
    system = root.one("os")
    guest = system.one("type") if system else None
    if guest is None:
        raise UsageError(f"{where}: the domain has no <os><type>, which says what it is", "is it whole?")
    at = f"{source}:{guest.line}:{guest.column}"
    if guest.word() != "hvm":
        raise UsageError(f'{at}: the guest is of the kind "{shown(guest.word())}", and QEMU runs "hvm" alone')
    arch = guest.get("arch")
    if arch not in (None, "x86_64", "i686"):
        raise UsageError(f"{at}: the guest is for {shown(arch or '')}, and qlaunch runs x86_64 alone")
    return root


def _count_taken(draft: Draft, domain: Node) -> None:
    """Enter every element that was read and of which there is nothing else to tell."""
    for node in domain.walk():
        if node.seen and node.parent is not None and id(node) not in draft.told and _says_something(node):
            draft.entries.append(Entry(fate="taken", path=node.path(), line=node.line))


def _says_something(node: Node) -> bool:
    return bool(node.attributes or node.text.strip() or not node.children)
