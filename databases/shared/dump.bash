# One dump: written under a temporary name, checked, renamed.
# shellcheck shell=bash

# Sets COMPRESS, EXPAND and SUFFIX.
find_compressor() {
    case $1 in
        gzip) COMPRESS=(gzip --stdout) EXPAND=(gzip --decompress --stdout) SUFFIX=gz ;;
        zstd) COMPRESS=(zstd --quiet --stdout) EXPAND=(zstd --quiet --decompress --stdout) SUFFIX=zst ;;
    esac
    command -v -- "$1" >/dev/null || refuse "DB_BACKUP_COMPRESSION: $1 is not installed; allowed: gzip, zstd"
}

# Sets DUMP_OPTIONS and CONSISTENCY.
choose_dump_options() {
    POSITION_WANTED=
    if [[ $DB_BACKUP_BINLOG_POSITION == auto && $HAS_BINLOG == ON ]]; then
        POSITION_WANTED=yes
    fi
    # Without tablespaces no PROCESS privilege is needed; only NDB has any. A packet is as large as a row may get, and
    # the server's default character set may lack half of what is in the tables.
    DUMP_OPTIONS=(--quick --routines --events --triggers --no-tablespaces --max-allowed-packet=1G
        --default-character-set=utf8mb4)
    if [[ $DB_BACKUP_LOCK_TABLES == yes ]]; then
        DUMP_OPTIONS+=(--lock-tables)
        CONSISTENCY=lock-tables
        if [[ $POSITION_WANTED ]]; then
            # One position for all databases: the dump program locks all of them at once.
            CONSISTENCY=lock-all-tables
        fi
    else
        DUMP_OPTIONS+=(--single-transaction)
        CONSISTENCY=single-transaction
    fi
    if [[ $POSITION_WANTED ]]; then
        add_position_options
    fi
    add_product_options
    if [[ $DB_BACKUP_DATABASES == all ]]; then
        DUMP_OPTIONS+=(--all-databases)
    else
        DUMP_OPTIONS+=(--databases "${DATABASES[@]}")
    fi
}

# write_dump FILE; called by its name.
write_dump() {
    set +e
    "$DUMP" "${CONNECTION[@]}" "${DUMP_OPTIONS[@]}" </dev/null 2>"$WORK/dump.err" |
        "${COMPRESS[@]}" >"$1" 2>"$WORK/compress.err"
    echo "${PIPESTATUS[@]}" >"$WORK/statuses"
}

# expand_and_look FILE ROWS writes what the dump holds to $WORK/contents; called by its name.
expand_and_look() {
    set +e
    "${EXPAND[@]}" <"$1" 2>"$WORK/expand.err" | awk -v rows="$2" -f "$SHARED/contents.awk" >"$WORK/contents"
    echo "${PIPESTATUS[@]}" >"$WORK/statuses"
}

make_dump() {
    local statuses
    DUMP_NAME_TODAY=db-$TODAY.sql.$SUFFIX
    PARTIAL=$FOLDER/.$DUMP_NAME_TODAY.partial
    BEGUN=$(date --utc +%FT%TZ)
    choose_dump_options

    : >"$WORK/statuses"
    attended write_dump "$PARTIAL" || fail "the dump could not be written to $PARTIAL. $UNTOUCHED"
    read -r -a statuses <"$WORK/statuses" || statuses=(none none)
    # A dump program whose reader ended is ended by SIGPIPE: the reader's words come first.
    if [[ ${statuses[1]} != 0 ]]; then
        fail "the dump could not be written to $FOLDER, which has $(free_bytes "$FOLDER") bytes free:" \
            "${COMPRESS[0]} ended with status ${statuses[1]}. It says: $(one_line "$WORK/compress.err"). $UNTOUCHED"
    fi
    [[ ${statuses[0]} == 0 ]] ||
        server_failed "$WORK/dump.err" "the dump failed (${DUMP##*/} ended with status ${statuses[0]})"

    check_dump
    attended sync -- "$PARTIAL" || fail "$PARTIAL could not be written to the disk. $UNTOUCHED"
    attended sha256sum -- "$PARTIAL" >"$WORK/sha256" || fail "$PARTIAL cannot be read back. $UNTOUCHED"
    read -r SHA256 _ <"$WORK/sha256"
    [[ $SHA256 =~ ^[0-9a-f]{64}$ ]] || fail "$PARTIAL has no SHA-256. $UNTOUCHED"
    ENDED=$(date --utc +%FT%TZ)
    if [[ $ENDED < $BEGUN ]]; then
        CLOCK_PROBLEM="the clock was set back during the dump (from $BEGUN or later to $ENDED)"
    fi
    commit_dump
}

