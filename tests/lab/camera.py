"""Runs inside the emulated host: takes its photograph, all that a launcher may change and must give back.

Sent as text and run by the agent (agent.py), so it has nothing but Python's own library. It reads the kernel's files
itself and knows nothing of qlaunch: it is the judge.

A photograph is ``{part: {name: text}}``. Names that the kernel deals out anew, such as event numbers, are left out or
replaced by what they stand for, since a device that went away and came back may have another one.
"""

import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator

Part = dict[str, str]

# What changes by itself, or by being looked at.
RESTLESS_SYSCTL = re.compile(
    r"/proc/sys/(kernel/(random|keys|pty|perf_|ns_last_pid|sched_domain)|fs/|vm/(stat_refresh|drop_caches|compact_memory)|net/ipv4/tcp_fastopen_key)"
)
RESTLESS_RUN = re.compile(
    r"/run/(udev|log|systemd/(units|journal|inhibit|transient|propagate|sessions|users|seats|netif|unit-root|incoming)|user)/"
)
RENUMBERED_NODE = re.compile(
    r"/dev/(pts|input/(event|mouse|js)\d|bus/usb|hidraw|sg\d|bsg|snd/|char|block|disk|vcs|dma_heap)"
)
# In include/linux/sched.h: the kernel's own. One that ends has no command line either, but is none of them.
PF_KTHREAD = 0x00200000
OURS = "/usr/local/libexec/lab-agent.py"


def photograph() -> dict[str, Part]:
    """Take the picture, once the kernel's events are through."""
    subprocess.run(["udevadm", "settle", "--timeout=60"], check=True)
    return {
        "pci": dict(pci()),
        "hugepages": dict(matching(r"nr_hugepages$", "/sys/kernel/mm/hugepages", "/sys/devices/system/node")),
        "cpufreq": dict(
            matching(r"scaling_(governor|min_freq|max_freq)|energy_perf", "/sys/devices/system/cpu/cpufreq")
        ),
        "interrupts": dict(interrupts()),
        "cgroups": dict(cgroups()),
        "links": dict(links()),
        "services": dict(services()),
        "modules": dict(modules()),
        "consoles": dict(matching(r"/bind$", "/sys/class/vtconsole")),
        "owners": dict(owners()),
        "inputs": dict(inputs()),
        "mounts": dict(mounts()),
        "processes": dict(processes()),
        "kernel threads": dict(kernel_threads()),
        "run": dict(files_under_run()),
        "sysctl": dict(sysctl()),
        "masks": dict(masks()),
        "parameters": dict(parameters()),
    }


def difference(before: dict[str, Part], after: dict[str, Part]) -> list[str]:
    """What is not as it was, a line each; empty when the host is as it was."""
    return [
        f"{part}: {name}: {old.get(name, '(not there)')} -> {after[part].get(name, '(gone)')}"
        for part, old in before.items()
        for name in sorted(old.keys() | after[part].keys())
        if old.get(name) != after[part].get(name)
    ]


