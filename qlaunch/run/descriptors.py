"""Descriptors that QEMU is handed: queues of taps and macvtaps, vhost, and sockets to passt. Blocking, without trio.

They are opened here, with the rights of the supervisor, so that QEMU needs none. QEMU alone has them afterwards: a tap
loses its carrier, and passt ends, with it and with nothing else.

Source: QEMU's ``qapi/net.json`` (``fds``, ``vhostfds`` of tap; an address of the type fd); ``passt(1)`` (``--fd``: it
goes into the background once it serves).
"""

import errno
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import msgspec

from qlaunch.devices.host_end import HostEnd
from qlaunch.errors import HostError
from qlaunch.steps.tun import open_macvtap, open_tap

_VHOST = "/dev/vhost-net"
_MULTI_QUEUE = 0x100  # IFF_MULTI_QUEUE in the kernel's include/uapi/linux/if_tun.h
_NODE_S = 10.0
_PASST_S = 20.0
_HINTS = {
    errno.EPERM: "run it as root, or make the tap with your user: ip tuntap add … mode tap user NAME",
    errno.EACCES: "run it as root, or get access to the device: groups, or an ACL",
    errno.ENOENT: "modprobe tun vhost_net; in a container, let it have the device",
    errno.EBUSY: "another program has it open; see: fuser -v /dev/net/tun",
    errno.EINVAL: "it was made for another number of queues: make it again, with or without multi_queue",
}


class Handed(msgspec.Struct, frozen=True, kw_only=True):
    """What takes the place of netdevs' options, by their ids, and the descriptors that it names."""

    netdevs: dict[str, dict[str, object]] = {}
    descriptors: tuple[int, ...] = ()

    def instead(self, argv: Sequence[str]) -> list[str]:
        """Give a command line with descriptors in place of names."""
        words = list(argv)
        for place, word in enumerate(words[:-1], 1):
            if word == "-netdev" and self.netdevs:
                netdev = msgspec.json.decode(words[place])
                words[place] = msgspec.json.encode(self.netdevs.get(netdev["id"], netdev)).decode()
        return words


@contextmanager
def host_ends(ends: Sequence[HostEnd]) -> Iterator[Handed]:
    """Open every host's end, for the start of one QEMU; ours are closed afterwards. Raises HostError."""
    with ExitStack() as stack:
        netdevs: dict[str, dict[str, object]] = {}
        descriptors: list[int] = []

        def kept(descriptor: int) -> int:
            stack.callback(os.close, descriptor)
            descriptors.append(descriptor)
            return descriptor

        for end in ends:
            if end.kind == "passt":
                address = {"type": "fd", "str": str(kept(_start_passt(end)))}
                netdevs[end.netdev] = {"type": "stream", "id": end.netdev, "server": False, "addr": address}
                continue
            try:
                queues = [kept(_open_queue(end)) for _ in range(end.queues)]
                vhosts = [kept(os.open(_VHOST, os.O_RDWR | os.O_CLOEXEC)) for _ in range(end.queues) if end.vhost]
            except OSError as error:
                message = f"cannot open {error.filename}: {os.strerror(error.errno or 0).lower()}"
                raise HostError(message, _HINTS.get(error.errno or 0, "")) from error
            vhost = {"vhost": True, "vhostfds": ":".join(map(str, vhosts))} if vhosts else {"vhost": False}
            netdevs[end.netdev] = {"type": "tap", "id": end.netdev, "fds": ":".join(map(str, queues)), **vhost}
        yield Handed(netdevs=netdevs, descriptors=tuple(descriptors))


def _open_queue(end: HostEnd) -> int:
    if end.kind == "tap":
        return open_tap(end.link, many_queues=_is_made_for_many(end))
    node = f"/dev/tap{socket.if_nametoindex(end.link)}"
    if not os.path.exists(node):
        from qlaunch.steps.host import LocalHost  # noqa: PLC0415 - udev is mostly quicker

        if not LocalHost().wait(lambda: os.path.exists(node), _NODE_S):
            raise HostError(f"{node} of the macvtap {end.link} did not appear", "is udev running? see: journalctl -k")
    return open_macvtap(end.link, node, many_queues=end.queues > 1)


def _is_made_for_many(end: HostEnd) -> bool:
    """Whether a tap was made for several queues: it must be opened as it was made, also for one of them."""
    try:
        with open(f"/sys/class/net/{end.link}/tun_flags", encoding="ascii") as file:
            return bool(int(file.read(), 16) & _MULTI_QUEUE)
    except (OSError, ValueError):
        return end.queues > 1


def _start_passt(end: HostEnd) -> int:
    """Start passt with one end of a pair of sockets, and give the other one."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            subprocess.run(
                [*end.passt, "--fd", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_PASST_S,
                check=True,
            )
        except FileNotFoundError as error:
            ours.close()
            raise HostError("passt is not installed", 'install passt, or write type = "user"') from error
        except subprocess.TimeoutExpired as error:
            ours.close()
            raise HostError(f"passt did not come up within {_PASST_S:g} s") from error
        except subprocess.CalledProcessError as error:
            ours.close()
            said = (error.stderr or error.stdout).strip().splitlines()
            message = f"passt: {said[-1] if said else f'exit status {error.returncode}'}"
            raise HostError(message, 'it needs a default route and an address; type = "user" does not') from error
    return ours.detach()
