"""Requests to the kernel's rtnetlink: pyroute2's messages, over a socket of our own.

Its own sockets come with an event loop and with every message that there is: 55 ms of imports, for which the start of
a machine waits, instead of 12. And they drop the kernel's words for what it refuses, which are told here.

Owns: the socket, and telling answers from refusals. Must not: know what is asked for.

Source: ``netlink(7)``, ``rtnetlink(7)``; the kernel's ``Documentation/userspace-api/netlink/intro.rst`` (Extended ACK,
Dump consistency), ``include/uapi/linux/netlink.h``; ``net/netlink/af_netlink.c``: a dump is never acknowledged, it ends
by NLMSG_DONE.
"""

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self

from qlaunch.steps.pyroute import Message

NEWLINK, DELLINK, GETLINK = 16, 17, 18
NEWADDR, DELADDR, GETADDR = 20, 21, 22
DUMP, NEW = 0x300, 0x600  # NLM_F_ROOT | NLM_F_MATCH; NLM_F_EXCL | NLM_F_CREATE

_REQUEST, _ACK = 0x1, 0x4
_INTERRUPTED, _CAPPED = 0x10, 0x100  # of an answer: NLM_F_DUMP_INTR, NLM_F_CAPPED
_ERROR, _DONE = _ENDS = 2, 3
_SOL_NETLINK, _CAP_ACK, _EXT_ACK, _STRICT = 270, 10, 11, 12
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_CODE = struct.Struct("=i")  # 0, or an error's number below 0
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_WORDS = 1  # NLMSGERR_ATTR_MSG
# A link with its virtual functions is one message; as the list of them has a length of 16 bits, it is not much longer.
_LONGEST = 1 << 18
_MOST_LISTS = 20


class Answer(NamedTuple):
    """One message of the kernel's, as it came."""

    kind: int
    flags: int
    sequence: int
    data: bytes
    """With its header."""

    @property
    def body(self) -> bytes:
        """What comes behind its header."""
        return self.data[_HEADER.size :]


class Rtnetlink:
    """An open socket, to ask one thing after the other."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        # Strictly, a list has what was asked for and no more; only a change of that interrupts it.
        for option in (_CAP_ACK, _EXT_ACK, _STRICT):
            with suppress(OSError):  # Linux before 4.20 says less and lists more
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def ask(self, kind: int, message: Message, flags: int = 0) -> list[Message]:
        """Send one request; give what is answered, in messages of the same class. Raises OSError as ``ask_bytes``."""
        message.reset()  # of one that was received before, as an address is that is taken away
        message.encode()
        answers = self.ask_bytes(kind, bytes(message.data[_HEADER.size :]), flags)
        return [_decoded(type(message), answer.data) for answer in answers]

    def ask_bytes(self, kind: int, body: bytes, flags: int = 0) -> list[Answer]:
        """Send one request, of what comes behind its header; give what is answered.

        A list that changed while the kernel made it is asked for again. Raises OSError with the kernel's words.
        """
        for _ in range(_MOST_LISTS):
            self._send(kind, body, flags)
            answers = list(self._answers())
            if not any(answer.flags & _INTERRUPTED for answer in answers):
                return [answer for answer in answers if answer.kind not in _ENDS]
        raise OSError(errno.EAGAIN, f"a list of the kernel's has changed {_MOST_LISTS} times while it was read")

    def _send(self, kind: int, body: bytes, flags: int) -> None:
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _ACK | flags, self._sequence, 0)
        self._socket.send(header + body)

    def _answers(self) -> Iterator[Answer]:
        """Give the answers to what was sent last, and what ends them. Raises OSError."""
        while True:
            data = self._socket.recv(_LONGEST)
            while data:
                answer = _first(data)
                data = data[_aligned(len(answer.data)) :]
                if answer.sequence != self._sequence:
                    continue
                if answer.kind in _ENDS:
                    _raise_refusal(answer)
                yield answer
                if answer.kind in _ENDS:
                    return


def _first(data: bytes) -> Answer:
    """Take the first message out of a packet. Raises OSError for one that is not whole."""
    if len(data) >= _HEADER.size:
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data)
        least = _HEADER.size + _CODE.size if kind in _ENDS else _HEADER.size
        if least <= length <= len(data):
            return Answer(kind, flags, sequence, data[:length])
    raise OSError(errno.EBADMSG, os.strerror(errno.EBADMSG))


def _raise_refusal(answer: Answer) -> None:
    """Raise what an acknowledgement, or the end of a list, says went wrong; nothing where all is well."""
    (code,) = _CODE.unpack_from(answer.data, _HEADER.size)
    if code:
        words = _words(answer)
        raise OSError(-code, f"{os.strerror(-code)} ({words})" if words else os.strerror(-code))


def _words(answer: Answer) -> str:
    """Give the kernel's own words, if any: attributes behind the number and, of a refusal, behind what was asked."""
    rest = answer.data[_HEADER.size + _CODE.size :]
    if answer.kind == _ERROR:
        rest = rest[_HEADER.size if answer.flags & _CAPPED else _aligned(int.from_bytes(rest[:4], sys.byteorder)) :]
    while len(rest) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(rest)
        if kind == _WORDS:
            return rest[_ATTRIBUTE.size : length].rstrip(b"\0").decode(errors="replace")
        rest = rest[_aligned(max(length, _ATTRIBUTE.size)) :]
    return ""


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def _decoded(message: type[Message], data: bytes) -> Message:
    found = message(data)
    found.decode()
    return found
