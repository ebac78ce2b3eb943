#!/bin/bash
# Freezes file systems for a snapshot.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail

readonly COMMAND='{{ command }}'
readonly EXECUTION='{{ executionId }}'
readonly EXECUTION_SECONDS='{{ executionTimeout }}'
readonly FREEZE_SECONDS='{{ freezeSeconds }}'
readonly PARAMETER_MODE=
readonly PARAMETER_PATHS='{{ paths }}'
readonly KIND=filesystem
readonly MODES='freeze' DEFAULT_MODE=freeze

source shared/hook.bash
source shared/settings.bash
source shared/state.bash
source shared/file_systems.bash
source shared/holder.bash

check_ready() {
    local paths path
    read -r -a paths <<<"${PATHS//,/ }"
    ((${#paths[@]})) ||
        refuse "$NOT_READY" "no paths are named; allowed: HOOK_PATHS in $CONFIG, with the folders whose file systems" \
            'are frozen, separated by commas'
    for path in "${paths[@]}"; do
        [[ $path == /* ]] || refuse "$NOT_READY" "paths: $path; allowed: paths that begin with /"
    done
    find_file_systems paths "${paths[@]}"
}

describe() {
    describe_file_systems freezes
}

make_ready() {
    write_out
}

main
