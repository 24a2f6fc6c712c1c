"""Start QEMU/KVM machines with passed-through hardware, and give the host back as it was.

For programs, on trio::

    async with qlaunch.launch("headless") as vm:
        await vm.serial.expect("login:")
"""

TYPE_CHECKING = False  # typing's own takes its import, which a quick question does not wait for
if TYPE_CHECKING:
    from qlaunch.run.python import launch
    from qlaunch.run.vm import Completed, Vm

__version__ = "0.1.0"
__all__ = ["Completed", "Vm", "__version__", "launch"]


def __getattr__(name: str) -> object:
    """Import what programs use when they use it: the command line must not wait for trio."""
    if name == "launch":
        from qlaunch.run.python import launch  # noqa: PLC0415

        return launch
    if name in ("Completed", "Vm"):
        from qlaunch.run import vm  # noqa: PLC0415

        return getattr(vm, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
