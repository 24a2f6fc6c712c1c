#!/usr/bin/env bash
set -euo pipefail
readonly MODULES="snd_hda_intel amdgpu"
declare -r SLOT=0000_0b_00

log() { echo "$(date): $*" | tee -a /var/log/vm.log; }

log "beginning"
for unit in sddm.service user@1000.service; do
  systemctl stop "$unit" || true
done
for con in /sys/class/vtconsole/vtcon*; do
  [ -e "$con/bind" ] && echo 0 > "$con/bind"
done
for function in 0 1 2 3; do virsh nodedev-detach "pci_${SLOT}_${function}" > /dev/null; done
modprobe -r $MODULES
for node in 0 1; do
  echo 4096 | sudo tee "/sys/devices/system/node/node${node}/hugepages/hugepages-2048kB/nr_hugepages" > /dev/null
done
echo performance | tee /sys/devices/system/cpu/cpu{0..15}/cpufreq/energy_performance_preference
ip link set enp7s0f0 vf 0 mac 52:54:00:aa:bb:cc vlan 5 && sleep 1
echo 950000 >/proc/sys/kernel/sched_rt_runtime_us
