#!/usr/bin/env bash
# Fetches the real data that the course can use; everything else runs without it.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: bash data_download.sh [OPTION] TARGET ...

  bash data_download.sh --list               what there is, how large, under which licence
  bash data_download.sh clips                fetch a target; run it again to go on where it stopped
  bash data_download.sh --dry-run clips      say what would be fetched; write nothing
  bash data_download.sh --verify [TARGET]    compare what is there with its checksums

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

files() { "$python" "$here/vmrlib/data/downloads.py" "$1" "$manifest" "${@:2}"; }

size() { if [ -f "$1" ]; then wc -c <"$1" | tr -d ' '; else echo 0; fi; }

# transfer URL PART: go on with a partial file. curl's own --retry would start again at byte 0.
transfer() {
    if command -v curl >/dev/null; then
        local show=-sS
        if [ -t 2 ]; then show=--progress-bar; fi
        curl -fgL "$show" -C - --connect-timeout "$stall" --speed-limit 1000 --speed-time "$stall" -o "$2" "$1" && return
        local code=$?
        if [ "$code" = 33 ]; then rm -f "$2"; fi # this server cannot resume
        return "$code"
    fi
    files fetch "$1" "$2" "$stall"
}

# settle PART PATH CHECKSUM: give a whole file its name if it is right; remove it if it is not
settle() {
    if files check "$1" "$3"; then
        mv -f "$1" "$data/$2"
    else
        rm -f "$1"
        return 1
    fi
}

# download PATH BYTES CHECKSUM URL ...: each mirror goes on where the one before stopped
download() {
    local path=$1 bytes=$2 checksum=$3 part="$data/$1.part" damaged='' round url before finished
    shift 3
    for ((round = 1; round <= rounds; round++)); do
        for url in "$@"; do
            if [ -n "$damaged" ]; then rm -f "$part"; fi # do not mix its bytes with another mirror's
            finished=
            while [ "$(size "$part")" -lt "$bytes" ] && [ -z "$finished" ]; do
                before=$(size "$part")
                if transfer "$url" "$part"; then
                    finished=yes
                elif [ $(($(size "$part") - before)) -lt "$progress" ]; then
                    break
                fi
            done
            if [ -n "$finished" ] || [ "$(size "$part")" -ge "$bytes" ]; then
                if settle "$part" "$path" "$checksum"; then return 0; fi
                echo "  $path: wrong checksum from $url" >&2
                damaged=yes
            fi
        done
        if [ "$round" -lt "$rounds" ]; then sleep $((round < stall ? round : stall)); fi
    done
    return 1
}

# copy PATH CHECKSUM: the same from the local mirror
copy() {
    local part="$data/$1.part"
    cp -f "$mirror/$1" "$part" && chmod u+w "$part" || return
    settle "$part" "$1" "$2" || { echo "  $1: wrong checksum in $mirror" >&2; return 1; }
}

# obtain PATH BYTES CHECKSUM URL ...
obtain() {
    mkdir -p "$(dirname "$data/$1")" || return
    echo "$1 ($2 bytes)"
    if [ -n "$mirror" ]; then copy "$1" "$3"; else download "$@"; fi
}

if [ "$action" = list ]; then
    files list
    exit
fi
if [ "$action" = verify ] && [ ${#targets[@]} = 0 ]; then
    read -r -a targets <<<"$(files started "$data")"
    [ ${#targets[@]} -gt 0 ] || { echo "nothing has been downloaded to $data"; exit 0; }
fi
[ ${#targets[@]} -gt 0 ] || { usage >&2; exit 2; }
if [ -n "$mirror" ] && [ ! -d "$mirror" ]; then fail "VMRLIB_MIRROR is $mirror, which is no folder"; fi

plan=$(files plan "$data" "${targets[@]}") || exit 2
if [ "$action" != verify ]; then files notice "${targets[@]}"; fi

total=0 right=0 failed=0
while IFS=$tab read -r -u 3 state path bytes checksum urls; do
    IFS=$tab read -r -a sources <<<"$urls"
    total=$((total + 1))
    if [ "$state" = right ]; then
        right=$((right + 1))
    elif [ "$action" = verify ]; then
        echo "$state: $path" >&2
        failed=$((failed + 1))
    elif [ -n "$mirror" ] && [ ! -f "$mirror/$path" ]; then
        echo "not in the mirror: $path" >&2
        failed=$((failed + 1))
    elif [ "$action" = dry-run ]; then
        if [ -n "$mirror" ]; then sources=("$mirror/$path"); fi
        printf 'would fetch %s (%s bytes) from %s\n' "$path" "$bytes" "${sources[0]}"
        if [ ${#sources[@]} -gt 1 ]; then printf '    or from %s\n' "${sources[@]:1}"; fi
    elif obtain "$path" "$bytes" "$checksum" "${sources[@]}"; then
        right=$((right + 1))
    else
        echo "could not be fetched: $path" >&2
        failed=$((failed + 1))
    fi
done 3<<<"$plan"

echo "${targets[*]}: $right of $total files are right in $data"
[ "$failed" = 0 ]
