"""RAM and threads in libvirt's words: ``memoryBacking``, ``numatune``, ``vcpu``, ``iothreads``, ``cputune``.

Source: libvirt's ``docs/formatdomain.rst``, "Memory Backing", "NUMA Node Tuning", "CPU Tuning".
"""

from collections.abc import Iterator

from qlaunch.devices.arg import keyval
from qlaunch.devices.iothread import Iothread
from qlaunch.devices.memory import Cell, Memory
from qlaunch.libvirt.export_sheet import Native, Part, Sheet, changed, left, since
from qlaunch.libvirt.export_xml import Element, element

_POLICIES = {"bind": "strict", "preferred": "preferred", "interleave": "interleave"}


def memory(sheet: Sheet) -> Iterator[Part]:
    """Yield the sections on RAM."""
    wanted = sheet.machine.memory
    yield element("memory", text=wanted.size >> 10, unit="KiB")
    yield element("currentMemory", text=wanted.size >> 10, unit="KiB")
    shared = wanted.shared if wanted.shared is not None else "shared-memory" in sheet.site.needs
    pages = wanted.page_bytes
    page = element("page", size=pages >> 10, unit="KiB") if pages else None
    access = "shared" if shared else "private" if wanted.shared is False else None
    yield element(
        "memoryBacking",
        element("hugepages", page) if page else None,
        element("nosharepages"),
        element("locked") if wanted.lock else None,
        element("source", type="memfd") if shared or pages else None,
        element("access", mode=access) if access else None,
        _allocation(wanted),
    )
    yield from _nodes(wanted)
    if wanted.hugepages == "thp":
        yield left("memory.hugepages", "libvirt has no word for transparent huge pages; the host's own setting decides")
    if wanted.instead:
        yield left("memory.on_missing", "libvirt starts no domain whose huge pages are missing")
    if pages and wanted.prealloc is False:
        yield left("memory.prealloc", "libvirt always takes all of a guest's huge pages at the start")


def _allocation(wanted: Memory) -> Element | None:
    """Say when the pages are taken. With huge pages libvirt takes them at the start by itself."""
    mode = {True: "immediate", False: None if wanted.page_bytes else "ondemand", None: None}[wanted.prealloc]
    threads = wanted.prealloc_threads
    return element("allocation", mode=mode, threads=threads) if mode or threads else None


def _nodes(wanted: Memory) -> Iterator[Part]:
    """Yield from which of the host's nodes the memory is."""
    whole = None
    if (nodes := _node_set(wanted)) is not None:
        whole = element("memory", mode=_POLICIES[wanted.policy], nodeset=nodes)
    cells = [
        element("memnode", cellid=number, mode=_POLICIES[cell.policy], nodeset=nodes)
        for number, cell in enumerate(wanted.cell)
        if (nodes := _node_set(cell)) is not None
    ]
    if whole or cells:
        yield element("numatune", whole, *cells)


def _node_set(wanted: Memory | Cell) -> str | None:
    return str(wanted.nodes) if wanted.nodes else None if wanted.node is None else str(wanted.node)


def cells(sheet: Sheet) -> Element | None:
    """Give ``numa`` of ``cpu``: the guest's own cells."""
    found = [_cell(number, cell) for number, cell in enumerate(sheet.machine.memory.cell)]
    return element("numa", *found) if found else None


def _cell(number: int, cell: Cell) -> Element:
    far = [element("sibling", id=other, value=distance) for other, distance in enumerate(cell.distances)]
    distances = element("distances", *far) if far else None
    cpus = str(cell.cpus) if cell.cpus else None
    return element("cell", distances, id=number, cpus=cpus, memory=cell.size >> 10, unit="KiB")


def threads(sheet: Sheet) -> Iterator[Part]:
    """Yield the number of vCPUs and iothreads, and where each runs."""
    machine = sheet.machine
    yield element("vcpu", text=sheet.site.vcpus, placement="static")
    if machine.iothread:
        yield from _iothreads(sheet)
    scheduler, _, priority = (machine.cpu.scheduler or "").partition(":")
    everyone = f"0-{sheet.site.vcpus - 1}" if sheet.site.vcpus > 1 else "0"
    tuned = (
        *(element("vcpupin", vcpu=number, cpuset=cpu) for number, cpu in enumerate(machine.cpu.pin or ())),
        element("emulatorpin", cpuset=str(machine.cpu.emulator)) if machine.cpu.emulator else None,
        *(
            element("iothreadpin", iothread=sheet.thread_number(thread.name), cpuset=str(thread.pin))
            for thread in machine.iothread
            if thread.pin
        ),
        element("vcpusched", vcpus=everyone, scheduler=scheduler, priority=priority) if scheduler else None,
    )
    if any(part is not None for part in tuned):
        yield element("cputune", *tuned)
    if machine.cpu.pin is not None and machine.cpu.pin.auto:
        yield left("cpu.pin", 'libvirt does not choose CPUs by itself, as "auto" does; no pin is written')


def _iothreads(sheet: Sheet) -> Iterator[Part]:
    threads = sheet.machine.iothread
    yield element("iothreads", text=len(threads))
    yield element("iothreadids", *(_iothread(sheet, thread) for thread in threads))
    for index, thread in enumerate(threads):
        number = sheet.thread_number(thread.name)
        if thread.name not in (f"io{number}", f"iothread{number}"):
            yield changed(f"iothread.{index}.name", f"libvirt numbers its iothreads: {thread.name} is number {number}")
        if _polls(thread) and not sheet.knows("iothread polling"):
            message = f"libvirt sets how an iothread polls from {since('iothread polling')} on"
            yield left(f"iothread.{index}", message)


def _iothread(sheet: Sheet, thread: Iothread) -> Element:
    keys = {"max": thread.poll_max_ns, "grow": thread.poll_grow, "shrink": thread.poll_shrink}
    poll = element("poll", **keys) if _polls(thread) and sheet.knows("iothread polling") else None
    return element("iothread", poll, id=sheet.thread_number(thread.name))


def _polls(thread: Iothread) -> bool:
    return any(value is not None for value in (thread.poll_max_ns, thread.poll_grow, thread.poll_shrink))


def overcommit(sheet: Sheet) -> Iterator[Part]:
    """Yield what libvirt has no word for, in QEMU's own."""
    if sheet.machine.cpu.power_management:
        # A later -overcommit sets all of its keys anew, so the lock of the memory is repeated.
        option = keyval("overcommit", **{"mem-lock": sheet.machine.memory.lock, "cpu-pm": True})
        yield Native(option.words())
