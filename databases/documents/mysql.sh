#!/bin/bash
# Makes MySQL's data ready for a snapshot: holds a read lock and freezes its file systems, or dumps it.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail

readonly COMMAND='{{ command }}'
readonly EXECUTION='{{ executionId }}'
readonly EXECUTION_SECONDS='{{ executionTimeout }}'
readonly FREEZE_SECONDS='{{ freezeSeconds }}'
readonly PARAMETER_MODE='{{ mode }}'
readonly PARAMETER_PATHS=
readonly KIND=mysql PRODUCT=MySQL
readonly MODES='lock dump' DEFAULT_MODE=lock

source shared/hook.bash
source shared/settings.bash
source shared/state.bash
source shared/file_systems.bash
source shared/holder.bash
source shared/sql_server.bash

find_server_client() {
    find_client mysql
}

check_product() {
    [[ $1 != *MariaDB* ]] || refuse "$NOT_READY" "the server is MariaDB ($1); for it there is the document mariadb"
}

choose_lock() {
    LOCK='FLUSH TABLES WITH READ LOCK' UNLOCK='UNLOCK TABLES'
}

main
