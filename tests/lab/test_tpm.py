"""A TPM and a shared folder, whose other ends are helpers of the machine: seen from inside, and gone afterwards."""

import pytest

from tests.lab import guest
from tests.lab.host import LabHost
from tests.lab.test_usb import IDLE, WAIT

pytestmark = pytest.mark.lab

ASK_THE_TPM = f"""{WAIT}
wait_for '[ -e /sys/class/tpm/tpm0/tpm_version_major ]'
echo version $(cat /sys/class/tpm/tpm0/tpm_version_major)
echo register $(cat /sys/class/tpm/tpm0/pcr-sha256/16)
"""
USE_THE_FOLDER = """
mkdir /games
mount -t virtiofs games /games && cat /games/hello
echo written by the guest > /games/back
umount /games
"""


def test_a_guest_talks_to_its_tpm(host: LabHost) -> None:
    said = guest.run(host, '[tpm]\nversion = "2.0"\n', ASK_THE_TPM)
    assert "version 2" in said
    assert f"register {'0' * 64}" in said
    assert host.shell("ls /var/lib/qlaunch/linux/tpm").split() == ["tpm2-00.permall"]


def test_a_guest_reads_and_writes_a_folder_of_the_host(host: LabHost) -> None:
    host.shell("mkdir -p /srv/games; echo from the host > /srv/games/hello")
    initrd = guest.with_drivers(host, "virtiofs")
    said = guest.run(host, '[[share]]\npath = "/srv/games"\ntag = "games"\n', USE_THE_FOLDER, initrd)
    assert "from the host" in said
    assert host.read("/srv/games/back") == "written by the guest"
    host.shell(f"rm -r {initrd} /srv/games")


def test_helpers_that_were_left_behind_are_ended_by_recover(host: LabHost) -> None:
    host.shell("mkdir -p /srv/games")
    host.machine("idle", IDLE + '[tpm]\nversion = "2.0"\n[[share]]\npath = "/srv/games"\ntag = "games"\n')
    host.qlaunch("up", "idle", "--detach")
    assert host.shell("pgrep -c -x swtpm") == "1\n"
    status = host.json("status", "idle")
    host.shell(f"kill -9 {status['supervisor_pid']} {status['pid']}")
    host.wait_until(f"[ ! -d /proc/{status['pid']} ]")
    host.qlaunch("recover")
    assert host.shell("pgrep -c -x swtpm || true; pgrep -c virtiofsd || true; rmdir /srv/games").split() == ["0", "0"]