def text(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read().strip()
    except OSError as error:
        return f"({os.strerror(error.errno or 0)})"


def link(path: str) -> str:
    try:
        return os.path.basename(os.readlink(path))
    except OSError:
        return "none"


def matching(pattern: str, *folders: str) -> Iterator[tuple[str, str]]:
    wanted = re.compile(pattern)
    for folder in folders:
        for place, subfolders, names in os.walk(folder):
            # Links to folders of the same kind of thing, such as a policy's: os.walk does not follow them by itself.
            for name in (*names, *subfolders):
                path = f"{place}/{name}"
                if wanted.search(path) and os.path.isfile(path):
                    yield path, text(path)
                elif os.path.islink(path) and folder == "/sys/class/vtconsole" and os.path.isfile(f"{path}/bind"):
                    yield f"{path}/bind {text(f'{path}/name')}", text(f"{path}/bind")


def pci() -> Iterator[tuple[str, str]]:
    folder = "/sys/bus/pci/devices"
    for address in sorted(os.listdir(folder)):
        place = f"{folder}/{address}"
        yield f"{address} driver", link(f"{place}/driver")
        yield f"{address} iommu_group", link(f"{place}/iommu_group")
        for name in ("driver_override", "power/control", "reset_method", "sriov_numvfs", "sriov_drivers_autoprobe"):
            if os.path.exists(f"{place}/{name}"):
                yield f"{address} {name}", text(f"{place}/{name}")


def interrupts() -> Iterator[tuple[str, str]]:
    yield "default", text("/proc/irq/default_smp_affinity")
    found: Counter[str] = Counter()
    for number in os.listdir("/proc/irq"):
        folder = f"/proc/irq/{number}"
        if number.isdigit():
            actions = sorted(name for name in os.listdir(folder) if os.path.isdir(f"{folder}/{name}"))
            if actions:
                found[f"{' '.join(actions)} on {text(f'{folder}/smp_affinity_list')}"] += 1
    yield from ((name, str(count)) for name, count in sorted(found.items()))


def cgroups() -> Iterator[tuple[str, str]]:
    for place, _, names in os.walk("/sys/fs/cgroup"):
        if "user@" in place or "lab-agent" in place:
            continue
        yield place, "cgroup"
        for name in ("cpuset.cpus", "cpuset.cpus.effective", "cpuset.cpus.partition", "cpuset.mems"):
            if name in names:
                yield f"{place}/{name}", text(f"{place}/{name}")


def links() -> Iterator[tuple[str, str]]:
    said = subprocess.run(["ip", "-d", "-j", "link", "show"], stdout=subprocess.PIPE, check=True).stdout
    for found in json.loads(said):
        name = found["ifname"]
        flags = sorted(set(found.get("flags", [])) & {"UP", "PROMISC", "ALLMULTI", "NOARP"})
        kind = found.get("linkinfo", {}).get("info_kind", "")
        yield (
            name,
            f"{' '.join(flags)} mtu {found.get('mtu')} master {found.get('master')} {found.get('address')} {kind}",
        )
        for function in found.get("vfinfo_list", []):
            yield f"{name} vf {function['vf']}", json.dumps(function, sort_keys=True)
    rules = subprocess.run(["nft", "list", "ruleset"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    yield "nftables", rules.stdout.decode()
    routes = subprocess.run(["ip", "-j", "route", "show", "table", "all"], stdout=subprocess.PIPE, check=True).stdout
    yield "routes", json.dumps(sorted(json.dumps(route, sort_keys=True) for route in json.loads(routes)))


def services() -> Iterator[tuple[str, str]]:
    argv = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "--type=service,socket,slice,scope,target"]
    for line in subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout.decode().splitlines():
        name, _, active, sub, *_ = line.split()
        # A transient unit of systemd itself, such as a user's manager, or one that is there for a moment.
        if active != "inactive" and not name.startswith(("user@", "user-runtime-dir@", "session-", "systemd-")):
            yield name, f"{active} {sub}"


def modules() -> Iterator[tuple[str, str]]:
    for line in text("/proc/modules").splitlines():
        yield line.split()[0], "loaded"


def owners() -> Iterator[tuple[str, str]]:
    for place, _, names in os.walk("/dev"):
        for name in names:
            path = f"{place}/{name}"
            if not RENUMBERED_NODE.match(path):
                info = os.lstat(path)
                yield path, f"{info.st_uid}:{info.st_gid} {info.st_mode:o}{access_list(path)}"


def inputs() -> Iterator[tuple[str, str]]:
    """Keyboards and mice by the names that udev gave them, and who may read them."""
    for folder in ("/dev/input/by-id", "/dev/input/by-path"):
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            info = os.stat(f"{folder}/{name}")
            yield (
                f"{folder}/{name}",
                f"{info.st_uid}:{info.st_gid} {info.st_mode:o}{access_list(os.path.realpath(f'{folder}/{name}'))}",
            )


def access_list(path: str) -> str:
    """The list of others who may open a file, as the kernel keeps it; nothing where there is none."""
    try:
        return f" {os.getxattr(path, 'system.posix_acl_access', follow_symlinks=False).hex()}"
    except OSError:
        return ""


def mounts() -> Iterator[tuple[str, str]]:
    for line in text("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        yield before.split()[4], f"{after.split()[0]} {before.split()[5]}"


def every_process() -> Iterator[tuple[str, str, bool]]:
    """Yield folder, name and whether it is the kernel's own, of each process that is not this one or its kin."""
    kin = {os.getpid(), os.getppid()}
    for number in os.listdir("/proc"):
        if number.isdigit() and int(number) not in kin:
            # pid (name) state ppid pgrp session tty_nr tpgid flags …, in proc_pid_stat(5); a name may hold anything.
            told, parenthesis, rest = text(f"/proc/{number}/stat").rpartition(")")
            if parenthesis and " (" in told:
                yield f"/proc/{number}", told.partition(" (")[2], bool(int(rest.split()[6]) & PF_KTHREAD)


def allowed(folder: str) -> str:
    found = re.search(r"^Cpus_allowed_list:\s*(\S+)", text(f"{folder}/status"), re.MULTILINE)
    return found[1] if found else ""


def processes() -> Iterator[tuple[str, str]]:
    found: Counter[str] = Counter()
    for folder, name, of_kernel in every_process():
        if of_kernel or name.startswith(("(udev", "systemd-udevd", "(sd-")):
            continue
        words = text(f"{folder}/cmdline").replace("\0", " ").strip()
        # None, or "(No such process)": it has ended, and at most its parent has still to be told.
        if words and not words.startswith("(") and OURS not in words:
            found[f"{words} on {allowed(folder)}"] += 1
    yield from ((name, str(count)) for name, count in sorted(found.items()))


def kernel_threads() -> Iterator[tuple[str, str]]:
    found: Counter[str] = Counter()
    for folder, name, of_kernel in every_process():
        # Workers come and go; where they may run is in the masks.
        if of_kernel and not name.startswith(("kworker", "irq/", "scsi", "kvm", "psimon", "jbd2", "usb-storage")):
            found[f"{name} on {allowed(folder)}"] += 1
    yield from ((name, str(count)) for name, count in sorted(found.items()))


def files_under_run() -> Iterator[tuple[str, str]]:
    for place, folders, names in os.walk("/run"):
        if RESTLESS_RUN.match(f"{place}/"):
            folders.clear()
            continue
        yield place, "folder"
        yield from ((f"{place}/{name}", "file") for name in names)
    for place, _, names in os.walk("/run/systemd/system.control"):
        yield from ((f"{place}/{name}", text(f"{place}/{name}")) for name in names)


def sysctl() -> Iterator[tuple[str, str]]:
    for folder in ("/proc/sys/kernel", "/proc/sys/vm", "/proc/sys/net/ipv4"):
        for place, _, names in os.walk(folder):
            for name in names:
                path = f"{place}/{name}"
                if not RESTLESS_SYSCTL.match(path) and "/neigh/" not in path and os.access(path, os.R_OK):
                    yield path, text(path)


def masks() -> Iterator[tuple[str, str]]:
    yield from matching(r"/cpumask$", "/sys/devices/virtual/workqueue")
    yield from matching(
        r"/(enabled|defrag|shmem_enabled|run)$", "/sys/kernel/mm/transparent_hugepage", "/sys/kernel/mm/ksm"
    )


def parameters() -> Iterator[tuple[str, str]]:
    for module in ("kvm", "kvm_amd", "kvm_intel", "vfio", "vfio_pci", "vfio_iommu_type1"):
        folder = f"/sys/module/{module}/parameters"
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            yield f"{folder}/{name}", text(f"{folder}/{name}")
