"""`qlaunch run --matrix FILE.toml`: many machines, a line for each, a JUnit report.

Source: the JUnit XML that Jenkins and GitLab read: testsuite, testcase, failure, system-out.
"""

import argparse
import os
import re
import time
from collections.abc import Iterator

import msgspec

from qlaunch.cli.terminal import say_hint
from qlaunch.errors import HostError, UsageError
from qlaunch.run.matrix import Result, read_matrix, run_cases

# What XML 1.0 cannot hold at all, escape sequences of a guest's console among them.
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LAST_LINES = 5


def run_matrix(options: argparse.Namespace) -> int:
    """Run all cases. Gives 0 when all went well, or 1."""
    if options.name or options.command:
        raise UsageError("--matrix runs what its file names", "leave NAME and COMMAND out")
    jobs, cases = read_matrix(options.matrix)
    if options.junit:
        _write(options.junit, "")  # a place that cannot be written is told before an hour of runs
    began = time.monotonic()
    results = run_cases(cases, jobs, (lambda _: None) if options.json else _tell)
    if options.junit:
        _write(options.junit, junit(results, time.monotonic() - began))
    failed = sum(result.exit_status != 0 for result in results)
    if options.json:
        print(msgspec.json.encode({"results": results}).decode())
    else:
        _sum_up(results, failed, time.monotonic() - began, jobs)
    return 1 if failed else 0


def _tell(result: Result) -> None:
    word = "passed" if result.exit_status == 0 else f"FAILED ({result.exit_status})"
    cost = f"{result.seconds:8.1f} s {result.cpu_s:8.1f} s CPU {result.memory >> 20:6} MiB"
    print(f"{result.name:<32} {word:<13} {cost}", flush=True)
    if result.exit_status:
        for line in result.err.strip().splitlines()[-_LAST_LINES:]:
            print(f"    {line}", flush=True)


def _sum_up(results: list[Result], failed: int, seconds: float, jobs: int) -> None:
    count = len(results) or 1
    mean = f"{sum(r.cpu_s for r in results) / count:.1f} s CPU and {sum(r.memory for r in results) // count >> 20} MiB"
    print(f"{len(results)} machines, {failed} failed, {seconds:.1f} s with {jobs} at once; {mean} a machine")
    if failed:
        say_hint("the words of each are in the report of --junit FILE.xml")


def junit(results: list[Result], seconds: float) -> str:
    """Give the report."""
    from xml.sax.saxutils import escape, quoteattr  # noqa: PLC0415 - only for a report

    def clean(text: str) -> str:
        return _NOT_XML.sub("�", text)

    failed = sum(result.exit_status != 0 for result in results)
    head = f'tests="{len(results)}" failures="{failed}" errors="0" time="{seconds:.3f}"'
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<testsuite name="qlaunch" {head}>']
    for result in results:
        lines.append(f'<testcase classname="qlaunch" name={quoteattr(result.name)} time="{result.seconds:.3f}">')
        lines.append(f'<properties><property name="cpu_s" value="{result.cpu_s}"/>')
        lines.append(f'<property name="memory" value="{result.memory}"/></properties>')
        if result.exit_status:
            said = clean(result.err.strip())
            told = quoteattr(next(_errors(said), f"status {result.exit_status}"))
            lines.append(f'<failure type="status-{result.exit_status}" message={told}>{escape(said)}</failure>')
        lines.append(f"<system-out>{escape(clean(result.out))}</system-out>")
        lines.append(f"<system-err>{escape(clean(result.err))}</system-err></testcase>")
    return "\n".join([*lines, "</testsuite>", ""])


def _errors(said: str) -> Iterator[str]:
    yield from (line.removeprefix("error: ") for line in said.splitlines() if line.startswith("error: "))


def _write(path: str, text: str) -> None:
    temporary = f"{path}.new"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path) if text else os.unlink(temporary)
    except OSError as error:
        raise HostError(f"cannot write {path}: {(error.strerror or '').lower()}") from error
