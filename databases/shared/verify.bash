# --verify: the newest dump is restored into a server of its own, on a socket in a temporary folder, and what came back
# is compared with what the dump holds. A dump of all databases says itself which databases it creates, and `mysql` is
# among them: in the real server it would replace what it is to be compared with.
# shellcheck shell=bash

SCRATCH=
SCRATCH_PID=

verify_newest() {
    local newest hash expected
    find_dumps
    ((${#DUMPS[@]})) || fail "there is no dump in $FOLDER to verify"
    newest=${DUMPS[0]}
    judge "$newest"
    [[ $STATE == good ]] || fail "$FOLDER/$newest is not good: $STATE"
    attended sha256sum -- "$FOLDER/$newest" >"$WORK/sha256" || fail "$FOLDER/$newest cannot be read"
    read -r hash _ <"$WORK/sha256"
    expected=${MANIFEST[sha256]-}
    [[ $hash == "$expected" ]] ||
        fail "$FOLDER/$newest is not what was written: its SHA-256 is $hash, and its manifest says $expected"

    find_clients
    find_compressor "${MANIFEST[compression]-}"
    SCRATCH_SERVER=$(scratch_server_program)
    make_scratch_folder
    start_scratch_server
    restore "$FOLDER/$newest"
    compare "$newest"
}

make_scratch_folder() {
    local free needed parent=$DB_BACKUP_SCRATCH_FOLDER
    [[ -d $parent && -w $parent ]] ||
        refuse "DB_BACKUP_SCRATCH_FOLDER: $parent is no folder that can be written; allowed: an existing one"
    [[ ${MANIFEST[uncompressedBytes]-} =~ ^[0-9]+$ ]] || fail "the manifest of ${DUMPS[0]} has no uncompressedBytes"
    # Tables with their indexes and undo, and what an empty server takes.
    needed=$((MANIFEST[uncompressedBytes] * 2 + 300000000))
    free=$(free_bytes "$parent")
    ((free >= needed)) ||
        fail "DB_BACKUP_SCRATCH_FOLDER: $parent has $free bytes free;" \
            "needed: $needed, twice the dump and what an empty server takes"
    SCRATCH=$(mktemp --directory --tmpdir="$parent" "$KIND-verify.XXXXXXXXXX")
    # A socket's path may have 107 bytes.
    ((${#SCRATCH} <= 100)) ||
        refuse "DB_BACKUP_SCRATCH_FOLDER: $parent is too long for a socket's path; allowed: 70 characters"
}

start_scratch_server() {
    local alike waited
    # Without the first two the same statements can make other tables. As to the third: a server that starts removes
    # whatever temporary tables it finds, those of other servers too.
    alike=("--lower-case-table-names=${MANIFEST[lowerCaseTableNames]-}")
    alike+=("--innodb-page-size=${MANIFEST[innodbPageSize]-}" "--tmpdir=$SCRATCH")
    if ((EUID == 0)); then
        id mysql >/dev/null 2>&1 ||
            fail 'there is no user "mysql", as which the scratch server runs; the server package makes it'
        chown mysql -- "$SCRATCH"
        alike+=(--user=mysql)
    fi
    attended create_scratch_data "$SCRATCH/data" "${alike[@]}" >"$SCRATCH/log" 2>&1 ||
        scratch_failed 'its data folder could not be made'

    # Nothing in it runs by itself, nobody reaches it from outside, and it is thrown away.
    SCRATCH_OPTIONS=("${alike[@]}" "--datadir=$SCRATCH/data" "--socket=$SCRATCH/socket" "--pid-file=$SCRATCH/pid"
        --skip-networking --event-scheduler=OFF --skip-log-bin --max-allowed-packet=1G
        --innodb-flush-log-at-trx-commit=0 --loose-innodb-doublewrite=0)
    add_scratch_options
    set -m
    "$SCRATCH_SERVER" --no-defaults "${SCRATCH_OPTIONS[@]}" </dev/null >>"$SCRATCH/log" 2>&1 &
    SCRATCH_PID=$!
    set +m
    SCRATCH_CONNECTION=(--no-defaults "--socket=$SCRATCH/socket" --user=root --default-character-set=utf8mb4)
    waited=0
    until attended "$CLIENT" "${SCRATCH_CONNECTION[@]}" --execute='SELECT 1' </dev/null >/dev/null 2>&1; do
        kill -0 "$SCRATCH_PID" 2>/dev/null || scratch_failed 'it ended'
        ((waited < 600)) || scratch_failed 'it does not answer after 120 seconds'
        waited=$((waited + 1))
        attended sleep 0.2
    done
}

scratch_failed() {
    grep --ignore-case --max-count=3 error -- "$SCRATCH/log" >"$WORK/last-words" ||
        tail --lines=3 -- "$SCRATCH/log" >"$WORK/last-words"
    fail "the scratch server could not be started: $1. Its log says: $(one_line "$WORK/last-words")"
}

# What it holds is thrown away: it need not end in order.
stop_scratch_server() {
    if [[ $SCRATCH_PID ]]; then
        kill -KILL "$SCRATCH_PID" 2>/dev/null || true
        wait "$SCRATCH_PID" 2>/dev/null || true
        SCRATCH_PID=
    fi
    if [[ $SCRATCH ]]; then
        rm -rf -- "$SCRATCH" || true
    fi
}

# restore_and_count DUMP; called by its name.
restore_and_count() {
    set +e
    awk -v rows=1 -f "$SHARED/contents.awk" <"$WORK/copy" >"$WORK/contents" &
    "${EXPAND[@]}" <"$1" 2>"$WORK/expand.err" | tee "$WORK/copy" |
        "$CLIENT" "${SCRATCH_CONNECTION[@]}" --max-allowed-packet=1G >"$WORK/restore.out" 2>"$WORK/restore.err"
    echo "${PIPESTATUS[@]}" >"$WORK/statuses"
    wait $!
}

restore() {
    local statuses
    mkfifo "$WORK/copy"
    : >"$WORK/statuses"
    attended restore_and_count "$1" || fail "the contents of $1 could not be counted"
    read -r -a statuses <"$WORK/statuses"
    [[ ${statuses[2]} == 0 ]] ||
        fail "$1 cannot be restored: ${CLIENT##*/} ended with status ${statuses[2]}." \
            "It says: $(one_line "$WORK/restore.err")"
    [[ ${statuses[0]} == 0 && ${statuses[1]} == 0 ]] || fail "$1 cannot be expanded: $(one_line "$WORK/expand.err")"
    [[ $(content completed) == yes ]] || fail "$1 is cut: its last line is not \"-- Dump completed\""
}

tables_of_manifest() {
    sed --quiet 's/^    {"name": .*, "tables": \([0-9]*\)},\{0,1\}$/\1/p' -- "$1" | awk '{n += $1} END {print n + 0}'
}

# Every table of the dump must be there with every row. In `mysql` the tables alone are compared: the server writes
# statistics there by itself.
compare() {
    local tables rows expected
    expected=$(tables_of_manifest "$FOLDER/$1.json")
    tables=$(awk -F '\t' '$1 == "table" {n++} END {print n + 0}' "$WORK/contents")
    ((tables == expected)) || fail "$FOLDER/$1 holds $tables tables, and its manifest says $expected"

    awk -F '\t' '$1 == "table" {
        schema = $2; name = $3; gsub(/`/, "``", schema); gsub(/`/, "``", name)
        quoted_schema = $2; quoted_name = $3
        gsub(/\\/, "\\\\", quoted_schema); gsub(/\\/, "\\\\", quoted_name)
        gsub(/\x27/, "\x27\x27", quoted_schema); gsub(/\x27/, "\x27\x27", quoted_name)
        printf "SELECT \x27%s\x27, \x27%s\x27, COUNT(*) FROM `%s`.`%s`;\n", quoted_schema, quoted_name, schema, name
    }' "$WORK/contents" >"$WORK/count.sql"
    # shellcheck disable=SC2317,SC2329 # Called by its name.
    count() {
        "$CLIENT" "${SCRATCH_CONNECTION[@]}" --batch --raw --skip-column-names --force \
            <"$WORK/count.sql" >"$WORK/restored" 2>"$WORK/count.err"
    }
    attended count || true
    awk -F '\t' 'NR == FNR {restored[$1 "." $2] = $3; next}
        $1 == "table" {
            name = $2 "." $3
            if (!(name in restored)) print name ": the dump has it, and it was not restored"
            else if ($2 != "mysql" && restored[name] != $4)
                print name ": " $4 " rows in the dump, and " restored[name] " restored"
        }' "$WORK/restored" "$WORK/contents" >"$WORK/differences"
    if [[ -s $WORK/differences ]]; then
        while IFS= read -r; do
            say "$REPLY"
        done < <(head --lines=20 -- "$WORK/differences")
        [[ ! -s $WORK/count.err ]] || say "the scratch server says: $(one_line "$WORK/count.err")"
        fail "$FOLDER/$1 was not restored as it is: $(wc --lines <"$WORK/differences") tables differ"
    fi
    rows=$(awk -F '\t' '$1 == "table" && $2 != "mysql" {n += $4} END {printf "%.0f", n}' "$WORK/contents")
    echo "$FOLDER/$1, ended ${MANIFEST[endedAt]-}:" \
        "restored with all of its $tables tables and $rows rows"
}
