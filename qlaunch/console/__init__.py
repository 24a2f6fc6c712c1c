"""The console's language, apart from sockets and terminals: what is typed, what QEMU offers, how answers look. Pure."""
