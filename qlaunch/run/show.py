"""Questions to a machine that are answered in the text which `qlaunch console` prints: who asks need not import much.

Only short answers to questions that change nothing are given. Whoever gets none may ask again in another way, which
then says what is wrong.
"""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from qlaunch.console.answer import one_line, render
from qlaunch.errors import MonitorError
from qlaunch.run.folder import is_held
from qlaunch.run.open_wire import LOCK

# More takes the supervisor's time, who has a guest to look after.
_LONGEST_ANSWER = 1 << 16


async def show(
    execute: Callable[[str], Awaitable[object]],
    runtime: str,
    commands: Sequence[str],
    width: int | None,
    *,
    colour: bool,
) -> str:
    """Give the answers of all commands, one after the other. Raises MonitorError when one of them gets none.

    ``width`` is that of the terminal, in columns, 0 where there is none; without, each answer stands on one line.
    """
    if not all(command.startswith("query-") for command in commands):
        raise MonitorError("this is more than a question")
    if is_held(f"{runtime}/{LOCK}"):  # whoever comes second is told so
        raise MonitorError("another console is open")
    lines: list[str] = []
    length = 0
    for command in commands:
        value = await execute(command)
        try:
            line = one_line(value)
        except (ValueError, msgspec.MsgspecError) as error:  # such as half a pair of surrogates
            raise MonitorError(f"the answer to {command} is no JSON: {error}") from error
        length += len(line)
        if length > _LONGEST_ANSWER:
            raise MonitorError(f"the answer to {command} is long")
        lines += [line] if width is None else render(value, width, colour=colour)
    return "".join(f"{line}\n" for line in lines)
