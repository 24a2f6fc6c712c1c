"""What boots this host, and so where words of the kernel command line belong.

Source: GRUB's manual ("Simple configuration handling"), ``kernel-install(8)`` (/etc/kernel/cmdline),
``loader.conf(5)`` of systemd-boot, and the manuals of rEFInd and Limine.
"""

from qlaunch.host.tree import Tree

# A file that each of them alone has, and how a word is added.
_PLACES = (
    ("/etc/kernel/cmdline", "/etc/kernel/cmdline, then run: kernel-install add-all (or proxmox-boot-tool refresh)"),
    ("/boot/loader/loader.conf", "the options line of /boot/loader/entries/*.conf (systemd-boot)"),
    ("/boot/efi/loader/loader.conf", "the options line of /boot/efi/loader/entries/*.conf (systemd-boot)"),
    ("/efi/loader/loader.conf", "the options line of /efi/loader/entries/*.conf (systemd-boot)"),
    ("/boot/refind_linux.conf", "each line of /boot/refind_linux.conf (rEFInd)"),
    ("/boot/limine.conf", "the cmdline line of /boot/limine.conf (Limine)"),
)
_NODES_SINCE = (5, 16)
_GRUB = "GRUB_CMDLINE_LINUX_DEFAULT in /etc/default/grub, then run: "


def hugepages_at_boot(tree: Tree, pages: str, node: int | None, kernel: tuple[int, int] | None) -> str:
    """Say which words reserve hugepages at boot, before memory is broken up; ``pages`` is size and number, ``1G:16``.

    Source: the kernel's ``Documentation/admin-guide/kernel-parameters.txt``: hugepages= counts pages of the last
    hugepagesz= before it; ``node:count`` since Linux 5.16.
    """
    size, _, count = pages.partition(":")
    where = f"{node}:" if node is not None and kernel is not None and kernel >= _NODES_SINCE else ""
    return f"add hugepagesz={size} hugepages={where}{count} to {command_line_place(tree)}"


def command_line_place(tree: Tree) -> str:
    """Say where to add words to the kernel command line, and what to run then."""
    if tree.exists("/etc/default/grub"):
        if tree.exists("/usr/sbin/update-grub"):
            return f"{_GRUB}update-grub"
        folder = "grub2" if tree.exists("/boot/grub2") else "grub"
        return f"{_GRUB}{'grub2' if folder == 'grub2' else 'grub'}-mkconfig -o /boot/{folder}/grub.cfg"
    for path, place in _PLACES:
        if tree.exists(path):
            return place
    return "the kernel command line of your boot loader"