# What is on the disk is read back: the compressor's own test, the dump's first and last lines, and every database and
# table that the server said it has.
check_dump() {
    local statuses missing
    attended expand_and_look "$PARTIAL" 0 || fail "$PARTIAL cannot be read back. $UNTOUCHED"
    read -r -a statuses <"$WORK/statuses"
    [[ ${statuses[0]} == 0 ]] ||
        bad_dump "${EXPAND[0]} cannot expand it (status ${statuses[0]}): $(one_line "$WORK/expand.err")"
    [[ ${statuses[1]} == 0 ]] || bad_dump "its contents cannot be read (status ${statuses[1]})"

    UNCOMPRESSED=$(content bytes)
    [[ $(content completed) == yes ]] || bad_dump 'its last line is not "-- Dump completed": it was cut'
    [[ $(content header) == yes ]] || bad_dump 'it does not begin as a dump does'
    # MariaDB writes 1,509 bytes for one database without tables.
    ((UNCOMPRESSED >= 1000)) || bad_dump "it has $UNCOMPRESSED bytes, less than a dump of nothing"

    missing=$(missing_databases)
    [[ ! $missing ]] || bad_dump "databases are missing: $missing"
    missing_tables "$WORK/tables" >"$WORK/missing"
    if [[ -s $WORK/missing ]]; then
        # What was dropped meanwhile is not missing.
        look_at_tables
        missing_tables "$WORK/tables" | sort >"$WORK/missing-now"
        missing=$(sort "$WORK/missing" | comm -12 - "$WORK/missing-now" | tr '\n' ' ')
        [[ ! $missing ]] || bad_dump "tables are missing: $missing"
    fi
    if [[ $POSITION_WANTED ]]; then
        [[ $(content binlog) ]] || bad_dump 'the server has a binary log, and its position is not in the dump'
    fi
}

# content KEY prints what follows KEY in the contents.
content() {
    awk -F '\t' -v key="$1" '$1 == key {print $2; exit}' "$WORK/contents"
}

missing_databases() {
    awk -F '\t' 'NR == FNR {if ($1 == "database") found[$2]; next} !($0 in found)' "$WORK/contents" "$WORK/databases" |
        tr '\n' ' '
}

# The server's own tables are left out: some have no data to dump, and which they are differs between versions. So are
# names that the client writes with a backslash.
missing_tables() {
    awk -F '\t' 'NR == FNR {if ($1 == "table") found[$2 "." $3]; next}
        $1 != "mysql" && !(($1 "." $2) in found) && ($1 $2) !~ /\\/ {print $1 "." $2}' "$WORK/contents" "$1"
}

bad_dump() {
    fail "the dump is not good: $1. $UNTOUCHED"
}

# Dump, hash and manifest are renamed with signals off: what is new becomes today's in one go. The manifest comes last,
# and says that all is there.
commit_dump() {
    local other
    write_hash >"$FOLDER/.$DUMP_NAME_TODAY.sha256.partial"
    write_manifest >"$FOLDER/.$DUMP_NAME_TODAY.json.partial"
    sync -- "$FOLDER/.$DUMP_NAME_TODAY.sha256.partial" "$FOLDER/.$DUMP_NAME_TODAY.json.partial"
    stop_if_asked
    trap '' TERM INT HUP
    mv --force -- "$PARTIAL" "$FOLDER/$DUMP_NAME_TODAY"
    mv --force -- "$FOLDER/.$DUMP_NAME_TODAY.sha256.partial" "$FOLDER/$DUMP_NAME_TODAY.sha256"
    mv --force -- "$FOLDER/.$DUMP_NAME_TODAY.json.partial" "$FOLDER/$DUMP_NAME_TODAY.json"
    sync -- "$FOLDER"
    # One file per day, also on the day on which the compression is changed.
    for other in gz zst; do
        if [[ $other != "$SUFFIX" && -f $FOLDER/db-$TODAY.sql.$other ]]; then
            remove_dump "db-$TODAY.sql.$other"
        fi
    done
    catch_signals
}

# The dump is good; these are words that somebody should read all the same.
report_caveats() {
    local line
    while IFS= read -r line; do
        say "$line"
    done <"$WORK/dump.err"
    if ((${#NON_TRANSACTIONAL[@]})) && [[ $DB_BACKUP_LOCK_TABLES == undecided ]]; then
        say "$DUMP_NAME_TODAY was made, but tables without transactions may have changed while they were dumped:" \
            "$(some_of "${NON_TRANSACTIONAL[@]}")"
        say 'allowed: ALTER TABLE to InnoDB; DB_BACKUP_LOCK_TABLES=yes, and writers wait for the whole dump;' \
            'DB_BACKUP_LOCK_TABLES=no, and that they change is accepted'
    fi
    if [[ $CLOCK_PROBLEM ]]; then
        fail "$CLOCK_PROBLEM; $DUMP_NAME_TODAY was made, and no older dump was removed"
    fi
}

some_of() {
    local first="${*:1:10}"
    echo "${first// /, }$( (($# > 10)) && echo ", and $(($# - 10)) more, which the manifest names" || true)"
}
