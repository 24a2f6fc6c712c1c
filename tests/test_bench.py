"""How the table of speeds comes about; what it measures is measured by contrib/bench itself."""

import subprocess
import sys
from pathlib import Path

from tests.bench.row import Row, compared, table, take_turns


def test_candidates_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []

    def measure(name: str) -> int:
        order.append(name)
        return len(order)

    measured = take_turns({"a": lambda: measure("a"), "b": lambda: measure("b")}, 2)
    assert order == ["a", "b"] * 3
    assert measured == {"a": [3, 5], "b": [4, 6]}


def test_a_ratio_is_made_within_a_round_so_that_a_drift_does_not_show() -> None:
    times = {"qlaunch": [10.0, 1000.0, 20.0], "by hand": [5.0, 500.0, 10.0]}
    (row,) = compared("start", times, {"by hand": 3.0})
    assert (row.value, row.qlaunch, row.against) == (2.0, "20 ms", "by hand, 10 ms")
    assert row.is_met


def test_the_table_says_which_target_was_missed() -> None:
    met = Row(what="start", qlaunch="6 ms", against="by hand, 3.0 ms", value=2.0, target=3.0)
    missed = Row(what="memory", qlaunch="50 MiB", value=50.0, unit="MiB", target=40.0)
    free = Row(what="list", qlaunch="6 ms", value=1.5)
    assert list(table([met, missed, free]))[2:] == [
        "| start | 6 ms | by hand, 3.0 ms | 2.00 | ≤ 3 |",
        "| memory | 50 MiB |  |  | **≤ 40 MiB: missed** |",
        "| list | 6 ms |  | 1.50 |  |",
    ]


def test_a_python_without_qlaunch_is_told_where_there_is_one() -> None:
    bench = Path(__file__).parent.parent / "contrib/bench"
    bare = subprocess.run([sys.executable, "-S", str(bench)], capture_output=True, text=True, check=False)
    assert bare.returncode == 1
    assert bare.stderr == (
        f"bench: {sys.executable} has no msgspec; run this with a Python that has qlaunch installed, "
        "such as the one that contrib/check makes: .venv/bin/python contrib/bench\n"
    )
