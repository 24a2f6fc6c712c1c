"""The report of an import in lines of 80 columns: what was taken over summed up, and the rest one by one.

Owns: wording and order. Must not: print.
"""

import re
import textwrap
from collections.abc import Iterator

import msgspec

from qlaunch.errors import Problem
from qlaunch.libvirt.import_draft import Entry, Fate

_WIDTH = 80
_TITLES: dict[Fate, str] = {
    "your-word": "Needs your word",
    "unknown": "Unknown to qlaunch, and left out",
    "different": "Taken over with a difference",
}
# Lines of hooks that need nothing: what qlaunch does by itself, and files that are not of this domain.
_QUIET = {"hook-needless": "not needed", "hook-other": "not of this domain"}
_MOST_FILES = 6


class Counts(msgspec.Struct, frozen=True):
    """How many elements and attributes met each fate."""

    taken: int = 0
    different: int = 0
    your_word: int = 0
    no_meaning: int = 0
    unknown: int = 0


def counts(entries: list[Entry]) -> Counts:
    """Count the fates."""
    found = {name: sum(entry.fate == name.replace("_", "-") for entry in entries) for name in Counts.__struct_fields__}
    return Counts(**found)


def report_lines(entries: list[Entry], source: str) -> Iterator[str]:
    """Yield the lines for people."""
    number = counts(entries)
    yield (
        f"{source}: {number.taken} taken over, {number.different} with a difference, "
        f"{number.your_word} need your word, {number.no_meaning} without meaning here"
        + (f", {number.unknown} unknown" if number.unknown else "")
    )
    for fate, title in _TITLES.items():
        some = [entry for entry in entries if entry.fate == fate]
        if some:
            yield ""
            yield f"{title}:"
            for line, paths, message in _together(some):
                yield from _entry(line, paths, message)
    for fate, title in (("taken", "Taken over"), ("no-meaning", "Without meaning here")):
        words = ", ".join(_summed(entry for entry in entries if entry.fate == fate))
        if words:
            yield ""
            yield from textwrap.wrap(f"{title}: {words}.", _WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def hook_lines(findings: list[Problem]) -> Iterator[str]:
    """Yield the lines for people on what became of hook scripts: what is kept one by one, keys with their lines."""
    kept = [one for one in findings if one.code not in ("hook-key", *_QUIET)]
    known = {
        one.key: [each for each in findings if each.code == "hook-key" and each.key == one.key] for one in findings
    }
    said = sum(len(lines) for key, lines in known.items() if key)
    quiet = {code: [one for one in findings if one.code == code] for code in _QUIET}
    what = "line" if said == 1 else "lines"
    yield f"Hook scripts: {said} {what} said by keys, {len(quiet['hook-needless'])} not needed, {len(kept)} to look at"
    for one in kept:
        hint = f"; {one.hint}" if one.hint else ""
        text = f"{one.where}: {one.message}{hint}" if one.where else f"{one.message}{hint}"
        yield from _wrapped("  ", text)
    for key, lines in known.items():
        if key and lines:
            yield from _wrapped("  ", f"{key}: {', '.join(_at(lines))}")
    for code, title in _QUIET.items():
        places = list(_at(quiet[code]))
        more = [f"{len(places) - _MOST_FILES} more files (--json names them)"] if len(places) > _MOST_FILES else []
        if places:
            yield from _wrapped("  ", f"{title}: {', '.join([*places[:_MOST_FILES], *more])}")


def finding_lines(findings: list[Problem]) -> Iterator[str]:
    """Yield the lines for people on what the audit found; what to write is in one line, to be copied."""
    for one in findings:
        yield from _wrapped(f"  {one.severity:<9}", f"{one.key}: {one.message}" if one.key else one.message)
        if one.hint:
            yield f"{'':11}{one.hint}"


def _at(findings: list[Problem]) -> Iterator[str]:
    """Yield each file once, with all its lines."""
    lines: dict[str, list[str]] = {}
    for one in findings:
        path, _, line = one.where.rpartition(":")
        lines.setdefault(path, []).append(line)
    yield from (f"{path}:{','.join(numbers)}" for path, numbers in lines.items())


def _together(entries: list[Entry]) -> Iterator[tuple[int, list[str], str]]:
    """Yield what has one message once, with all its places."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.message, []).append(entry)
    for message, group in groups.items():
        yield group[0].line, [entry.path or "domain" for entry in group], message


def _entry(line: int, paths: list[str], message: str) -> Iterator[str]:
    names = [path.removeprefix("devices/") for path in paths]
    where = ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]} and {len(names) - 2} more"
    start = f"  {line:>4}  "
    yield from _wrapped(start, f"{where}: {message}" if message else where)


def _wrapped(start: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=start,
        subsequent_indent=" " * max(len(start), 4),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _summed(entries: Iterator[Entry]) -> Iterator[str]:
    """Yield the names of what met one fate, each once with its number; children go under their parent."""
    found: dict[str, set[str]] = {}
    for entry in entries:
        path = re.sub(r"^devices/", "", entry.path)
        first, _, rest = path.partition("/")
        name = re.sub(r"\[\d+\]", "", first).partition("@")[0]
        if entry.fate == "no-meaning" and (rest or "@" in first):
            name = re.sub(r"\[\d+\]", "", path.rpartition("/")[2])
            first = path
        found.setdefault(name or "domain", set()).add(first)
    for name, places in found.items():
        yield f"{len(places)} {name}" if len(places) > 1 else name
