"""Which events somebody wants to see. Pure."""

from fnmatch import fnmatchcase


def wants_event(name: str, patterns: list[str]) -> bool:
    """Whether an event passes the patterns: none, or the last one that fits, where ``!`` refuses."""
    if not patterns:
        return True
    wanted = all(pattern.startswith("!") for pattern in patterns)
    for pattern in patterns:
        if fnmatchcase(name, pattern.removeprefix("!").upper()):
            wanted = not pattern.startswith("!")
    return wanted
