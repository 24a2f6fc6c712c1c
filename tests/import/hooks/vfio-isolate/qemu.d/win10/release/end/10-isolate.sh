#!/bin/bash
vfio-isolate restore /var/run/libvirt/qemu/vfio-isolate-undo.bin
taskset -pc 0-15 2
