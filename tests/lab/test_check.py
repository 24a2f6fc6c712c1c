"""`check` in the emulated host: the planted faults are named, and nothing else."""

import msgspec
import pytest

from tests.lab.host import LabHost

pytestmark = pytest.mark.lab

# Planted: guest cores over two of the host, a stranger with a driver, a host that may sleep, a wrong id.
MACHINE = """
[cpu]
pin = "4,6,5,7"
topology = { cores = 2, threads = 2 }
features = ["+topoext"]
emulator = "0"
[memory]
size = "256M"
[firmware]
type = "bios"
[[pci]]
host = "06:01"
id = "1234:5678"
boot_index = 0
"""
ASK = f"cat > /tmp/planted.toml <<'END'\n{MACHINE}\nEND\nqlaunch check /tmp/planted.toml --json || echo status $?"


def test_check_names_the_planted_faults_and_nothing_else(host: LabHost) -> None:
    said = host.channel.shell(ASK)
    line = next(line for line in said.splitlines() if line.startswith("{"))
    found = [check for check in msgspec.json.decode(line)["checks"] if check["status"] == "failed"]
    serious = {check["code"] for check in found if check["severity"] != "info"}
    assert serious == {"pin-siblings", "device-identity", "group", "sleep"}, found
    assert "status 1" in said
