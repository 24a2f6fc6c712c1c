"""One line of a journal: a checksum and a JSON object, which people can read too.

    5be2a1c7 {"is":"begin","format":1,"machine":"gaming","boot":"6e1c…","qlaunch":"0.1.0"}
    0d1f77a0 {"is":"change","number":1,"kind":"governor","summary":"…","before":{…},"claims":{…},…}
    b16b00b5 {"is":"made","number":1,"differs":{…}}
    0ddba11a {"is":"undoing","number":1,"without":{…}}
    8badf00d {"is":"undone","number":1}

Owns: the format. Must not: open a file, or know what a kind means.
"""

import zlib

import msgspec

from qlaunch.steps.step import Moment

FORMAT = 1

State = dict[str, str | None]
"""Text by key; None where there was none."""


class Begin(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="begin"):
    """The first line. A journal of another boot of the computer has nothing to undo: the kernel started anew."""

    format: int
    machine: str
    boot: str
    qlaunch: str


class Change(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="change"):
    """A change that is about to be made. It and the host are enough to undo it.

    ``before`` is the host without any machine: where another machine has a claim on the same key already, it is what
    that one found. ``claims`` is what this machine wants, ``after`` what all machines' claims came to.
    """

    number: int
    kind: str
    summary: str
    lane: str
    before: State
    claims: dict[str, str]
    after: State
    moment: Moment = "before-launch"


class Made(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="made", omit_defaults=True):
    """A change was carried out to its end. ``refused`` are keys that the kernel did not let go, with its reason."""

    number: int
    refused: dict[str, str] = {}
    differs: State = {}
    """What the kernel made of a value, where it is not what was written."""


class Undoing(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="undoing", omit_defaults=True):
    """Amounts are about to be given back: ``without`` is what the host has then, less all machines' claims.

    None takes a word back: what was written did not go there. ``given_back`` are keys that are done, where others are
    not; nobody claims them any more.
    """

    number: int
    without: State = {}
    given_back: tuple[str, ...] = ()

    def and_then(self, later: "Undoing") -> "Undoing":
        """Give what both say of one change."""
        return Undoing(
            number=self.number,
            without=self.without | later.without,
            given_back=(*self.given_back, *later.given_back),
        )


class Undone(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="undone", omit_defaults=True):
    """A change was taken back. ``kept`` are keys that somebody else had changed since, with their value."""

    number: int
    kept: State = {}


Line = Begin | Change | Made | Undoing | Undone


class DamagedLineError(ValueError):
    """A line is not what was written."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Line)


def print_line(line: Line) -> bytes:
    """Give the line, with its end."""
    body = _encoder.encode(line)
    return b"%08x %s\n" % (zlib.crc32(body), body)


def parse_line(text: bytes) -> Line:
    """Read a line without its end. Raises DamagedLineError."""
    checksum, _, body = text.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(body):
        raise DamagedLineError("its checksum is wrong")
    try:
        line: Line = _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise DamagedLineError(f"{error}") from error
    return line
