#!/bin/sh
# prestart: refuses to start a container for which something is missing.
#
#   check.sh REQUIREMENT...
#
#   file:PATH       a file that can be read; a relative path is one of the bundle's
#   program:NAME    a program in PATH
#   memory:MIB      so much memory is available (MemAvailable, proc_meminfo(5))
#
# Says all that is missing, not only the first.
set -u
missing=0

lacks() { echo "check: $*" >&2; missing=1; }

for requirement in "$@"; do
    what=${requirement#*:}
    case $requirement in
    file:*) [ -r "$what" ] || lacks "$what: no such file" ;;
    program:*) command -v "$what" >/dev/null || lacks "$what: no such program" ;;
    memory:*)
        available=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB$/\1/p' /proc/meminfo)
        [ "${available:-0}" -ge $((what * 1024)) ] || lacks "$what MiB of memory are needed, ${available:-0} KiB are there"
        ;;
    *) lacks "$requirement: no such requirement" ;;
    esac
done
exit $missing
