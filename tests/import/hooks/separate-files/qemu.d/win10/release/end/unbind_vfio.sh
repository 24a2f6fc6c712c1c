#!/bin/bash
source "/etc/libvirt/hooks/kvm.conf"
virsh nodedev-reattach $VIRSH_GPU_VIDEO
virsh nodedev-reattach $VIRSH_GPU_AUDIO
modprobe -r vfio_pci
