"""A captured tree as one file: packed, and read again into memory.

Nothing is ever unpacked to a disk, so no name, link or device node in an archive from elsewhere can reach a file of
this computer; how much it may unpack to is counted while it does.

Source: POSIX.1-2017, ``pax`` (ustar and extended headers), as Python's ``tarfile`` reads and writes them.
"""

import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import IO

from qlaunch.errors import HostError
from qlaunch.host.tree_source import Memory

# A capture holds text files of a few bytes; 5,000 PCI functions make some 60,000 members and 100 MiB of tar.
_MOST_BYTES = 512 << 20
_MOST_MEMBERS = 1_000_000
_GZIP = b"\x1f\x8b"
_READABLE = 0o444


class _Bounded(io.BufferedIOBase):
    """A stream that ends in an error rather than in a full memory."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self._left = _MOST_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        """Read, and count."""
        wanted = self._left + 1 if size is None or size < 0 else min(size, self._left + 1)
        content = self._stream.read(wanted)
        self._left -= len(content)
        if self._left < 0:
            raise ValueError(f"it unpacks to more than {_MOST_BYTES >> 20} MiB")
        return content


def pack(files: Mapping[str, str | None], links: Mapping[str, str], folders: Iterable[str]) -> bytes:
    """Make the archive: the same contents give the same bytes. A text of None becomes a file that nobody may read."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in sorted(path for path in folders if path.strip("/")):
            archive.addfile(_member(path, tarfile.DIRTYPE, 0o755))
        for path in sorted({*files, *links}):
            if path in links:
                member = _member(path, tarfile.SYMTYPE, 0o777)
                member.linkname = links[path]
                archive.addfile(member)
                continue
            text = files[path]
            content = b"" if not text else f"{text}\n".encode()
            member = _member(path, tarfile.REGTYPE, 0 if text is None else 0o644)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _member(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path.lstrip("/"))
    member.type, member.mode = kind, mode
    return member


def open_archive(path: str) -> Memory:
    """Read a captured ``.tar.gz`` into memory; raises HostError when it is none, or is far too large for one."""
    files: dict[str, bytes | None] = {}
    links: dict[str, str] = {}
    folders: list[str] = []
    try:
        with (
            open(path, "rb") as raw,
            gzip.open(raw) if _is_packed(raw) else raw as stream,
            tarfile.open(fileobj=_Bounded(stream), mode="r|") as archive,
        ):
            for member in _counted(archive):
                name = "/" + os.path.normpath(f"/{member.name}").strip("/")
                if member.issym():
                    links[name] = member.linkname
                elif member.isdir():
                    folders.append(name.rstrip("/"))
                elif member.isreg():
                    files[name] = _content(archive, member)
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, zlib.error) as error:
        raise HostError(f"{path} cannot be read as a captured tree: {error}", "capture it again") from error
    return Memory(files, links, tuple(folders))


def _counted(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for count, member in enumerate(archive):
        if count >= _MOST_MEMBERS:
            raise ValueError(f"it has more than {_MOST_MEMBERS} members")
        # tarfile keeps every member that it has read.
        archive.members = []  # type: ignore[attr-defined]
        yield member


def _is_packed(raw: IO[bytes]) -> bool:
    start = raw.read(len(_GZIP))
    raw.seek(0)
    return start == _GZIP


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | None:
    if not member.mode & _READABLE:
        return None
    if member.issparse() or member.size > _MOST_BYTES:
        raise ValueError(f"{member.name} is no file of a capture")
    file = archive.extractfile(member)
    return file.read() if file else b""
