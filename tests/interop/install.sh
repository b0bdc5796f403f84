# For `run` and `execution/run`: what foreign programs need, installed once into LAPIS_INTEROP_CACHE (by default
# ~/.cache/lapis-interop), in the versions that lock files pin. To be sourced by bash.

readonly CACHE="${LAPIS_INTEROP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lapis-interop}"
readonly PYTHON="${LAPIS_INTEROP_PYTHON:-python3}"
mkdir -p "$CACHE"

missing() {
    printf 'interop: %s\n' "$1" >&2
    exit 2
}

# need_tools TOOL...: each must be there.
need_tools() {
    local tool
    for tool in "$@" timeout sha256sum; do
        command -v "$tool" >/dev/null || missing "$tool is not installed"
    done
}

need_node() {
    need_tools node npm
    node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || missing "node is older than 20"
}

# key VERSION FILE...: changes with the version of what makes use of the files, with the machine, and with the files.
key() {
    local version="$1"
    shift
    { printf '%s\n' "$version" && uname -sm && cat "$@"; } | sha256sum | cut -c 1-16
}

# install NAME KEY SECONDS COMMAND...: runs the command in a new folder, unless that was done before. Gives the folder.
#
# It is complete when it has its final name, so that a run that is cut off leaves nothing half done behind.
install() {
    local folder="$CACHE/$1-$2" limit="$3" staging status=0
    shift 3
    if [[ ! -d "$folder" ]]; then
        staging="$(mktemp -d "$folder.XXXXXX")"
        (cd "$staging" && timeout --kill-after=10s "$limit" "$@") >"$staging/install.log" 2>&1 || status="$?"
        if ((status != 0)); then
            tail -n 20 "$staging/install.log" >&2
            rm -rf "$staging"
            ((status != 124)) || missing "what $(basename "$folder") needs is not installed after $limit s"
            missing "cannot install what $(basename "$folder") needs: exit code $status"
        fi
        # Somebody else may have been faster.
        mv -T "$staging" "$folder" 2>/dev/null || rm -rf "$staging"
    fi
    printf '%s\n' "$folder"
}

# install_packages FOLDER: what the lock file in FOLDER pins, into the current one. Called by name, as a command.
install_packages() {
    cp "$1/package.json" "$1/package-lock.json" "$1/.npmrc" .
    npm ci --no-progress
}
export -f install_packages

# chosen_binary ARGUMENT...: the first argument if it is no option, else LAPIS_BIN. Sets `binary` and `options`.
chosen_binary() {
    if [[ $# -gt 0 && "$1" != --* ]]; then
        binary="$1"
        shift
    else
        binary="${LAPIS_BIN:-}"
    fi
    options=("$@")
    [[ -n "$binary" ]] || missing "which binary? $0 BINARY, or LAPIS_BIN"
    [[ -x "$binary" ]] || missing "$binary is not a program"
}

# run_limited SECONDS COMMAND...: ends the command when this script ends.
#
# In the background, since bash puts off signals while it waits for the foreground.
run_limited() {
    local limit="$1" running
    shift
    timeout --kill-after=15s "$limit" env --default-signal=INT,QUIT "$@" &
    running="$!"
    # shellcheck disable=SC2064 # what runs now is meant
    trap "kill -TERM $running 2>/dev/null || true; wait $running || true; clean_up" EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    wait "$running"
}
