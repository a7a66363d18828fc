#!/usr/bin/env bash
# Fetches the real data that the course can use; everything else runs without it.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: bash data_download.sh [OPTION] TARGET ...

  bash data_download.sh --list                 what there is, how large, under which licence
  bash data_download.sh tacos                  fetch a target; run it again to go on where it stopped
  bash data_download.sh tacos-features/c3d     one kind of a target
  bash data_download.sh all-annotations        a group of targets
  bash data_download.sh --dry-run tacos        say what would be fetched; write nothing
  bash data_download.sh --verify [TARGET ...]  check what is there, or should be

Some files are behind a login or a form: the script says what to fetch and where to put it, and checks it
when it is there. The exit code is 0 when all files of the targets are right, 1 when one is not, 2 for a
mistake in the call.

  --manifest FILE        another list of files, written like vmrlib/data/downloads.json

  VMRLIB_DATA            folder to fill (default: data/ beside this script)
  VMRLIB_MIRROR          folder with copies of the files, used instead of the network
  VMRLIB_STALL_SECONDS   give up a silent connection after this long (default: 30)
TEXT
}

fail() { echo "data_download.sh: $*" >&2; exit 2; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
data=${VMRLIB_DATA:-$here/data}
mirror=${VMRLIB_MIRROR:-}
stall=${VMRLIB_STALL_SECONDS:-30}
case $stall in '' | *[!0-9]* | 0*) fail "VMRLIB_STALL_SECONDS is $stall, wanted whole seconds" ;; esac
manifest=$here/vmrlib/data/downloads.json
rounds=5         # times all mirrors of a file are tried in vain
progress=65536   # bytes an attempt must bring to be worth another one at the same mirror
least=1000       # bytes that all mirrors together must bring, or the round was in vain
tab=$'\t'

action=fetch
targets=()
while [ $# -gt 0 ]; do
    case $1 in
        --list | --verify | --dry-run) action=${1#--} ;;
        --manifest) [ $# -gt 1 ] || fail "--manifest needs a file"; manifest=$2; shift ;;
        -h | --help) usage; exit 0 ;;
        -*) fail "unknown option $1 (--help lists them)" ;;
        *) targets+=("$1") ;;
    esac
    shift
done

python=
for candidate in "$here/.venv/bin/python" "$here/.venv/Scripts/python" python3 python; do
    if "$candidate" -S -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || fail "needs Python 3.9 or newer, and found none"
export VMRLIB_DATA=$data PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}

# step NAME ARGUMENT ...: what a shell is not made for; -S, because it starts faster without what is installed
step() { "$python" -S -m vmrlib.data.download_steps "$1" "$manifest" "${@:2}"; }

size() { if [ -f "$1" ]; then wc -c <"$1" | tr -d ' '; else echo 0; fi; }

writer='' part='' answer=''
stop() {
    if [ -n "$writer" ]; then
        kill "$writer" 2>/dev/null || true
        mv -f "$part.$writer" "$part" 2>/dev/null || true
        rm -f "$part.status"
    fi
    if [ "$(cat "$part.lock" 2>/dev/null)" = $$ ]; then rm -f "$part.lock"; fi
    exit 130
}
trap stop INT TERM HUP

# transfer URL: go on with $part, and set $answer to the server's status. (curl's own --retry would start
# again at byte 0.)
# The file bears the process that writes it in its name while it grows, so that no two processes write to
# one file; that process ends with this script, however the script ends, and when it brings far too much.
transfer() {
    local code=0 guard command
    if command -v curl >/dev/null; then
        local show=-sS
        if [ -t 2 ]; then show=--progress-bar; fi
        command=(curl -fgL "$show" -C - -w '%{http_code}' --connect-timeout "$stall"
            --speed-limit 1000 --speed-time "$stall" "$1" -o)
    else
        command=("$python" -S -m vmrlib.data.transfer "$1" "$stall")
    fi
    # shellcheck disable=SC2016
    bash -c 'mv -f "$0" "$0.$$" 2>/dev/null; : >>"$0.$$"; exec "$@" "$0.$$"' "$part" "${command[@]}" >"$part.status" &
    writer=$!
    (while kill -0 $$ && ! longer "$part.$writer" 65536; do sleep 1; done; kill "$writer") </dev/null >/dev/null 2>&1 &
    guard=$!
    wait "$writer" 2>/dev/null || code=$?
    kill "$guard" 2>/dev/null || true
    wait "$guard" 2>/dev/null || true
    mv -f "$part.$writer" "$part" 2>/dev/null || true
    writer=
    [ -s "$part" ] || rm -f "$part"
    answer=$(cat "$part.status" 2>/dev/null) || true
    rm -f "$part.status"
    if [ "$code" = 33 ]; then rm -f "$part"; fi # this server cannot resume
    if [ "$answer" = 416 ]; then code=0; fi     # it has nothing more to send
    return "$code"
}

# longer FILE MORE: is it longer than the $bytes that are known, by more than so many?
longer() { [ "$bytes" != - ] && [ "$(size "$1")" -gt $((bytes + $2)) ]; }

