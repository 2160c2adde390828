#!/bin/bash
# one.sh TRIAL: one trial, under the driver DRIVER. Its trace is what is looked at when it fails.
cd "$(dirname "$0")" || exit
# shellcheck source=integration/vm/trials/lib.sh
. ./lib.sh
for file in subjects/*.sh; do
    # shellcheck source=/dev/null
    . "$file"
done
# shellcheck disable=SC2034
NAME=${DRIVER:0:1}-${1//_/-}
exec 9>&1
BASH_XTRACEFD=9
set -euxo pipefail
"$1"
no_more
