"""Two command lines of QEMU as what they say to it: options and keys, without names and order."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import msgspec

# Keys that are names, or lead to what is named: they differ and mean nothing.
NAMES = {"id", "process", "node-name", "drive", "netdev", "chardev", "audiodev", "memdev", "tpmdev", "rng", "fsdev"}
NAMES |= {"file", "bus", "memory-backend", "pflash0", "pflash1", "masterbus"}
MERGED = ("machine", "cpu", "smp", "m", "overcommit", "name", "action", "boot", "rtc")
Option = tuple[str, dict[str, str]]


def words_of(line: str) -> list[str]:
    """Libvirt's command line begins with the environment."""
    words = shlex.split(line)
    first = next(index for index, word in enumerate(words) if "=" not in word)
    return words[first:]


def differences(ours: list[str], theirs: list[str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield option, key, our value and libvirt's; the key ``whole`` stands for an option that only one of them has."""
    left, right = named(ours), named(theirs)
    for name in dict.fromkeys([*left, *right]):
        one, other = left.get(name), right.get(name)
        option = f"-{name[0]} {name[1]}".strip()
        if one is None or other is None:
            yield option, "whole", "-" if one is None else "yes", "-" if other is None else "yes"
            continue
        for key in dict.fromkeys([*one, *other]):
            mine, yours = one.get(key, "-"), other.get(key, "-")
            if mine != yours and key not in NAMES:
                yield option, key, mine, yours


def named(argv: list[str]) -> dict[tuple[str, str, str], dict[str, str]]:
    """Give each option under its flag, its kind, and its place or number: what it is whatever its name."""
    options = list(parsed(argv[1:]))
    context = Context.of(options)
    result: dict[tuple[str, str, str], dict[str, str]] = {}
    for flag, body in options:
        if flag in MERGED:
            result.setdefault((flag, "", ""), {}).update(body)
        elif flag == "global":
            short = next(iter(body))
            driven = f"{body.get('driver')}.{body.get('property')}", body.get("value", "")
            name, value = driven if "value" in body else (short, body[short])
            result[flag, name, ""] = {"value": value}
        elif flag != "netdev":  # virsh makes each card anew for this: only MAC address and model are left of it
            kind, spot, kept = context.identity(flag, body)
            number = sum(1 for other in result if other[:2] == (flag, kind) and other[2].partition("#")[0] == spot)
            result[flag, kind, f"{spot}#{number}"] = kept
    return result


class Context(msgspec.Struct, frozen=True):
    """What an option must know of the others to be told apart from its like."""

    buses: dict[str, str]
    threads: list[str]
    users: dict[str, str]  # of character devices

    @classmethod
    def of(cls, options: list[Option]) -> "Context":
        buses: dict[str, str] = {}
        for flag, body in options:  # each bridge comes after those that lead to it
            if flag == "device" and "id" in body:
                buses[body["id"]] = where(body, buses)
        threads = [body["id"] for flag, body in options if flag == "object" and body.get("qom-type") == "iothread"]
        users = {
            body["chardev"]: f"{flag} {body.get('driver', '')} {where(body, buses)}"
            for flag, body in options
            if "chardev" in body
        }
        return cls(buses, threads, users)

    def identity(self, flag: str, body: dict[str, str]) -> tuple[str, str, dict[str, str]]:
        """Give an option's kind, its place, and the keys that are compared."""
        kind = body.get("driver") or body.get("qom-type") or body.get("type") or body.get("", "")
        dropped = {"addr", "driver", "qom-type", "type", "", *({"path"} if flag == "chardev" else {"vnc"})}
        kept = {key: text for key, text in body.items() if key not in dropped}
        match flag:
            case "spice" | "vnc":
                return "", "", kept
            case "chardev":
                return kind, self.users.get(body.get("id", ""), ""), kept
            case "device" if "netdev" in body:
                return kind, body["mac"], {}
            case "device":
                if "iothread" in body:
                    kept["iothread"] = f"number {self.threads.index(body['iothread']) + 1}"
                return kind, where(body, self.buses), kept
            case _:
                return kind, body.get("filename", ""), kept


def where(body: dict[str, str], buses: dict[str, str]) -> str:
    """Give a device's place in the guest: the bridge it is behind by the bridge's own place, then its address."""
    bus = body.get("bus", "")
    base = buses.get(bus) or re.sub(r"^(usb|virtio-serial|vserial|scsi|sound|hda)\d*\.0$", r"\1", bus)
    base = {"virtio-serial": "vserial", "hda": "sound"}.get(base, base)
    slot, _, function = body.get("addr", "").partition(".")
    address = f"{int(slot or '0', 16)}.{int(function or '0', 16)}" if slot else ""
    return "/".join(part for part in (base, address, *(body.get(key, "") for key in ("port", "nr", "scsi-id"))) if part)


def parsed(words: list[str]) -> Iterator[Option]:
    """Yield each option with its keys, tables flattened to dotted keys, and values in one spelling."""
    at = 0
    while at < len(words):
        flag, at = words[at].lstrip("-"), at + 1
        body: dict[str, str] = {}
        if at < len(words) and not words[at].startswith("-"):
            word, at = words[at], at + 1
            body = flat(msgspec.json.decode(word)) if word.startswith("{") else keys_of(flag, word)
        yield flag, body


def keys_of(flag: str, word: str) -> dict[str, str]:
    if flag in ("uuid", "kernel", "initrd", "append"):
        return {"": word}
    parts = [part.replace("\0", ",") for part in word.replace(",,", "\0").split(",")]
    # Only the first word may stand for a key that is not written; any other one without a value is on.
    pairs = [part.partition("=") if "=" in part or not at else (part, "=", "on") for at, part in enumerate(parts)]
    nameless = {"m": "size", "smp": "cpus", "display": "type", "spice": "unix", "vnc": "vnc"}.get(flag, "")
    found = {
        key if equal else nameless: text if key == "addr" else spelled(text if equal else key)
        for key, equal, text in pairs
    }
    return dict(one_spelling(flag, key, text) for key, text in found.items())


def one_spelling(flag: str, key: str, text: str) -> tuple[str, str]:
    """Give a key of -cpu or -machine in the one of its spellings that QEMU prints itself."""
    if flag == "cpu" and key[:1] in "+-" and text == "on":
        return key[1:].replace("_", "-"), "on" if key[0] == "+" else "off"
    return (key.replace("_", "-") if flag in ("cpu", "machine") else key), text


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in table.items():
        own = value if key == "addr" else spelled(value)  # where() reads an address
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: own}
    return found


def spelled(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    text = msgspec.json.encode(value).decode() if isinstance(value, list) else str(value)
    if re.fullmatch(r"0x[0-9a-f]+", text):
        return str(int(text, 16))
    if match := re.fullmatch(r"(\d+)k", text):
        return str(int(match[1]) >> 10)  # -m: a bare number is MiB
    return {"yes": "on", "no": "off", "true": "on", "false": "off"}.get(text, text)
