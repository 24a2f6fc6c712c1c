#!/bin/bash
input="/tmp/stored"
while read -r DISPMGR; do
    if command -v systemctl; then
        systemctl start "$DISPMGR.service"
    fi
done < "$input"
for card in 0000:0b:00.0 0000:0b:00.1; do
    echo 1 > "/sys/bus/pci/devices/$card/remove"
done
echo 1 > /sys/bus/pci/rescan
