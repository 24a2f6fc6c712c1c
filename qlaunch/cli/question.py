"""`qlaunch console NAME -c query-…` alone, the short way: the supervisor asks QEMU, and answers in the text to print.

So a script that asks a hundred machines waits for little more than the interpreter. It is a short way to the same
result: whatever is not this simple, or goes wrong, is left to the console, which repeats the question.

Must not import: argparse, msgspec, re, typing, whatever imports one of them. A test holds it.
"""

import os
import sys
from _socket import (  # socket.py, which wraps it, imports selectors and enum
    AF_UNIX,
    SO_PEERCRED,
    SOCK_STREAM,
    SOL_SOCKET,
    socket,
)

from qlaunch.host.runtime import runtime_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_END = b"\0"
# A QEMU that has not answered by then is busy or hangs: the console says so, and waits.
_ANSWER_S = 2.0


def ask(words: "Sequence[str]") -> int | None:
    """Print the answers and give the exit status; None when this is nothing for the short way."""
    asked = read(words)
    if asked is None:
        return None
    name, questions, plain = asked
    width, colour = (None, False) if plain else _look()
    listed = ",".join(f'"{question}"' for question in questions)
    looks = f'"width":{"null" if width is None else width},"colour":{"true" if colour else "false"}'
    text = _converse(f"{runtime_folder()}/{name}/control.sock", f'{{"ask":"show","commands":[{listed}],{looks}}}\n')
    if text is None:
        return None
    print(text, end="", flush=True)
    return 0


def read(words: "Sequence[str]") -> tuple[str, list[str], bool] | None:
    """Give the machine, the questions and whether their answers are for programs, if the command line has only such.

    A question is a command without arguments whose name says that it only reads.
    """
    names, questions, plain = [], [], False
    rest = iter(words[1:])
    for word in rest:
        if word in ("-c", "--command"):
            questions.append(next(rest, ""))
        elif word in ("-p", "--plain"):
            plain = True
        else:
            names.append(word)
    if words[:1] != ["console"] or len(names) != 1 or not questions or not all(map(_is_question, questions)):
        return None
    # An option, a path, or what is no name: the console knows what to do with it.
    is_name = names[0][:1].isalnum() and "/" not in names[0] and not names[0].endswith(".toml")
    return (names[0], questions, plain) if is_name else None


def _is_question(text: str) -> bool:
    return text.startswith("query-") and text.isascii() and text.replace("-", "").isalnum()


def _look() -> tuple[int, bool]:
    """Give the width to fold answers to, and whether they are coloured."""
    if not sys.stdout.isatty():
        return 0, False
    from qlaunch.cli.terminal import look  # noqa: PLC0415 - what programs need not wait for

    return look()


def _converse(path: str, request: str) -> str | None:
    """Give the supervisor's answer if it is whole: not there, an older one, or one that refuses gives none."""
    connection = socket(AF_UNIX, SOCK_STREAM)
    answer = b""
    try:
        connection.settimeout(_ANSWER_S)
        connection.connect(path)
        if not _is_ours(connection):
            return None
        connection.sendall(request.encode())
        while not answer.endswith(_END):
            chunk = connection.recv(1 << 16)
            if not chunk:
                return None
            answer += chunk
        return answer.removesuffix(_END).decode()
    except (OSError, UnicodeDecodeError):
        return None
    finally:
        connection.close()


def _is_ours(connection: socket) -> bool:
    """Whether root or this user answers: what is printed is not looked at. Source: unix(7), struct ucred."""
    peer = connection.getsockopt(SOL_SOCKET, SO_PEERCRED, 12)
    return int.from_bytes(peer[4:8], sys.byteorder) in (0, os.geteuid())
