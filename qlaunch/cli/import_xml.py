"""`qlaunch import FILE.xml`: a libvirt domain as a machine file, with a report on what became of each element."""

import argparse
import os
import sys
import tempfile

import msgspec

from qlaunch.cli.host import host_facts
from qlaunch.errors import HostError, Problem, UsageError
from qlaunch.host.facts import HostFacts
from qlaunch.libvirt.import_domain import HookFiles, Imported, import_domain
from qlaunch.libvirt.import_read import MOST_BYTES
from qlaunch.libvirt.import_report import counts, finding_lines, hook_lines, report_lines


def run(options: argparse.Namespace) -> int:
    """Write the machine file, and tell what became of each element; the report goes where the file does not."""
    data, source = _read(options)
    files, unread = _hooks(options.hooks)
    made = import_domain(data, source, files)
    hooks = [*unread, *made.hooks]
    findings = _findings(made, host_facts(options))
    if options.output:
        _write(options.output, made.toml, force=options.force)
    if options.json:
        print(msgspec.json.encode(_as_json(made, source, findings, hooks)).decode())
        return 0
    if not options.output:
        sys.stdout.write(made.toml)
        sys.stdout.flush()
    stream = sys.stdout if options.output else sys.stderr
    print("\n".join(report_lines(made.entries, made.name if source == "-" else source)), file=stream)
    if files is not None:
        print("", *hook_lines(hooks), sep="\n", file=stream)
    if findings:
        where = f"the host below {options.host_root}" if options.host_root else "this host"
        print(f"\nWhat is unwise about it on {where}:", *finding_lines(findings), sep="\n", file=stream)
    return 0


def _read(options: argparse.Namespace) -> tuple[bytes, str]:
    """Give the document and its name for messages."""
    if options.from_virsh is not None:
        if options.file is not None:
            raise UsageError("FILE.xml and --from-virsh name two domains", "give one of them")
        return _from_virsh(options.from_virsh), options.from_virsh
    if options.file is None:
        raise UsageError("there is nothing to import", "see: qlaunch import --help")
    if options.file == "-":
        return sys.stdin.buffer.read(MOST_BYTES + 1), "-"
    try:
        with open(options.file, "rb") as file:
            return file.read(MOST_BYTES + 1), options.file
    except OSError as error:
        raise UsageError(f"{options.file} cannot be read: {error.strerror}", "is it the right path?") from error


def _from_virsh(name: str) -> bytes:
    """Ask virsh: of its own default connection first, which for a user is not the one that guides speak of."""
    import subprocess  # noqa: PLC0415 - only here

    if not name or name.startswith("-"):
        raise UsageError(f"{name!r} is no name of a domain", "see: virsh list --all")
    said = ""
    for connection in ([], ["-c", "qemu:///system"]):
        argv = ["virsh", "-q", *connection, "dumpxml", "--inactive", name]
        try:
            done = subprocess.run(argv, capture_output=True, check=False, env={**os.environ, "LC_ALL": "C"})
        except OSError as error:
            raise HostError(f"virsh cannot be started: {error.strerror}", "give the XML as a file instead") from error
        if not done.returncode:
            return done.stdout
        said = said or " ".join(done.stderr.decode(errors="replace").split()).removeprefix("error: ")
    raise HostError(f"virsh gives no domain {name}: {said}", "see: virsh list --all; or give the XML as a file")


def _hooks(folder: str | None) -> tuple[HookFiles | None, list[Problem]]:
    """Read the hook scripts, and tell what of the folder was left."""
    if folder is None:
        return None, []
    from qlaunch.libvirt.hooks_folder import read_folder  # noqa: PLC0415 - only where asked for

    texts, left = read_folder(folder)
    return HookFiles(os.path.abspath(folder), texts), left


def _findings(made: Imported, facts: HostFacts) -> list[Problem]:
    """Give what the audit says of the machine on this host, or on the one that --host-root names."""
    from qlaunch.audit import audit  # noqa: PLC0415 - after the document has been refused or read

    found = audit(made.machine, facts)
    return [*made.warnings, *found]


def _as_json(made: Imported, source: str, findings: list[Problem], hooks: list[Problem]) -> dict[str, object]:
    """Give the documented shape."""
    keys = ("severity", "code", "key", "message", "hint")
    lines = ("severity", "code", "key", "where", "message", "hint")
    return {
        "name": made.name,
        "source": source,
        "toml": made.toml,
        "counts": counts(made.entries),
        "elements": made.entries,
        "hooks": [{key: getattr(problem, key) for key in lines} for problem in hooks],
        "findings": [{key: getattr(problem, key) for key in keys} for problem in findings],
    }


def _write(path: str, text: str, *, force: bool) -> None:
    """Write the file whole or not at all; what is there is kept unless told otherwise."""
    try:
        if force:
            folder = os.path.dirname(path) or "."
            descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".qlaunch-")
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
            return
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} exists", "name another file, or use --force to replace it") from None
    except OSError as error:
        folder = os.path.dirname(path) or "."
        raise HostError(f"{path} cannot be written: {error.strerror}", f"is {folder} a folder of yours?") from error
