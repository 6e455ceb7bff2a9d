# Runs the checks $1 in the root of PID 1 and prints a line for each: "ok NAME" or "not ok NAME", and what was seen.
export PATH=/test/bin
mote() { /init "$@"; }

# row POD/CONTAINER: its line of `mote ps`. States of two words count as one.
row() { mote ps | sed 's/ (\([a-z]*\) \([0-9]*\))/(\1-\2)/' | awk -v pod="${1%/*}" -v name="${1#*/}" '$1 == pod && $2 == name'; }
# column POD/CONTAINER N: one field of it.
column() { row "$1" | awk -v n="$2" '{ print $n }'; }
pid() { column "$1" 4; }
state() { column "$1" 3; }

# until SECONDS COMMAND...: waits for it to succeed.
wait_for() {
    local tries=$(($1 * 10))
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.1
    done
}
is() { [ "$(state "$1")" = "$2" ]; }

# check NAME COMMAND...: what it prints is shown when it fails.
check() {
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then
        echo "ok $name"
    else
        echo "not ok $name: $output"
        mote ps
    fi
}
fail() {
    echo "$*"
    return 1
}

exec >/dev/console 2>&1 </dev/null
. /test/$1/checks.sh
