"""Sets and lists of CPUs in the kernel's list format, ``0-3,8``.

Source: the kernel's ``Documentation/admin-guide/kernel-parameters.rst``, "cpu lists", and ``cpuset(7)``, "List format".
"""

from collections.abc import Iterable, Iterator

# CONFIG_NR_CPUS is at most 8192 on x86-64 (arch/x86/Kconfig): a larger number is a typing error, not a CPU.
HIGHEST_CPU = 8191


class CpuSet(frozenset[int]):
    """A set of CPU numbers; ``CpuSet.parse("0-3,8")`` and ``str()`` are inverses, up to order and repetition."""

    @classmethod
    def parse(cls, text: str) -> "CpuSet":
        """Read the kernel's list format. Empty text is the empty set, as in ``/sys`` files."""
        return cls(parse_cpu_list(text)) if text.strip() else cls()

    @classmethod
    def parse_mask(cls, text: str) -> "CpuSet":
        """Read the kernel's mask format: hexadecimal words of 32 bits, highest first, split by commas."""
        try:
            bits = int(text.strip().replace(",", ""), 16)
        except ValueError:
            raise ValueError(f"{text!r} is not a CPU mask such as 'ff' or '00000001,00000000'") from None
        return cls(cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1)

    def mask(self) -> str:
        """Print the kernel's mask format, e.g. ``00000001,0000000f``."""
        bits = sum(1 << cpu for cpu in self)
        words = [f"{bits >> shift & 0xFFFFFFFF:08x}" for shift in range(0, max(bits.bit_length(), 1), 32)]
        return ",".join(reversed(words))

    def __str__(self) -> str:
        return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in _runs(self))

    def __repr__(self) -> str:
        return f"CpuSet({str(self)!r})"


def parse_cpu_list(text: str) -> list[int]:
    """Read ``1,9,2-4`` as ``[1, 9, 2, 3, 4]``: the order is kept, since a pin list gives the n-th vCPU its n-th CPU."""
    cpus: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isascii() and first.isdigit()) or (dash and not (last.isascii() and last.isdigit())):
            raise ValueError(f"{text!r} is not a CPU list such as '0-3,8'")
        low, high = int(first), int(last or first)
        if high < low:
            raise ValueError(f"the range {part.strip()!r} in {text!r} runs backwards")
        if high > HIGHEST_CPU:
            raise ValueError(f"CPU {high} in {text!r} is beyond {HIGHEST_CPU}, the highest that Linux numbers")
        cpus.extend(range(low, high + 1))
    return cpus


def _runs(cpus: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of each run of neighbouring numbers, in order."""
    run: tuple[int, int] | None = None
    for cpu in sorted(cpus):
        if run and cpu == run[1] + 1:
            run = run[0], cpu
            continue
        if run:
            yield run
        run = cpu, cpu
    if run:
        yield run


class PinList(tuple[int, ...]):
    """One host CPU for each vCPU, in the order of the vCPUs; empty means that qlaunch chooses (``auto``)."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> "PinList":
        """Read ``"auto"`` or ``"1,9,2,10"``."""
        return cls() if text.strip() == "auto" else cls(parse_cpu_list(text))

    @property
    def auto(self) -> bool:
        """Whether the choice is left to qlaunch."""
        return not self

    def __str__(self) -> str:
        return ",".join(map(str, self)) or "auto"
