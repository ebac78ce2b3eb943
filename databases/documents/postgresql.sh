#!/bin/bash
# Makes PostgreSQL's data ready for a snapshot: a checkpoint, and then its file systems are frozen.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail

readonly COMMAND='{{ command }}'
readonly EXECUTION='{{ executionId }}'
readonly EXECUTION_SECONDS='{{ executionTimeout }}'
readonly FREEZE_SECONDS='{{ freezeSeconds }}'
readonly PARAMETER_MODE=
readonly PARAMETER_PATHS=
readonly KIND=postgresql
readonly MODES='freeze' DEFAULT_MODE=freeze

source shared/hook.bash
source shared/settings.bash
source shared/state.bash
source shared/file_systems.bash
source shared/holder.bash

# query SQL asks as the user of the operating system that owns the server, who needs no password on its socket.
query() {
    local user=${HOOK_POSTGRES_USER:-postgres} options=()
    if [[ ${HOOK_POSTGRES_HOST-} ]]; then
        options+=("--host=$HOOK_POSTGRES_HOST")
    fi
    if [[ ${HOOK_POSTGRES_PORT-} ]]; then
        options+=("--port=$HOOK_POSTGRES_PORT")
    fi
    timeout --kill-after=1 "$((EXECUTION_SECONDS - 4))" runuser --user "$user" -- psql --no-psqlrc --no-password \
        --quiet --tuples-only --no-align --dbname=postgres "${options[@]}" --command="$1" </dev/null
}

check_ready() {
    local program path
    for program in psql runuser; do
        first_program "$program" >/dev/null || refuse "$NOT_READY" "the program $program is not installed"
    done
    DATA=$(cd / && query 'SHOW data_directory' 2>&1) ||
        refuse "$NOT_READY" "the PostgreSQL server does not answer: ${DATA//$'\n'/ }"
    [[ -f $DATA/PG_VERSION && -f $DATA/postmaster.pid ]] ||
        refuse "$NOT_READY" "the server's data folder \"$DATA\" is not that of a server on this instance"
    DATA_PATHS=("$DATA")
    for path in "$DATA"/pg_wal "$DATA"/pg_tblspc/*; do
        if [[ -L $path ]]; then
            DATA_PATHS+=("$(readlink --canonicalize -- "$path")")
        fi
    done
    find_file_systems PostgreSQL "${DATA_PATHS[@]}"
}

describe() {
    say "PostgreSQL in $DATA: CHECKPOINT"
    describe_file_systems freezes
}

# What the checkpoint has written needs no recovery, so that the copy starts quickly.
make_ready() {
    local words
    words=$(cd / && query CHECKPOINT 2>&1) || {
        REASON="CHECKPOINT failed: ${words//$'\n'/ }"
        return 1
    }
    write_out
}

main
