"""Runs inside the emulated host: starts what the other end of a virtio-serial port asks for, hands back what it says.

One JSON object a line. From outside: ``{"id", "argv", "env", "cwd", "stdin", "tty"}`` starts a program;
``{"id", "python", "call", "arguments"}`` runs a function of a module text in a fork of this process, which spares an
emulated CPU a start of Python, and hands back its JSON; ``{"id", "kill"}`` sends a signal to the whole session,
``{"id", "in"}`` types into a tty. From inside: ``{"id", "out"}`` or ``{"id", "err"}`` with base64, then ``{"id",
"status"}`` (minus the signal if one ended it). A program has ended when its first process has: what that left in the
background keeps nobody waiting.

It must import the standard library only, and little of it: each import is paid for at every boot.
Source: drivers/char/virtio_console.c (read returns 0 and poll says HUP while nobody is connected outside).
"""

import base64
import contextlib
import fcntl
import json
import os
import selectors
import signal
import struct
import sys
import termios
import time
import traceback
from typing import Any, NoReturn

CHUNK = 65536
NOBODY_THERE_S = 0.05
KVM_CREATE_VM = 0xAE01
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PYTHONPATH": "/opt/qlaunch:/opt/packages",
    "TERM": "dumb",
}


class Job:
    """One program that was started, and the ends of its pipes."""

    def __init__(self, number: int, pid: int, outputs: dict[int, str], keyboard: int | None) -> None:
        self.number = number
        self.pid = pid
        self.outputs = outputs
        self.keyboard = keyboard
        self.watch = os.pidfd_open(pid)


