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
manifest=$here/vmrlib/data/downloads.json
rounds=5         # times all mirrors of a file are tried
progress=65536   # bytes an attempt must bring to be worth another one at the same mirror
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
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || fail "needs Python 3.9 or newer, and found none"
export VMRLIB_DATA=$data PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}

# step NAME ARGUMENT ...: what a shell is not made for; -S, because it starts faster without what is installed
step() { "$python" -S -m vmrlib.data.download_steps "$1" "$manifest" "${@:2}"; }

size() { if [ -f "$1" ]; then wc -c <"$1" | tr -d ' '; else echo 0; fi; }

writer='' part='' waited='' answer=''
stop() {
    if [ -n "$writer" ]; then
        kill "$writer" 2>/dev/null || true
        mv -f "$part.$writer" "$part" 2>/dev/null || true
        rm -f "$part.status.$$"
    fi
    exit 130
}
trap stop INT TERM HUP

# transfer URL: go on with $part, and set $answer to the server's status. (curl's own --retry would start
# again at byte 0.)
# The file bears the process that writes it in its name while it grows, so that no two processes write to
# one file; that process ends with this script, however the script ends.
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
    bash -c 'mv -f "$0" "$0.$$" 2>/dev/null; : >>"$0.$$"; exec "$@" "$0.$$"' "$part" "${command[@]}" >"$part.status.$$" &
    writer=$!
    (while kill -0 $$; do sleep 1; done; kill "$writer") </dev/null >/dev/null 2>&1 &
    guard=$!
    wait "$writer" || code=$?
    kill "$guard" 2>/dev/null || true
    wait "$guard" 2>/dev/null || true
    mv -f "$part.$writer" "$part" 2>/dev/null || true
    writer=
    [ -s "$part" ] || rm -f "$part"
    answer=$(cat "$part.status.$$" 2>/dev/null) || true
    rm -f "$part.status.$$"
    if [ "$code" = 33 ]; then rm -f "$part"; fi # this server cannot resume
    if [ "$answer" = 416 ]; then code=0; fi     # it has nothing more to send
    return "$code"
}

# claim: take over what a run left that was killed; wait for one that is still at work
claim() {
    local own before quiet
    waited=
    rm -f "$part.status".*
    for own in "$part".[0-9]*; do
        before=-1 quiet=0
        while [ -f "$own" ] && kill -0 "${own##*.}" 2>/dev/null && [ "$quiet" -le "$((stall + 5))" ]; do
            if [ -z "$waited" ]; then echo "  another run is fetching it: waiting"; waited=yes; fi
            if [ "$(size "$own")" = "$before" ]; then quiet=$((quiet + 1)); else quiet=0; fi
            before=$(size "$own")
            sleep 1
        done
        if [ "$(size "$own")" -gt "$(size "$part")" ]; then mv -f "$own" "$part"; else rm -f "$own"; fi
    done
}

# settle PATH CHECKSUM: give a whole file its name if it is right; remove it if it is not
settle() {
    if [ -f "$part" ] && step keep "$part" "$data" "$1" "$2"; then return 0; fi
    rm -f "$part"
    return 1
}

# download PATH BYTES CHECKSUM URL ...: each mirror goes on where the one before stopped
download() {
    local path=$1 bytes=$2 checksum=$3 damaged=0 gone pause round url before finished
    shift 3
    claim
    # has the other run fetched it?
    if [ -n "$waited" ] && [ -f "$data/$path" ] && step keep "$data/$path" "$data" "$path" "$checksum"; then return 0; fi
    for ((round = 1; round <= rounds; round++)); do
        gone=0 pause=
        for url in "$@"; do
            if [ "$damaged" -gt $# ]; then return 1; fi     # every mirror has sent a wrong file, one of them twice
            if [ "$damaged" != 0 ]; then rm -f "$part"; fi # do not mix its bytes with another mirror's
            finished=
            while [ -z "$finished" ] && { [ "$bytes" = - ] || [ "$(size "$part")" -lt "$bytes" ]; }; do
                before=$(size "$part")
                if transfer "$url"; then
                    finished=yes
                elif [ $(($(size "$part") - before)) -lt "$progress" ]; then
                    break
                fi
            done
            if [ -n "$finished" ] || { [ "$bytes" != - ] && [ "$(size "$part")" -ge "$bytes" ]; }; then
                if settle "$path" "$checksum"; then return 0; fi
                echo "  $path: wrong checksum or contents from $url" >&2
                damaged=$((damaged + 1))
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
        if [ -n "$pause" ] && [ "$round" -lt "$rounds" ]; then sleep $((round < stall ? round : stall)); fi
    done
    return 1
}

# obtain PATH BYTES CHECKSUM URL ...
obtain() {
    part=$data/$1.part
    mkdir -p "$(dirname "$part")" || return
    if [ "$2" = - ]; then echo "$1 (size unknown)"; else echo "$1 ($2 bytes)"; fi
    download "$@"
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
