"""The guest agent, as far as a shutdown needs it.

Source: QEMU's ``qga/qapi-schema.json``: guest-sync-delimited answers with 0xFF first; guest-shutdown answers only
when it fails.
"""

import os

import msgspec
import trio


async def ask_agent_to_shut_down(path: str, seconds: float) -> bool:
    """Send guest-shutdown if the agent proves within ``seconds`` that it is there. Tells whether it was asked."""
    token = int.from_bytes(os.urandom(4), "big")
    with trio.move_on_after(seconds):
        try:
            stream = await trio.open_unix_socket(path)
        except OSError:
            return False
        async with stream:
            # 0xFF makes the agent drop whatever half a message it had before.
            await stream.send_all(b"\xff" + _command("guest-sync-delimited", {"id": token}))
            if not await _has_answered(stream, token):
                return False
            await stream.send_all(_command("guest-shutdown", {"mode": "powerdown"}))
            return True
    return False


async def _has_answered(stream: trio.SocketStream, token: int) -> bool:
    received = b""
    async for chunk in stream:
        received += chunk
        if str(token).encode() in received:
            return True
        if len(received) > 65536:  # noise: the agent's answer has some 30 bytes
            return False
    return False


def _command(name: str, arguments: dict[str, object]) -> bytes:
    return msgspec.json.encode({"execute": name, "arguments": arguments}) + b"\n"
