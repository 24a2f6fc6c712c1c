"""One QEMU option: how it is written, and how its values are kept from becoming other options.

Three forms. JSON where QEMU takes it (``-device``, ``-object``, ``-blockdev``, ``-netdev``, ``-audiodev``): typed,
nothing to escape. Key and value elsewhere: a comma in a value is doubled. Raw words (``-kernel FILE``): nothing to
escape.

Source: QEMU's ``docs/about/deprecated.rst`` (short-form booleans), ``qemu-options.hx``, ``util/keyval.c`` (doubled
commas).
"""

import msgspec

from qlaunch.devices.ports import Behind, Port

Value = str | int | bool | None | Port | Behind | list["Value"] | dict[str, "Value"]


class Arg(msgspec.Struct, frozen=True):
    """One option of the command line. ``body`` is None for a flag, text for a raw word, and otherwise keys with values.

    ``head`` is the nameless first value of a key-value option, e.g. ``socket`` in ``-chardev socket,id=…``.
    """

    flag: str
    body: str | dict[str, Value] | None = None
    head: str = ""
    json: bool = False

    def words(self) -> tuple[str, ...]:
        """Render as words of the argv. A None among the values is left out."""
        match self.body:
            case None:
                return (f"-{self.flag}",)
            case str():
                return (f"-{self.flag}", self.body)
            case dict() if self.json:
                return (f"-{self.flag}", msgspec.json.encode(plain(self.body)).decode())
            case dict():
                pairs = (f"{key}={_text(value)}" for key, value in self.body.items() if value is not None)
                return (f"-{self.flag}", ",".join([*([_text(self.head)] if self.head else []), *pairs]))

    def get(self, key: str) -> Value:
        """Give the value of a key, or None."""
        return self.body.get(key) if isinstance(self.body, dict) else None


def raw(flag: str, word: str | None = None) -> Arg:
    """Give an option whose one word is taken as it is, or a flag."""
    return Arg(flag, word)


def keyval(flag: str, head: str = "", /, **options: Value) -> Arg:
    """Give a key-value option; an underscore in a keyword is kept, a hyphen is given as ``**{"a-b": 1}``."""
    return Arg(flag, options, head)


def device(driver: str, id_: str | None, /, **properties: Value) -> Arg:
    """Give a ``-device`` in JSON."""
    return Arg("device", {"driver": driver, "id": id_, **properties}, json=True)


def qom_object(qom_type: str, id_: str, /, **properties: Value) -> Arg:
    """Give an ``-object`` in JSON."""
    return Arg("object", {"qom-type": qom_type, "id": id_, **properties}, json=True)


def blockdev(driver: str, node_name: str, /, **options: Value) -> Arg:
    """Give a ``-blockdev`` in JSON. A node name has at most 31 characters."""
    return Arg("blockdev", {"driver": driver, "node-name": node_name, **options}, json=True)


def plain(value: Value) -> Value:
    """Give the value as JSON has it: a port is its id, and None is left out of tables."""
    match value:
        case Port() | Behind():
            return value.id
        case dict():
            return {key: plain(inner) for key, inner in value.items() if inner is not None}
        case list():
            return [plain(inner) for inner in value]
        case str():
            return str(value)  # the types of values/ are text, and msgspec wants it plain
        case _:
            return value


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(plain(value)).replace(",", ",,")
