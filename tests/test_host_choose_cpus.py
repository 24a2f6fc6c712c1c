"""Automatic pins: on the described hosts, and as properties over hosts that hypothesis makes up."""

import pytest
from hypothesis import given, settings, strategies as st

from qlaunch.host.choose_cpus import CpuChoice, CpuWish, choose_cpus
from qlaunch.host.cpus import CpuFacts, read_cpus
from qlaunch.values.cpus import CpuSet
from tests.hosts.build import expand, load


def choose(name: str, vcpus: int | None, node: int | None = None, taken: str = "") -> CpuChoice:
    return choose_cpus(read_cpus(load(name).tree()), CpuWish(vcpus=vcpus, node=node, taken=CpuSet.parse(taken)))


def pins(choice: CpuChoice) -> str:
    return ",".join(map(str, choice.pins))


def test_the_complete_ccx_comes_first() -> None:
    choice = choose("desktop-two-ccx", 14)
    assert pins(choice) == "4,12,5,13,6,14,7,15,1,9,2,10,3,11"
    assert (str(choice.emulator), str(choice.iothreads)) == ("0,8", "0,8")
    assert (choice.sockets, choice.dies, choice.cores, choice.threads) == (1, 1, 7, 2)
    assert choice.reasons == (
        "the guest gets 7 whole cores, CPUs 1-7,9-15, both threads of each",
        "CPUs 4-7,12-15 are all that is free of L3 domain 1 (16M)",
        "CPUs 1-3,9-11 are a part of L3 domain 0 (16M)",
        "CPUs 0,8 stay with the host, and carry the emulator and the iothreads",
    )


@pytest.mark.parametrize(
    ("name", "vcpus", "node", "expected"),
    [
        ("desktop-two-ccx", None, None, "4,12,5,13,6,14,7,15,1,9,2,10,3,11"),
        ("desktop-two-ccx", 8, None, "4,12,5,13,6,14,7,15"),
        ("desktop-two-ccx", 6, None, "4,12,5,13,6,14"),
        ("desktop-two-ccx", 3, None, "4,5,6"),
        ("hybrid-p-e-lpe", 10, None, "2,3,4,5,6,7,8,9,10,11"),
        ("hybrid-p-e-lpe", 12, None, "0,1,2,3,4,5,6,7,8,9,10,11"),
        ("x3d-two-ccds", None, None, "0,16,1,17,2,18,3,19,4,20,5,21,6,22,7,23"),
        ("x3d-two-ccds", 4, None, "1,17,2,18"),
        ("x3d-two-ccds", 18, None, "0,16,1,17,2,18,3,19,4,20,5,21,6,22,7,23,8,24"),
        ("threadripper-two-nodes", 8, 1, "8,24,9,25,10,26,11,27"),
        ("threadripper-two-nodes", 8, 0, "4,20,5,21,6,22,7,23"),
        ("threadripper-two-nodes", 16, 1, "8,24,9,25,10,26,11,27,12,28,13,29,14,30,15,31"),
        ("server-two-nodes", 4, 1, "24,72,25,73"),
        ("server-two-nodes", 4, 0, "1,49,2,50"),
        ("server-two-nodes", 4, None, "24,72,25,73"),
        ("offline-and-holes", 6, None, "1,9,3,11,7,15"),
        ("no-iommu", None, None, "1,5,2,6,3,7"),
    ],
)
def test_described_hosts_give_these_pins(name: str, vcpus: int | None, node: int | None, expected: str) -> None:
    assert pins(choose(name, vcpus, node)) == expected


def test_a_guest_over_both_dies_of_a_node_has_two_dies() -> None:
    choice = choose("threadripper-two-nodes", 16, 1)
    assert (choice.sockets, choice.dies, choice.cores, choice.threads) == (1, 2, 4, 2)
    assert "they are on node 1, as its device or memory is" in choice.reasons


def test_a_guest_of_two_packages_has_two_sockets() -> None:
    choice = choose("server-two-nodes", 92)
    assert (choice.sockets, choice.dies, choice.cores, choice.threads) == (2, 1, 23, 2)


def test_domains_of_three_cores_become_dies_since_apic_ids_group_by_powers_of_two() -> None:
    rows = [{"first": f"{a}-{a + 2}", "second": f"{a + 12}-{a + 14}", "l3": "16384K"} for a in (0, 3, 6, 9)]
    facts = read_cpus(expand({"cores": rows}).tree())
    choice = choose_cpus(facts, CpuWish(vcpus=12))
    assert pins(choice) == "3,15,4,16,5,17,6,18,7,19,8,20"
    assert (choice.dies, choice.cores) == (2, 3)


def test_cpus_that_another_machine_leases_are_left_alone_with_their_siblings() -> None:
    choice = choose("desktop-two-ccx", 4, taken="4-5")
    assert not {4, 5, 12, 13} & (choice.guest | choice.emulator | choice.iothreads | choice.host)
    assert "CPUs 4-5 are leased by other machines" in choice.reasons


def test_cores_that_the_kernel_keeps_free_go_to_the_guest() -> None:
    files = load("desktop-two-ccx")
    files.texts["/sys/devices/system/cpu/isolated"] = "2-3,10-11"
    facts = read_cpus(files.tree())
    assert [cpu.cpu for cpu in facts.cpus if cpu.isolated] == [2, 3, 10, 11]
    choice = choose_cpus(facts, CpuWish())
    assert pins(choice) == "2,10,3,11"
    assert not choice.host & facts.isolated
    more = choose_cpus(facts, CpuWish(vcpus=12))
    assert not more.host & facts.isolated
    assert more.emulator


