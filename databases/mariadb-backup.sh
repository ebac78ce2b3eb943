#!/usr/bin/env bash
# Dumps the databases of a MariaDB server into one checked file per day. `--help` says how; docs/databases.md says why.
set -euo pipefail

readonly KIND=mariadb
readonly PRODUCT=MariaDB
SHARED="$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/shared"
readonly SHARED
# shellcheck source-path=SCRIPTDIR source=shared/backup.bash
source "$SHARED/backup.bash"

# Sets CLIENT and DUMP. Before 10.4 MariaDB's programs had MySQL's names only.
find_clients() {
    CLIENT=$(first_program 'MariaDB client' mariadb mysql)
    DUMP=$(first_program 'MariaDB dump program' mariadb-dump mysqldump)
    local program
    for program in "$CLIENT" "$DUMP"; do
        [[ $("$program" --version) == *MariaDB* ]] ||
            refuse "$program is not MariaDB's;" \
                "allowed: MariaDB's client programs (for a MySQL server there is mysql-backup.sh)"
    done
}

check_product() {
    [[ $1 == *MariaDB* ]] ||
        fail "the server is not MariaDB ($1); allowed: MariaDB (for MySQL there is mysql-backup.sh); nothing was dumped"
}

# The position stands in the dump as a comment: whoever restores decides whether to use it.
add_position_options() {
    DUMP_OPTIONS+=(--master-data=2)
}

add_product_options() {
    :
}

scratch_server_program() {
    first_program 'MariaDB server' mariadbd mysqld
}

# create_scratch_data FOLDER OPTION…
create_scratch_data() {
    local folder=$1
    shift
    local install
    install=$(first_program 'program that makes a data folder' mariadb-install-db mysql_install_db)
    "$install" --no-defaults --datadir="$folder" --auth-root-authentication-method=normal --skip-test-db "$@"
}

add_scratch_options() {
    :
}

main "$@"
