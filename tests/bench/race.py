"""The guides' shell script with its sleeps against `up`, in emulated hosts: three of them, one after the other."""

import sys
from collections.abc import Iterator

from tests.bench.row import Row
from tests.bench.scratch import Scratch
from tests.lab import race as lab
from tests.lab.failure import LabError

PREPARATION_S = 2.0


def race(_scratch: Scratch) -> Iterator[Row]:
    """Yield `up` against both, and preparation and undo; nothing, with a word why, where the lab cannot say."""
    try:
        times = lab.run(lambda text: sys.stderr.write(f"{text}\n"))
    except (LabError, AssertionError) as error:  # the latter is a command inside that failed
        sys.stderr.write(f"race: {error}; not measured\n")
        return
    for script, words in ((times.script, "a guide's script"), (times.script_without_sleeps, "it without its sleeps")):
        whole = script + times.start_after_script
        yield Row(what="emulated host: `up` with all of `[host]`", qlaunch=f"{times.qlaunch:.1f} s",
                  against=f"{words} and a start, {whole:.1f} s", value=times.qlaunch / whole)  # fmt: skip
    there, back = times.preparation, times.undo
    yield Row(what="emulated host: preparation, if drivers were bound at once", qlaunch=f"{there.without_binds:.2f} s",
              against=f"as it was, {there.whole:.2f} s", value=there.without_binds, unit="s",
              target=PREPARATION_S)  # fmt: skip
    yield Row(what="emulated host: its undo, the same", qlaunch=f"{back.without_binds:.2f} s",
              against=f"preparation, {there.without_binds:.2f} s", value=back.without_binds / there.without_binds,
              target=1.0)  # fmt: skip
    yield Row(what="emulated host: its undo, if virtual functions, too, were made and taken away at once",
              qlaunch=f"{back.without_making:.2f} s", against=f"preparation, {there.without_making:.2f} s",
              value=back.without_making / there.without_making)  # fmt: skip
    for words, half in (("preparation", there), ("its undo", back)):
        yield Row(what=f"emulated host: {words}, if nobody were waited for", qlaunch=f"{half.own:.2f} s",
                  against=f"as it was, {half.whole:.2f} s",
                  value=half.own / half.whole)  # fmt: skip
