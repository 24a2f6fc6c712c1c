#!/bin/bash
GPU="0000:0b:00"
bind() {
  echo vfio-pci > /sys/bus/pci/devices/$1/driver_override
  echo "$1" | sudo tee /sys/bus/pci/devices/$1/driver/unbind
  echo "$1" > /sys/bus/pci/drivers_probe
}
for function in 0 1; do
  bind "$GPU.$function"
done
echo "1002 73bf" > /sys/bus/pci/drivers/vfio-pci/new_id
if systemctl is-active --quiet sddm; then
  systemctl stop sddm
fi
if lsmod | grep -q amdgpu; then
  modprobe -r amdgpu
fi
if [ -e /tmp/other ]; then
  mount --bind /srv/a /srv/b
fi
systemctl stop irqbalance
systemctl start libvirt-nosleep@"$1"
