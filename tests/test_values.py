import pytest
from hypothesis import given, strategies as st

from qlaunch.values.cpus import CpuSet, PinList, parse_cpu_list
from qlaunch.values.mac import Mac
from qlaunch.values.pci import DeviceId, PciAddress
from qlaunch.values.size import Size

cpus = st.frozensets(st.integers(0, 300)).map(CpuSet)


@given(cpus)
def test_a_cpu_set_prints_what_it_parses(value: CpuSet) -> None:
    assert CpuSet.parse(str(value)) == value


@given(cpus)
def test_a_cpu_mask_prints_what_it_parses(value: CpuSet) -> None:
    assert CpuSet.parse_mask(value.mask()) == value


def test_a_cpu_set_is_printed_as_the_kernel_prints_it() -> None:
    assert str(CpuSet([8, 3, 1, 0, 2, 5])) == "0-3,5,8"
    assert CpuSet([0, 1, 2, 3, 32]).mask() == "00000001,0000000f"


def test_a_pin_list_keeps_its_order() -> None:
    assert PinList.parse("1,9,2,10") == (1, 9, 2, 10)
    assert str(PinList.parse("1,9,2,10")) == "1,9,2,10"


def test_auto_pins_are_empty() -> None:
    assert PinList.parse("auto").auto
    assert str(PinList.parse("auto")) == "auto"


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-1", "1,,2", "0-99999", "¹", "1 2"])
def test_a_bad_cpu_list_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ValueError, match="CPU|backwards"):
        parse_cpu_list(text)


@given(st.integers(1, (1 << 63) - 1))
def test_a_size_prints_what_it_parses(count: int) -> None:
    assert Size.parse(str(Size(count))) == count


@pytest.mark.parametrize(
    ("text", "count"), [("512M", 512 << 20), ("16G", 16 << 30), ("1 GiB", 1 << 30), ("4k", 4096), ("7B", 7)]
)
def test_a_size_has_powers_of_1024(text: str, count: int) -> None:
    assert Size.parse(text) == count


@pytest.mark.parametrize("text", ["16", "G", "-1G", "1.5G", "16X", "99999999T", "", "1e3M"])
def test_a_bad_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="size|bytes"):
        Size.parse(text)


@given(st.integers(0, 0xFFFF), st.integers(0, 255), st.integers(0, 31), st.integers(0, 7) | st.none())
def test_a_pci_address_prints_what_it_parses(domain: int, bus: int, slot: int, function: int | None) -> None:
    text = f"{domain:04x}:{bus:02x}:{slot:02x}" + ("" if function is None else f".{function}")
    address = PciAddress.parse(text.upper())
    assert str(address) == text
    assert address.function == function
    assert address.slot == text[:10]
    assert address.at(3) == f"{text[:10]}.3"


def test_a_short_pci_address_is_in_domain_0() -> None:
    assert PciAddress.parse("0b:00.1") == "0000:0b:00.1"


@pytest.mark.parametrize("text", ["0b:20.0", "0b:00.8", "b:0.0", "0b", "0b:00.0 ,x", "0000:0b:00.00"])
def test_a_bad_pci_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="PCI address"):
        PciAddress.parse(text)


def test_an_id_gives_its_numbers() -> None:
    assert (DeviceId.parse("1002:73BF").vendor, DeviceId.parse("1002:73bf").device) == (0x1002, 0x73BF)


@pytest.mark.parametrize(
    "text", ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "00:00:00:00:00:00", "52:54:00", "zz:54:00:dd:82:2e"]
)
def test_a_mac_that_is_no_card_s_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Mac.parse(text)
