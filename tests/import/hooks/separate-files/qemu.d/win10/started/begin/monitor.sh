#!/bin/bash
xrandr --output HDMI-0 --off