@pytest.mark.parametrize(
    ("name", "vcpus", "taken", "words"),
    [
        ("desktop-two-ccx", 16, "", "16 vCPUs do not fit on whole cores of one class with one left to the host"),
        ("desktop-two-ccx", 8, "0-4", "while other machines lease CPUs 0-4"),
        ("hybrid-p-e-lpe", 20, "", "20 vCPUs do not fit"),
        ("desktop-two-ccx", 2, "0-6", "no whole core can be given"),
        ("container", 4, "", "nothing is known of this host's CPUs"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_reason(name: str, vcpus: int, taken: str, words: str) -> None:
    choice = choose(name, vcpus, taken=taken)
    assert words in (choice.refusal or "")
    assert choice.hint
    assert choice.pins == ()


def test_the_hint_of_a_refusal_names_a_number_that_fits() -> None:
    assert choose("desktop-two-ccx", 16).hint == "ask for at most 14 vCPUs, or pin them by hand"
    assert choose("desktop-two-ccx", 14).refusal is None


@st.composite
def hosts(draw: st.DrawFn) -> CpuFacts:
    """Hosts of one to three packages, with and without SMT, L3 domains of any size, mixed classes, holes, offline."""
    rows, next_cpu = [], 0
    for socket in range(draw(st.integers(1, 3))):
        for _ in range(draw(st.integers(1, 3))):
            cores, threads = draw(st.integers(1, 6)), draw(st.integers(1, 2))
            row = {"first": f"{next_cpu}-{next_cpu + cores - 1}", "socket": socket, "node": socket}
            if threads == 2:
                row["second"] = f"{next_cpu + cores}-{next_cpu + 2 * cores - 1}"
            if draw(st.booleans()):
                row["l3"] = draw(st.sampled_from(["16384K", "32768K", "98304K"]))
            if draw(st.booleans()):
                row["max_khz"] = draw(st.sampled_from([2400000, 3800000, 5000000]))
            rows.append(row)
            next_cpu += cores * threads + draw(st.integers(0, 2))
    anyone = st.sets(st.integers(0, next_cpu), max_size=4)
    host = {"cores": rows, "offline": str(CpuSet(draw(anyone))), "isolated": str(CpuSet(draw(anyone)))}
    return read_cpus(expand(host).tree())


wishes = st.builds(
    CpuWish,
    vcpus=st.none() | st.integers(1, 40),
    threads=st.none() | st.integers(1, 2),
    node=st.none() | st.integers(0, 3),
    taken=st.sets(st.integers(0, 40), max_size=6).map(CpuSet),
)


@settings(deadline=None)
@given(hosts(), wishes)
def test_every_choice_is_of_whole_cores_and_leaves_the_host_one(facts: CpuFacts, wish: CpuWish) -> None:
    choice = choose_cpus(facts, wish)
    if choice.refusal:
        assert not choice.pins
        return
    by_number = {cpu.cpu: cpu for cpu in facts.cpus}
    assert len(set(choice.pins)) == len(choice.pins)
    assert choice.guest >= set(choice.pins)
    assert choice.guest <= facts.online
    assert choice.emulator
    assert choice.iothreads
    assert choice.emulator | choice.iothreads <= choice.host
    assert not choice.guest & choice.host
    leased_cores = {sibling for cpu in wish.taken & facts.online for sibling in by_number[cpu].siblings}
    assert not leased_cores & (choice.guest | choice.host)
    for cpus in (choice.guest, choice.host, choice.emulator):
        assert CpuSet(sibling for cpu in cpus for sibling in by_number[cpu].siblings) == cpus
    plain = [cpu for cpu in facts.online - leased_cores if facts.isolated.isdisjoint(by_number[cpu].siblings)]
    assert not plain or choice.host.isdisjoint(facts.isolated)


@settings(deadline=None)
@given(hosts(), wishes)
def test_the_guests_topology_mirrors_the_hosts(facts: CpuFacts, wish: CpuWish) -> None:
    choice = choose_cpus(facts, wish)
    if choice.refusal:
        return
    by_number = {cpu.cpu: cpu for cpu in facts.cpus}
    assert choice.sockets * choice.dies * choice.cores * choice.threads == len(choice.pins)
    assert wish.vcpus in (None, len(choice.pins))
    cores = [choice.pins[start : start + choice.threads] for start in range(0, len(choice.pins), choice.threads)]
    assert all(len({by_number[cpu].core for cpu in core}) == 1 for core in cores)
    assert len({by_number[core[0]].core for core in cores}) == len(cores)
    per_socket = len(choice.pins) // choice.sockets
    if choice.sockets > 1:
        sockets = [
            {by_number[cpu].socket for cpu in choice.pins[start : start + per_socket]}
            for start in range(0, len(choice.pins), per_socket)
        ]
        assert all(len(one) == 1 for one in sockets)
    kinds = {by_number[cpu].kind for cpu in choice.pins}
    assert len(kinds) == 1 or kinds == {"X3D", "P"}
    assert choice.reasons


@settings(deadline=None)
@given(hosts(), wishes)
def test_the_same_question_has_the_same_answer(facts: CpuFacts, wish: CpuWish) -> None:
    assert choose_cpus(facts, wish) == choose_cpus(facts, wish)
