"""Which unit of systemd shows the login screen.

Source: ``systemd.special(7)``: ``display-manager.service`` is an alias that each distribution points at its own unit.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qlaunch.host.tree import Tree

DISPLAY_MANAGER = "display-manager.service"
LINK = f"/etc/systemd/system/{DISPLAY_MANAGER}"


def read_display_manager(tree: "Tree") -> str | None:
    """Give the unit that the alias stands for, such as ``sddm.service``."""
    return tree.linked_name(LINK)
