#!/bin/bash
# main.sh: every trial of this machine's layout, one after the other, told as libtest tells its
# own. The file `filter` beside it has parts of names, one of which a trial's name must have.
cd "$(dirname "$0")" || exit
# shellcheck source=integration/vm/trials/lib.sh
. ./lib.sh
prepare

total=0 passed=0 ignored=0 failures=()
mapfile -t filter <filter

is_wanted() {
    [ ${#filter[@]} -gt 0 ] || return 0
    local part
    for part in "${filter[@]}"; do
        case $1 in *"$part"*) return 0 ;; esac
    done
    return 1
}

run() {
    local driver=$1 trial=$2 name log status
    name=vm::$LAYOUT::$driver::$trial
    is_wanted "$name" || return
    total=$((total + 1))
    log=/run/logs/$driver-$trial
    # Emulated seconds: a bound against hanging only.
    DRIVER=$driver timeout --kill-after=5 900 ./one.sh "$trial" >"$log" 2>&1
    status=$?
    sweep >/dev/null 2>&1
    case $status in
        0) passed=$((passed + 1)) && echo "test $name ... ok" ;;
        77) ignored=$((ignored + 1)) && echo "test [$(tail -n 1 "$log")] $name ... ignored" ;;
        *)
            failures+=("$name")
            echo "test $name ... FAILED"
            tail -n 25 "$log"
            ;;
    esac
}

started=$SECONDS
for file in subjects/*.sh; do
    # shellcheck source=/dev/null
    . "$file"
done
for entry in "${ENTRIES[@]}"; do
    read -r layouts drivers trial <<<"$entry"
    case ,$layouts, in *",$LAYOUT,"*) ;; *) continue ;; esac
    for driver in ${drivers//,/ }; do
        run "$driver" "$trial"
    done
done
[ ${#failures[@]} = 0 ] || printf '    %s\n' 'failures:' "${failures[@]}"
printf 'done: %d passed; %d failed; %d ignored; %d s\n' "$passed" "${#failures[@]}" "$ignored" $((SECONDS - started))
