#!/bin/bash
# Makes MariaDB's data ready for a snapshot: holds its commits and freezes its file systems, or dumps it.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail

readonly COMMAND='{{ command }}'
readonly EXECUTION='{{ executionId }}'
readonly EXECUTION_SECONDS='{{ executionTimeout }}'
readonly FREEZE_SECONDS='{{ freezeSeconds }}'
readonly PARAMETER_MODE='{{ mode }}'
readonly PARAMETER_PATHS=
readonly KIND=mariadb PRODUCT=MariaDB
readonly MODES='lock dump' DEFAULT_MODE=lock

source shared/hook.bash
source shared/settings.bash
source shared/state.bash
source shared/file_systems.bash
source shared/holder.bash
source shared/sql_server.bash

# Before 10.4 MariaDB's client had MySQL's name only.
find_server_client() {
    find_client mariadb mysql
}

check_product() {
    [[ $1 == *MariaDB* ]] || refuse "$NOT_READY" "the server is not MariaDB ($1); for MySQL there is the document mysql"
}

# From 10.4.1 on only commits and what changes tables wait, and what runs is not in the way.
choose_lock() {
    local number
    IFS=.- read -r -a number <<<"$VERSION"
    if ((number[0] * 1000000 + number[1] * 1000 + number[2] >= 10004001)); then
        LOCK='BACKUP STAGE START; BACKUP STAGE BLOCK_COMMIT' UNLOCK='BACKUP STAGE END'
    else
        LOCK='FLUSH TABLES WITH READ LOCK' UNLOCK='UNLOCK TABLES'
    fi
}

main
