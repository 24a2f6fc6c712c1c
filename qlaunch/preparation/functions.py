"""Every PCI function that goes to the guest, whole or virtual. Pure."""

from qlaunch.preparation.network import vf_address
from qlaunch.preparation.pci import wanted
from qlaunch.preparation.wish import Wish


def functions(wish: Wish) -> list[str]:
    """Give their addresses; that of a virtual function also before it is made."""
    whole = [str(device.address) for pci in wish.machine.pci for device in wanted(wish, pci)]
    cards = [vf_address(wish.facts, card) for card in wish.machine.network if card.type == "vf"]
    return whole + [str(card) for card in cards if card]
