"""A guest agent whose guest is this computer: it runs commands and opens files, with good manners or bad ones.

Its good manners were compared with those of qemu-ga 7.2; where qemu-ga is installed, the tests ask that one too.
"""

import base64
import errno
import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

Answer = dict[str, Any]
# Gets a question and its answer, and gives what is sent; None hangs up.
Manners = Callable[[Answer, bytes], bytes | None]


def good(_asked: Answer, answer: bytes) -> bytes:
    """Send what is right."""
    return answer


class FakeAgent:
    """One agent; a session after the other, as with the real one."""

    def __init__(self, manners: Manners, system: str) -> None:
        self.asked: list[str] = []
        self._manners = manners
        self._system = system
        self.files: dict[int, BinaryIO] = {}
        self._kept: dict[int, bytes] = {}
        self.buffer = 4095  # what is not longer is kept back until it is told to flush
        self._failed: set[int] = set()  # whose failure was not told by a write yet
        self.jobs: dict[int, subprocess.Popen[bytes]] = {}
        self._said: dict[int, tuple[bytes, bytes]] = {}

    def serve(self, listener: socket.socket) -> None:
        """Serve until the listener is closed."""
        with suppress(OSError):
            while True:
                session = listener.accept()[0]
                with session, session.makefile("rb") as lines, suppress(OSError):
                    self._converse(session, lines)

    def _converse(self, session: socket.socket, lines: BinaryIO) -> None:
        for line in lines:
            asked = json.loads(line.rpartition(b"\xff")[2])
            self.asked.append(asked["execute"])
            answer = self._manners(asked, self._answer(asked))
            if answer is None:
                return
            session.sendall(answer)

    def _answer(self, asked: Answer) -> bytes:
        name = asked["execute"].removeprefix("guest-").replace("-", "_")
        try:
            words = {key.replace("-", "_"): value for key, value in asked["arguments"].items()}
            told = {"return": getattr(self, name)(**words)}
        except (OSError, AttributeError, KeyError) as error:
            told = {"error": {"class": "GenericError", "desc": f"failed: {error}"}}
        return (b"\xff" if name == "sync_delimited" else b"") + json.dumps(told).encode() + b"\n"

    def sync_delimited(self, id: int) -> int:  # noqa: A002 - the protocol's own word
        return id

    def get_osinfo(self) -> Answer:
        return {"id": self._system}

    def exec(self, path: str, arg: list[str], input_data: str = "", **capture: bool) -> Answer:
        pipe = subprocess.PIPE if capture else None
        job = subprocess.Popen([path, *arg], stdin=subprocess.PIPE, stdout=pipe, stderr=pipe)
        self.jobs[job.pid] = job

        def finish() -> None:
            out, err = job.communicate(base64.b64decode(input_data))
            self._said[job.pid] = out or b"", err or b""

        threading.Thread(target=finish, daemon=True).start()
        return {"pid": job.pid}

    def exec_status(self, pid: int) -> Answer:
        if pid not in self._said:
            return {"exited": False}
        out, err = (base64.b64encode(said).decode() for said in self._said.pop(pid))
        status = self.jobs.pop(pid).returncode
        how = {"signal": -status} if status < 0 else {"exitcode": status}
        return {"exited": True, **how, "out-data": out, "err-data": err}

    def file_open(self, path: str, mode: str) -> int:
        file = open(path, mode.replace("b", "") + "b", buffering=0)  # noqa: SIM115 - closed by file_close
        os.set_blocking(file.fileno(), False)
        self.files[file.fileno()] = file  # type: ignore[assignment]
        return file.fileno()

    def file_read(self, handle: int, count: int) -> Answer:
        data = self.files[handle].read(count)
        return {"count": len(data), "buf-b64": base64.b64encode(data).decode(), "eof": not data}

    def file_write(self, handle: int, buf_b64: str, count: int | None = None) -> Answer:
        words = base64.b64decode(buf_b64)[:count]
        if len(words) > self.buffer:
            if self.files[handle].write(words) is None:
                raise OSError("failed to write to file")
        else:
            self._kept[handle] = self._kept.get(handle, b"") + words
        if handle in self._failed:
            self._failed.discard(handle)
            raise OSError("failed to write to file")
        return {"count": len(words), "eof": False}

    def file_flush(self, handle: int) -> Answer:
        kept = self._kept.pop(handle, b"")  # what does not go is thrown away, as both glibc and musl do
        if kept and self.files[handle].write(kept) is None:
            self._failed.add(handle)
            raise BlockingIOError(errno.EAGAIN, "failed to flush file: Resource temporarily unavailable")
        return {}

    def file_close(self, handle: int) -> Answer:
        with suppress(BlockingIOError):
            self.file_flush(handle)
        self.files.pop(handle).close()
        return {}


@contextmanager
def serve_agent(path: Path, manners: Manners = good, system: str = "debian") -> Iterator[FakeAgent]:
    """Serve on a socket for as long as the block runs."""
    agent = FakeAgent(manners, system)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(4)
    thread = threading.Thread(target=agent.serve, args=(listener,), daemon=True)
    thread.start()
    try:
        yield agent
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for job in agent.jobs.values():
            job.kill()
            job.wait()
        for file in agent.files.values():
            file.close()