# claim: only one run at a time fetches a file; take over what a run left that was killed
claim() {
    local owner left tries=0
    until (set -C; echo $$ >"$part.lock") 2>/dev/null; do
        owner=$(cat "$part.lock" 2>/dev/null) || true
        if kill -0 "$owner" 2>/dev/null; then
            [ -n "$waited" ] || echo "  another run is fetching it (process $owner; is it none? delete $part.lock): waiting"
            waited=yes
            sleep 1
        elif ! rm -f "$part.lock" || [ $((tries += 1)) -gt 5 ]; then
            echo "  $part.lock: cannot be written" >&2
            return 1
        fi
    done
    for left in "$part".[0-9]*; do
        for ((tries = 0; tries < 5; tries++)); do # the transfer of a run that was killed ends within a second
            kill -0 "${left##*.}" 2>/dev/null || break
            sleep 1
        done
        if [ "$(size "$left")" -gt "$(size "$part")" ]; then mv -f "$left" "$part"; else rm -f "$left"; fi
    done
}

# download PATH BYTES CHECKSUM URL ...: each mirror goes on where the one before stopped
download() {
    local path=$1 bytes=$2 checksum=$3 damaged=0 round=1 best gone pause url before finished code
    shift 3
    best=$(size "$part")
    while [ "$round" -le "$rounds" ]; do
        gone=0 pause=
        for url in "$@"; do
            if [ "$damaged" -gt $# ]; then return 1; fi     # every mirror has sent a wrong file, one of them twice
            if [ "$damaged" != 0 ]; then rm -f "$part"; fi # do not mix its bytes with another mirror's
            finished=
            until [ -n "$finished" ] || longer "$part" -1; do
                before=$(size "$part")
                if ! transfer "$url"; then
                    if [ $(($(size "$part") - before)) -lt "$progress" ]; then break; fi
                elif [ "$bytes" = - ] || [ "$answer" = 416 ]; then
                    finished=yes
                elif [ "$(size "$part")" -le "$before" ]; then # an end too early, and not for the first time
                    echo "  $path: not all of it comes from $url" >&2
                    if [ "$answer" = 200 ]; then rm -f "$part"; fi # another file, which is shorter
                    break
                fi
            done
            if [ -f "$part" ] && { [ -n "$finished" ] || longer "$part" -1; }; then
                code=0
                step keep "$part" "$data" "$path" "$bytes" "$checksum" || code=$?
                if [ "$code" = 0 ]; then return 0; fi
                if [ "$code" = 3 ]; then return 1; fi # it is right, but it cannot get its name
                rm -f "$part"
                echo "  $path: wrong checksum or contents from $url" >&2
                damaged=$((damaged + 1)) best=0
            elif [ "$answer" = 404 ] || [ "$answer" = 410 ]; then
                gone=$((gone + 1))
            else
                pause=yes
            fi
        done
        if [ "$gone" = $# ]; then
            echo "  $path: nobody has it any more" >&2
            return 1
        fi
        if [ "$(size "$part")" -ge $((best + least)) ]; then
            best=$(size "$part")
            continue
        fi
        if [ -n "$pause" ] && [ "$round" -lt "$rounds" ]; then sleep $((round < stall ? round : stall)); fi
        round=$((round + 1))
    done
    return 1
}

# obtain PATH BYTES CHECKSUM URL ...
obtain() {
    local waited='' code=0
    part=$data/$1.part
    mkdir -p "$(dirname "$part")" || return
    if [ "$2" = - ]; then echo "$1 (size unknown)"; else echo "$1 ($2 bytes)"; fi
    claim || return
    # has the other run fetched it?
    if [ -z "$waited" ] || [ ! -f "$data/$1" ] || ! step keep "$data/$1" "$data" "$1" "$2" "$3"; then
        download "$@" || code=$?
    fi
    rm -f "$part.lock"
    return "$code"
}

if [ "$action" = list ]; then
    step list
    exit
fi
if [ "$action" != verify ] && [ ${#targets[@]} = 0 ]; then usage >&2; exit 2; fi
if [ -n "$mirror" ] && [ ! -d "$mirror" ]; then fail "VMRLIB_MIRROR is $mirror, which is no folder"; fi

plan=$(step begin "$action" "$data" "$mirror" ${targets[@]+"${targets[@]}"}) || exit
if [ -z "$plan" ]; then echo "nothing has been downloaded to $data"; exit 0; fi

total=0 right=0 failed=0
wrong() { echo "$*" >&2; failed=$((failed + 1)); }
while IFS=$tab read -r -u 3 state path bytes checksum source urls; do
    if [ "$state" = say ]; then echo "$path"; continue; fi
    IFS=$tab read -r -a sources <<<"$urls"
    if [ -n "$mirror" ]; then sources=("$mirror/$source"); fi
    total=$((total + 1))
    if [ "$state" = right ]; then
        right=$((right + 1))
    elif [ -z "$urls" ]; then
        wrong "$state, to be fetched by hand: $path"
    elif [ "$action" = verify ]; then
        wrong "$state: $path"
    elif [ -n "$mirror" ] && [ ! -f "${sources[0]}" ]; then
        wrong "not in the mirror: $path"
    elif [ "$action" = dry-run ]; then
        if [ "$bytes" = - ]; then bytes=unknown; fi
        printf 'would fetch %s (%s bytes) from %s\n' "$path" "$bytes" "${sources[0]}"
        if [ ${#sources[@]} -gt 1 ]; then printf '    or from %s\n' "${sources[@]:1}"; fi
    elif [ -z "$mirror" ] && obtain "$path" "$bytes" "$checksum" "${sources[@]}"; then
        right=$((right + 1))
    else
        wrong "could not be fetched: $path"
    fi
done 3<<<"$plan"

see=
if ! "$python" -m vmrlib.data.download_steps end "$manifest" "$action" "$data" "$failed" ${targets[@]+"${targets[@]}"}; then
    failed=$((failed + 1)) see='; but see above'
fi
echo "${targets[*]-everything there}: $right of $total files are right in $data$see"
[ "$failed" = 0 ]
