"""Start QEMU/KVM machines with passed-through hardware, and give the host back as it was."""

__version__ = "0.1.0"
