"""The guest's sound: where the user's sound server listens, whether QEMU gets there, and what it must know for that.

PipeWire and PulseAudio belong to a user who is logged in. QEMU is that user, or root with that user's folder and
cookie; anybody else is kept out by the folder.

Source: ``pipewire(1)`` (PIPEWIRE_RUNTIME_DIR, XDG_RUNTIME_DIR), ``pulseaudio(1)``, ``pulse-client.conf(5)`` (its
cookie), ``pam_systemd(8)`` (``/run/user/UID`` is its user's alone).
"""

import os
from collections.abc import Iterator

from qlaunch.devices.audio import Audio
from qlaunch.errors import Problem
from qlaunch.host.account import home_of, is_self, name_of, uid_of
from qlaunch.host.permissions import closed_folder, may_open
from qlaunch.preparation.wish import Wish
from qlaunch.steps.step import Step

_SOCKETS = {"pipewire": "pipewire-0", "pulse": "pulse/native"}
_RUNTIME = "/run/user"
_CARDS = "/dev/snd"


def steps(wish: Wish) -> Iterator[Step]:
    """Yield nothing: whoever's sound server it is has opened the cards."""
    del wish
    yield from ()


def environment(wish: Wish) -> dict[str, str]:
    """Give the variables by which QEMU finds the server, on top of those of its user."""
    audio, tree = wish.machine.audio, wish.facts.tree
    if audio is None or audio.backend not in (*_SOCKETS, "jack"):
        return {}
    found = {"XDG_RUNTIME_DIR": folder} if (folder := _folder(wish, audio)) else {}
    if audio.backend == "pulse" and audio.user and audio.user != wish.machine.host.user:
        cookie = f"{home_of(tree, audio.user)}/.config/pulse/cookie"
        if tree.exists(cookie):
            found["PULSE_COOKIE"] = cookie
    return found


def refusals(wish: Wish) -> Iterator[Problem]:
    """Yield a server that does not listen, or does not let QEMU in; of a captured host neither is known."""
    audio, tree = wish.machine.audio, wish.facts.tree
    if audio is None or not (tree.live or tree.exists(_RUNTIME)):
        return
    if audio.user and uid_of(tree, audio.user) is None:
        message = f"there is no user {audio.user} on this host"
        yield Problem(code="no-user", key="audio.user", message=message, hint="see: getent passwd")
    elif audio.backend == "alsa":
        yield from _cards(wish)
    elif path := _socket(wish, audio):
        yield from _server(wish, audio, path)


def _server(wish: Wish, audio: Audio, path: str) -> Iterator[Problem]:
    tree, user = wish.facts.tree, wish.machine.host.user
    if not tree.exists(path):
        others = [name for name in _listening(wish, audio) if name]
        hint = f'write audio.user = "{others[0]}"' if others else "log in, or: loginctl enable-linger USER"
        message = f"no sound server: {path} is not there"
        yield Problem(code="no-sound", key="audio.backend", message=message, hint=hint)
    elif folder := closed_folder(tree, path, user):
        message = f"{user or 'QEMU'} cannot reach the sound server {path}: {folder} does not let that user in"
        hint = f'write host.user = "{audio.user}"' if audio.user else "name the user who is logged in: host.user"
        yield Problem(code="no-sound", key="audio.backend", message=message, hint=hint)


def _cards(wish: Wish) -> Iterator[Problem]:
    tree, user = wish.facts.tree, wish.machine.host.user
    nodes = [f"{_CARDS}/{name}" for name in tree.listdir(_CARDS) if name.startswith("pcm")]
    if not nodes:
        hint = 'give the guest none: backend = "none"'
        yield Problem(code="no-sound", key="audio.backend", message="this host has no sound card", hint=hint)
    elif all(may_open(tree, node, user) is False for node in nodes):
        message, hint = f"{user or 'you'} may not open {nodes[0]}", f"usermod -aG audio {user or '$USER'}"
        yield Problem(code="no-sound", key="audio.backend", message=message, hint=hint)


def _socket(wish: Wish, audio: Audio) -> str | None:
    """Give where the server listens; None for one elsewhere, or of another kind."""
    if audio.backend == "pulse" and audio.server:
        return audio.server.removeprefix("unix:") if audio.server.startswith(("unix:", "/")) else None
    if audio.backend == "pulse" and _as_self(wish, audio) and os.environ.get("PULSE_SERVER"):
        return None  # the user has said where
    folder = _folder(wish, audio)
    return f"{folder}/{_SOCKETS[audio.backend]}" if folder and audio.backend in _SOCKETS else None


def _folder(wish: Wish, audio: Audio) -> str | None:
    """Give the runtime folder of the user whose sound it is."""
    if _as_self(wish, audio):
        return os.environ.get("XDG_RUNTIME_DIR") or f"{_RUNTIME}/{os.geteuid()}"
    uid = uid_of(wish.facts.tree, audio.user or wish.machine.host.user or "root")
    return None if uid is None else f"{_RUNTIME}/{uid}"


def _as_self(wish: Wish, audio: Audio) -> bool:
    user = audio.user or wish.machine.host.user
    return wish.facts.tree.live and (user is None or is_self(wish.facts.tree, user))


def _listening(wish: Wish, audio: Audio) -> Iterator[str | None]:
    """Yield the users whose servers do listen."""
    tree = wish.facts.tree
    for uid in tree.listdir(_RUNTIME):
        if uid.isdigit() and tree.exists(f"{_RUNTIME}/{uid}/{_SOCKETS[audio.backend]}"):
            yield name_of(tree, int(uid))
