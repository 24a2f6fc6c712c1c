"""How text of a machine file becomes a value of ``values/``."""

from typing import Any


def parse_value(kind: type, value: object) -> Any:  # noqa: ANN401 - msgspec's own signature
    """Read the types of ``values/``, which msgspec does not know, from text."""
    if not isinstance(value, str):
        raise TypeError(f"text is wanted for {kind.__name__}")
    parse = getattr(kind, "parse")  # noqa: B009 - all of values/ have it, and type has not
    return parse(value)
