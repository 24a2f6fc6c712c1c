"""The host before and after: what camera.py saw, kept and compared."""

from pathlib import Path

from tests.lab import camera
from tests.lab.camera import difference
from tests.lab.channel import Channel

__all__ = ["CAMERA", "Photograph", "difference", "take"]

CAMERA = Path(camera.__file__).read_text()

Photograph = dict[str, camera.Part]


def take(channel: Channel) -> Photograph:
    """A photograph of an emulated host, after its events have settled."""
    photograph: Photograph = channel.call(CAMERA, "photograph")
    return photograph
