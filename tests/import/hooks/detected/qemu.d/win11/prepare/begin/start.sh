#!/bin/bash
# Finds out what runs, writes down what it stops, and waits until it has stopped.
DATE=$(date +"%m/%d/%Y %R:%S :")
LOG=/var/log/libvirt/custom_hooks.log
DISPMGR="null"

function stop_display_manager {
    if [[ -x /run/systemd/system ]]; then
        DISPMGR="$(grep 'ExecStart=' /etc/systemd/system/display-manager.service | awk -F'/' '{print $NF}')"
        echo "$DATE display manager: $DISPMGR" >> "$LOG"
        if systemctl is-active --quiet "$DISPMGR.service"; then
            grep -qsF "$DISPMGR" "/tmp/stored" || echo "$DISPMGR" > /tmp/stored
            systemctl stop "$DISPMGR.service"
            systemctl isolate multi-user.target
        fi
        while systemctl is-active --quiet "$DISPMGR.service"; do
            sleep 1
        done
        return
    fi
}

stop_display_manager

# every console that draws on a framebuffer
for (( i = 0; i < 16; i++ )); do
    if test -x /sys/class/vtconsole/vtcon"${i}"; then
        if [ "$(grep -c "frame buffer" /sys/class/vtconsole/vtcon"${i}"/name)" = 1 ]; then
            echo 0 > /sys/class/vtconsole/vtcon"${i}"/bind
        fi
    fi
done