class Agent:
    """The port, and the jobs that were asked for over it."""

    def __init__(self, port: str) -> None:
        self._port = os.open(port, os.O_RDWR)
        self._jobs: dict[int, Job] = {}
        self._waiting = selectors.DefaultSelector()
        self._unread = b""
        self._machine: int | None = None

    def serve(self) -> NoReturn:
        self._say({"hello": time.monotonic()})
        self._waiting.register(self._port, selectors.EVENT_READ)
        while True:
            for key, _ in self._waiting.select():
                if key.fd == self._port:
                    self._hear()
                elif key.fd in self._waiting.get_map():
                    self._watch(key.data, key.fd)

    def _hear(self) -> None:
        data = os.read(self._port, CHUNK)
        if not data:  # nobody is connected, and poll would say so at once, for ever
            time.sleep(NOBODY_THERE_S)
            return
        *lines, self._unread = (self._unread + data).split(b"\n") if b"\n" in data else [self._unread + data]
        for line in lines:
            if line.strip():
                self._obey(line)

    def _obey(self, line: bytes) -> None:
        try:
            asked: dict[str, Any] = json.loads(line)
        except ValueError:  # half a line, from somebody who was cut off
            return
        self._keep_a_machine()
        try:
            if "argv" in asked or "python" in asked:
                self._start(asked)
            elif (job := self._jobs.get(asked["id"])) is not None:
                self._poke(job, asked)
        except OSError as error:
            self._say({"id": asked["id"], "err": _packed(f"{error}\n".encode())})
            self._say({"id": asked["id"], "status": 127})

    def _keep_a_machine(self) -> None:
        """Keep one empty KVM machine for ever, so that no other one is the first or the last.

        Those make the kernel patch its scheduler while it runs (virt/kvm/kvm_main.c: preempt_notifier_inc), and an
        emulated CPU now and then still runs the breakpoint that stood there meanwhile: the kernel dies of int3.
        """
        if self._machine is None:
            with contextlib.suppress(OSError):
                control = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
                try:
                    self._machine = fcntl.ioctl(control, KVM_CREATE_VM, 0)
                finally:
                    os.close(control)

    def _poke(self, job: Job, asked: dict[str, Any]) -> None:
        if "kill" in asked:
            os.killpg(job.pid, asked["kill"])
        if "in" in asked and job.keyboard is not None:
            os.write(job.keyboard, base64.b64decode(asked["in"]))
        if "size" in asked and job.keyboard is not None:
            fcntl.ioctl(job.keyboard, termios.TIOCSWINSZ, struct.pack("HHHH", *asked["size"], 0, 0))

    def _start(self, asked: dict[str, Any]) -> None:
        if asked.get("tty"):
            keyboard, inner = os.openpty()
            theirs = (inner, inner, inner)
            outputs = {keyboard: "out"}
        else:
            (out, their_out), (err, their_err) = os.pipe(), os.pipe()
            theirs = (_stdin(asked.get("stdin")), their_out, their_err)
            outputs = {out: "out", err: "err"}
            keyboard = None
        pid = os.fork()
        if pid == 0:
            _become(asked, theirs)
        for descriptor in set(theirs):
            os.close(descriptor)
        job = self._jobs[asked["id"]] = Job(asked["id"], pid, outputs, keyboard)
        for descriptor in (*outputs, job.watch):
            os.set_blocking(descriptor, False)
            self._waiting.register(descriptor, selectors.EVENT_READ, job)

    def _watch(self, job: Job, descriptor: int) -> None:
        if descriptor in job.outputs:
            self._pass_on(job, descriptor)
            return
        for output in list(job.outputs):
            while self._pass_on(job, output):
                pass
        for watched in (*job.outputs, job.watch):
            self._waiting.unregister(watched)
            os.close(watched)
        del self._jobs[job.number]
        _, status = os.waitpid(job.pid, 0)
        self._say({"id": job.number, "status": os.waitstatus_to_exitcode(status)})

    def _pass_on(self, job: Job, output: int) -> bool:
        """Hands on what a program has said, and tells whether there may be more."""
        try:
            data = os.read(output, CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # a tty whose last program has gone
            data = b""
        if data:
            self._say({"id": job.number, job.outputs[output]: _packed(data)})
            return True
        self._waiting.unregister(output)
        os.close(output)
        del job.outputs[output]
        return False

    def _say(self, what: dict[str, Any]) -> None:
        data = json.dumps(what).encode() + b"\n"
        while data:
            data = data[os.write(self._port, data) :]


def _packed(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _stdin(content: str | None) -> int:
    if content is None:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    memory = os.memfd_create("stdin")
    rest = base64.b64decode(content)
    while rest:
        rest = rest[os.write(memory, rest) :]
    os.lseek(memory, 0, os.SEEK_SET)
    return memory


def _become(asked: dict[str, Any], theirs: tuple[int, int, int]) -> NoReturn:
    """In the forked child: turns into what was asked for."""
    try:
        os.setsid()
        if asked.get("tty"):
            fcntl.ioctl(theirs[0], termios.TIOCSCTTY, 0)
        for ours, theirs_end in enumerate(theirs):
            os.dup2(theirs_end, ours)
        os.closerange(3, 1024)
        os.chdir(asked.get("cwd") or "/root")
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.environ.clear()
        os.environ.update(ENVIRONMENT | asked.get("env", {}))
        if "argv" in asked:
            os.execvp(asked["argv"][0], asked["argv"])  # noqa: S606 - a shell is the asker's business
        _call(asked)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the child must not become a second agent
        text = f"{error}\n" if isinstance(error, OSError) and "argv" in asked else traceback.format_exc()
        os.write(2, text.encode())
        os._exit(127)


def _call(asked: dict[str, Any]) -> NoReturn:
    module: dict[str, Any] = {"__name__": "lab"}
    exec(compile(asked["python"], asked["call"], "exec"), module)  # noqa: S102 - the tests' own code, inside the lab
    data = json.dumps(module[asked["call"]](**asked["arguments"])).encode()
    while data:
        data = data[os.write(1, data) :]
    os._exit(0)


def main() -> None:
    port = sys.argv[1]
    while not os.path.exists(port):
        time.sleep(NOBODY_THERE_S)
    Agent(port).serve()


if __name__ == "__main__":
    main()
