#!/usr/bin/env bash
# Dumps the databases of a MySQL server into one checked file per day. `--help` says how; docs/databases.md says why.
set -euo pipefail

readonly KIND=mysql
readonly PRODUCT=MySQL
SHARED="$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/shared"
readonly SHARED
# shellcheck source-path=SCRIPTDIR source=shared/backup.bash
source "$SHARED/backup.bash"

# Sets CLIENT and DUMP. MariaDB's packages bring programs of these names too, with other options.
find_clients() {
    CLIENT=$(first_program 'MySQL client' mysql)
    DUMP=$(first_program 'MySQL dump program' mysqldump)
    local program
    for program in "$CLIENT" "$DUMP"; do
        [[ $("$program" --version) != *MariaDB* ]] ||
            refuse "$program is MariaDB's;" \
                "allowed: MySQL's client programs (for a MariaDB server there is mariadb-backup.sh)"
    done
    # What it offers differs between 5.7, 8.0.0 and 8.0.26, and its own help says which it is.
    DUMP_HELP=$("$DUMP" --no-defaults --help)
}

check_product() {
    [[ $1 != *MariaDB* ]] ||
        fail "the server is MariaDB ($1); allowed: MySQL (for MariaDB there is mariadb-backup.sh); nothing was dumped"
}

# The position stands in the dump as a comment: whoever restores decides whether to use it.
add_position_options() {
    if [[ $DUMP_HELP == *--source-data* ]]; then
        DUMP_OPTIONS+=(--source-data=2)
    else
        DUMP_OPTIONS+=(--master-data=2)
    fi
}

add_product_options() {
    # Without a word mysqldump sets the GTIDs of the dump's server on the server that it is restored to, and warns on
    # every dump of some databases only.
    if [[ $DUMP_HELP == *COMMENTED* ]]; then
        DUMP_OPTIONS+=(--set-gtid-purged=COMMENTED)
    else
        DUMP_OPTIONS+=(--set-gtid-purged=OFF)
    fi
    # A client of 8.0 asks for histograms, which a server of 5.7 does not have.
    if [[ $DUMP_HELP == *--column-statistics* && $SERVER_VERSION == 5.* ]]; then
        DUMP_OPTIONS+=(--column-statistics=0)
    fi
}

scratch_server_program() {
    first_program 'MySQL server' mysqld
}

# create_scratch_data FOLDER OPTION…
create_scratch_data() {
    local folder=$1
    shift
    "$SCRATCH_SERVER" --no-defaults --initialize-insecure --datadir="$folder" "$@"
}

add_scratch_options() {
    # The X plugin, on by default from 8.0, would take a port and a socket of its own.
    SCRATCH_OPTIONS+=(--loose-mysqlx=OFF)
}

main "$@"
