#!/bin/bash
# One graphics card for host and guest: the host lets go of it first.
set -x

# the picture of the host
systemctl stop display-manager.service
killall gdm-x-session

# consoles
echo 0 > /sys/class/vtconsole/vtcon0/bind
echo 0 > /sys/class/vtconsole/vtcon1/bind
echo efi-framebuffer.0 > /sys/bus/platform/drivers/efi-framebuffer/unbind

# the card has to settle
sleep 10

modprobe -r nvidia_drm
modprobe -r nvidia_modeset
modprobe -r nvidia_uvm
modprobe -r nvidia

virsh nodedev-detach pci_0000_0b_00_0
virsh nodedev-detach pci_0000_0b_00_1

modprobe vfio-pci
