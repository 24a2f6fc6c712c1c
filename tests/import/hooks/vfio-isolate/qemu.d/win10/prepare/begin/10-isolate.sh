#!/bin/bash
UNDOFILE=/var/run/libvirt/qemu/vfio-isolate-undo.bin
HSET="C0,8"
MSET="C1-7,9-15"
vfio-isolate \
  -u $UNDOFILE \
  drop-caches \
  cpuset-modify --cpus $HSET /system.slice \
  cpuset-modify --cpus $HSET /user.slice \
  irq-affinity mask $MSET \
  cpu-governor performance $MSET
taskset -pc 0,8 2
