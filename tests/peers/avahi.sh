#!/bin/bash
# avahi.sh HOSTNAME FOLDER: an Avahi of its own, with a private bus and a private /run, on the network it is started in.
# Prints "ready PID" when it answers; ends both daemons when its standard input ends.
set -eu
name=$1 folder=$2
cat > "$folder/avahi.conf" <<C
[server]
host-name=$name
use-ipv4=yes
use-ipv6=no
allow-interfaces=eth0
enable-dbus=yes
disallow-other-stacks=no
[wide-area]
enable-wide-area=no
[publish]
publish-workstation=no
publish-hinfo=no
C
export name folder
exec unshare -m bash -c '
mount --make-rprivate /; mount -t tmpfs tmpfs /run; mkdir -p /run/dbus /run/avahi-daemon; chown avahi:avahi /run/avahi-daemon
dbus-daemon --system --nofork --nopidfile --address=unix:path=/run/dbus/system_bus_socket >"$folder/dbus.log" 2>&1 & bus=$!
until [ -S /run/dbus/system_bus_socket ]; do read -r -t 0.05 _ <> <(:) || :; kill -0 $bus; done
avahi-daemon -f "$folder/avahi.conf" --no-rlimits >"$folder/avahi.log" 2>&1 & avahi=$!
trap "kill $avahi $bus" EXIT
until [ -S /run/avahi-daemon/socket ]; do read -r -t 0.05 _ <> <(:) || :; kill -0 $avahi; done
echo "ready $avahi"
cat > /dev/null'
