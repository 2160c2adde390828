#!/bin/sh
# createRuntime: gives the container a network of two: a veth pair with an end
# here and one, eth0, in the container's network namespace.
#
#   network.sh OUTSIDE/BITS INSIDE/BITS      the addresses of the two ends
#
# Reads the state on standard input. Nothing has to be undone after the
# container's end: with its network namespace goes the pair.
set -eu
outside=$1 inside=$2
# The first "pid" of the document: annotations, which may say anything, come later.
state=$(cat)
pid=$(printf '%s' "$state" | tr ',{}' '\n\n\n' | sed -n 's/^ *"pid": *\([0-9][0-9]*\) *$/\1/p' | head -n 1)
[ -n "$pid" ] || { echo "network: the state has no pid" >&2; exit 1; }
# An interface's name has at most 15 letters.
name=rich$pid

within() { nsenter --target "$pid" --net -- "$@"; }

ip link add "$name" type veth peer name eth0 netns "$pid"
ip address add "$outside" dev "$name"
ip link set "$name" up
within ip link set lo up
within ip address add "$inside" dev eth0
within ip link set eth0 up
within ip route add default via "${outside%/*}"
echo "$name $outside - eth0 $inside"
