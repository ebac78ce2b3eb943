# What is asked of the server before a dump: that it answers, what it is, and which databases and tables it has.
# shellcheck shell=bash

one_line() {
    tr '\n' ' ' <"$1" | sed 's/[. ]*$//'
}

# query FILE SQL writes the answer's rows to FILE, with tabs between the columns. The client gets no terminal, on which
# it would ask for a password.
query() {
    local file=$1 sql=$2
    # shellcheck disable=SC2317,SC2329 # Called by its name.
    ask() {
        setsid --wait "$CLIENT" "${CONNECTION[@]}" --connect-timeout=20 --default-character-set=utf8mb4 \
            --batch --skip-column-names --execute="$sql" </dev/null >"$file" 2>"$WORK/query.err"
    }
    attended ask
}

# server_failed FILE WHAT: FILE holds what the client wrote on stderr.
server_failed() {
    local words meaning
    words=$(one_line "$1")
    case $words in
        *1045* | *1698* | *'Access denied for user'*'using password'*)
            meaning="it refuses this user or this password: $OPTION_FILE_WORDS"
            ;;
        *1044* | *1142* | *1143* | *1227* | *1370* | *'ccess denied'*)
            meaning='the user lacks a privilege; docs/databases.md has the list'
            ;;
        *2002* | *2003* | *2005* | *2006* | *2013* | *1053*)
            meaning='it is down, went away, or is not where the option file says'
            ;;
        *1412*) meaning='a table was altered meanwhile; dump again when that is done' ;;
        *) meaning='see its words' ;;
    esac
    fail "$2: $meaning. It says: $words. $UNTOUCHED"
}

# Sets SERVER_VERSION, SERVER_HOST, SERVER_PORT, HAS_BINLOG, LOWER_CASE_TABLE_NAMES and PAGE_SIZE.
look_at_server() {
    local name value comment=
    connection_options
    query "$WORK/variables" "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'version_comment', 'hostname',
        'port', 'log_bin', 'lower_case_table_names', 'innodb_page_size')" ||
        server_failed "$WORK/query.err" "the $PRODUCT server does not answer"
    SERVER_VERSION='' SERVER_HOST='' SERVER_PORT=0 HAS_BINLOG=OFF LOWER_CASE_TABLE_NAMES=0 PAGE_SIZE=16384
    while IFS=$'\t' read -r name value; do
        case $name in
            version) SERVER_VERSION=$value ;;
            version_comment) comment=$value ;;
            hostname) SERVER_HOST=$value ;;
            port) SERVER_PORT=$value ;;
            log_bin) HAS_BINLOG=$value ;;
            lower_case_table_names) LOWER_CASE_TABLE_NAMES=$value ;;
            innodb_page_size) PAGE_SIZE=$value ;;
        esac
    done <"$WORK/variables"
    [[ $SERVER_VERSION ]] || fail 'the server names no version; nothing was dumped'
    check_product "$SERVER_VERSION $comment"
}

# Sets DATABASES, DATA_BYTES and NON_TRANSACTIONAL, and writes the tables that the dump must have to $WORK/tables.
look_at_tables() {
    local name existing=()
    query "$WORK/databases" 'SHOW DATABASES' || server_failed "$WORK/query.err" 'the databases cannot be listed'
    while IFS= read -r name; do
        case $name in
            # The server makes these itself, and no dump has them.
            information_schema | performance_schema | sys) ;;
            *) existing+=("$name") ;;
        esac
    done <"$WORK/databases"
    printf '%s\n' "${existing[@]}" >"$WORK/existing"
    if [[ $DB_BACKUP_DATABASES == all ]]; then
        DATABASES=("${existing[@]}")
        # Who may see all databases sees this one, which every server has.
        grep --quiet --line-regexp mysql "$WORK/databases" ||
            fail "the user does not see all databases (only: ${DATABASES[*]:-none}): privileges on *.* are missing;" \
                'allowed: grant them (docs/databases.md), or name databases in DB_BACKUP_DATABASES; nothing was dumped'
    else
        read -r -a DATABASES <<<"${DB_BACKUP_DATABASES//,/ }"
        ((${#DATABASES[@]})) ||
            fail "DB_BACKUP_DATABASES names no database; allowed: all, or some of: ${existing[*]}; nothing was dumped"
        for name in "${DATABASES[@]}"; do
            if [[ $name == -* ]] || ! grep --quiet --line-regexp --fixed-strings -e "$name" "$WORK/existing"; then
                fail "DB_BACKUP_DATABASES: the user sees no database \"$name\" to dump;" \
                    "allowed: all, or some of: ${existing[*]}; nothing was dumped"
            fi
        done
    fi
    printf '%s\n' "${DATABASES[@]}" >"$WORK/databases"
    look_at_trigger_privilege

    query "$WORK/all-tables" "SELECT t.table_schema, t.table_name, IF(e.transactions = 'YES', 'yes', 'no'),
        COALESCE(t.data_length, 0) FROM information_schema.tables t
        LEFT JOIN information_schema.engines e ON e.engine = t.engine
        WHERE t.table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')" ||
        server_failed "$WORK/query.err" 'the tables cannot be listed'
    awk -F '\t' 'NR == FNR {wanted[$0]; next} $1 in wanted' "$WORK/databases" "$WORK/all-tables" >"$WORK/tables"
    DATA_BYTES=$(awk -F '\t' '{bytes += $4} END {printf "%.0f", bytes}' "$WORK/tables")
    # The server's own tables hold accounts and time zones, which nobody writes all the time.
    mapfile -t NON_TRANSACTIONAL < <(awk -F '\t' '$1 != "mysql" && $3 == "no" {print $1 "." $2}' "$WORK/tables" | sort)
}

databases_without_triggers() {
    awk -F '\t' 'NR == FNR {granted[$1, $2]; next}
        $1 != "mysql" && (("*", "SELECT") in granted || ($1, "SELECT") in granted) &&
            !(("*", "TRIGGER") in granted || ($1, "TRIGGER") in granted) {print $1}' \
        "$WORK/privileges" "$WORK/databases"
}

# Where SELECT is granted and TRIGGER is not, the dump program leaves triggers out without a word.
look_at_trigger_privilege() {
    local grantee databases
    grantee="CONCAT('\'', REPLACE(CURRENT_USER(), '@', '\'@\''), '\'')"
    query "$WORK/privileges" "SELECT '*', privilege_type FROM information_schema.user_privileges
        WHERE grantee = $grantee UNION ALL
        SELECT table_schema, privilege_type FROM information_schema.schema_privileges WHERE grantee = $grantee" ||
        server_failed "$WORK/query.err" 'the privileges cannot be listed'
    databases=$(databases_without_triggers)
    [[ ! $databases ]] ||
        fail "the user lacks the privilege TRIGGER on: ${databases//$'\n'/, }; without it triggers would be missing;" \
            'allowed: grant it (docs/databases.md); nothing was dumped'
}
