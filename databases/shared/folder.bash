# The folder of the dumps: whose it is, who works in it, what is in it, and what may go.
# shellcheck shell=bash

# The folder and its free space are looked at first, so that a missing mount is not filled up unseen: only the default
# folder is made.
create_default_folder() {
    if [[ $DB_BACKUP_FOLDER == "$DEFAULT_FOLDER" && ! -e $DEFAULT_FOLDER ]]; then
        install --directory --mode=0700 -- "$DEFAULT_FOLDER" || fail "$DEFAULT_FOLDER could not be made"
    fi
}

# Sets FOLDER, the folder's real path.
open_folder() {
    local owner mode manifest kind
    local allowed='allowed: an existing folder that belongs to the user who runs this, and that nobody else can write'
    [[ -d $DB_BACKUP_FOLDER ]] ||
        refuse "DB_BACKUP_FOLDER: $DB_BACKUP_FOLDER is no folder; $allowed (install -d -m 0700 $DB_BACKUP_FOLDER)"
    FOLDER=$(readlink --canonicalize -- "$DB_BACKUP_FOLDER")
    read -r owner mode < <(stat --format '%u %a' -- "$FOLDER")
    ((owner == EUID)) ||
        refuse "DB_BACKUP_FOLDER: $FOLDER belongs to user $owner, and this runs as user $EUID; $allowed"
    (((8#$mode & 8#022) == 0)) ||
        refuse "DB_BACKUP_FOLDER: others can write $FOLDER (mode $mode); $allowed"
    [[ -r $FOLDER && -w $FOLDER && -x $FOLDER ]] ||
        refuse "DB_BACKUP_FOLDER: $FOLDER cannot be read and written; $allowed"
    for manifest in "$FOLDER"/db-*.json; do
        read_manifest "$manifest"
        kind=${MANIFEST[kind]-}
        [[ ! $kind || $kind == "$KIND" ]] ||
            refuse "DB_BACKUP_FOLDER: $FOLDER has dumps of kind $kind (${manifest##*/});" \
                "allowed: a folder for $KIND alone"
    done
}

LOCKED=
lock_folder() {
    local holder
    exec {LOCK}>>"$FOLDER/.lock"
    if ! flock --nonblock "$LOCK"; then
        holder=$(tail --lines=1 -- "$FOLDER/.lock")
        fail "another run is at work in $FOLDER (process ${holder:-unknown}); allowed: one at a time; nothing was begun"
    fi
    LOCKED=yes
    printf '%s, begun %s\n' "$$" "$(date --utc +%FT%TZ)" >"$FOLDER/.lock"
}

# Under the lock, half-written files are those of this run, or of one that was killed.
remove_partial_files() {
    if [[ $LOCKED ]]; then
        rm -f -- "$FOLDER"/.db-*.partial
    fi
}

readonly DUMP_NAME='^db-([0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01]))\.sql\.(gz|zst)$'

# Sets DUMPS to the names of our dumps, the newest date first.
find_dumps() {
    local path names=()
    for path in "$FOLDER"/db-*; do
        if [[ ${path##*/} =~ $DUMP_NAME && -f $path && ! -L $path ]]; then
            names+=("${path##*/}")
        fi
    done
    DUMPS=()
    if ((${#names[@]})); then
        mapfile -t DUMPS < <(printf '%s\n' "${names[@]}" | sort --reverse)
    fi
}

# Sets STATE to "good", or to what is wrong. The hash is for --verify: reading every dump every night takes too long.
judge() {
    local dump=$FOLDER/$1 manifest=$FOLDER/$1.json expected bytes
    STATE=good
    read_manifest "$manifest"
    bytes=$(stat --format %s -- "$dump")
    if [[ ! -f $manifest ]]; then
        STATE='no manifest: not made by this script, or not finished'
    elif [[ ${MANIFEST[schema]-} != "$MANIFEST_SCHEMA" ]]; then
        STATE='its manifest cannot be read'
    elif [[ ${MANIFEST[status]-} != complete ]]; then
        STATE='its manifest does not say complete'
    else
        expected=${MANIFEST[bytes]-}
        if [[ $bytes != "$expected" ]]; then
            STATE="it has $bytes bytes, and its manifest says $expected"
        fi
    fi
}

list_dumps() {
    local dump ended
    find_dumps
    if ((${#DUMPS[@]} == 0)); then
        say "no dumps in $FOLDER"
        return
    fi
    for dump in "${DUMPS[@]}"; do
        judge "$dump"
        ended=${MANIFEST[endedAt]-}
        printf '%-22s  %14s  %-20s  %s\n' "$dump" "$(stat --format %s -- "$FOLDER/$dump")" "${ended:--}" "$STATE"
    done
}

# Sets NOW, TODAY and CLOCK_PROBLEM. The name is the local date, as cron's day is.
look_at_clock() {
    local dump limit ended
    NOW=$(date +%s)
    TODAY=$(date --date="@$NOW" +%F)
    CLOCK_PROBLEM=
    # Clocks are corrected by seconds all the time.
    limit=$(date --utc --date="@$((NOW + 60))" +%FT%TZ)
    find_dumps
    for dump in "${DUMPS[@]}"; do
        read_manifest "$FOLDER/$dump.json"
        ended=${MANIFEST[endedAt]-}
        if [[ ${dump:3:10} > $TODAY || $ended > $limit ]]; then
            CLOCK_PROBLEM="the clock says $(date --date="@$NOW" '+%F %T')"
            CLOCK_PROBLEM+=", and $FOLDER/$dump is from later${ended:+ ($ended)}:"
            CLOCK_PROBLEM+=' it was set back, or was ahead then; set it right, or move that dump to another folder'
            break
        fi
    done
    if [[ $CLOCK_PROBLEM ]]; then
        for dump in "${DUMPS[@]}"; do
            if [[ ${dump:3:10} == "$TODAY" ]]; then
                fail "$CLOCK_PROBLEM; nothing was dumped, since $dump exists and nothing is replaced meanwhile"
            fi
        done
    fi
}

free_bytes() {
    df --output=avail --block-size=1 -- "$1" | tail --lines=1 | tr --delete ' '
}

look_at_free_space() {
    local dump free needed reason
    needed=$((DATA_BYTES / 10))
    reason="a tenth of the $DATA_BYTES bytes of data"
    for dump in "${DUMPS[@]}"; do
        judge "$dump"
        if [[ $STATE == good ]]; then
            needed=$(stat --format %s -- "$FOLDER/$dump")
            reason="as much as $dump"
            break
        fi
    done
    free=$(free_bytes "$FOLDER")
    ((free >= needed && free > 0)) ||
        fail "$FOLDER has $free bytes free; needed: $needed, $reason. $UNTOUCHED"
}

# Called only when a new dump is good. A dump goes when it is older than the days kept, and as many newer dumps as
# days are good: so neither missed nights nor a wrong clock empty the folder.
remove_old_dumps() {
    local dump oldest_kept newer=0
    if [[ $CLOCK_PROBLEM ]]; then
        return
    fi
    oldest_kept=$(date --date="$TODAY $DB_BACKUP_KEEP_DAYS days ago" +%F)
    find_dumps
    for dump in "${DUMPS[@]}"; do
        if [[ ${dump:3:10} < $oldest_kept ]] && ((newer >= DB_BACKUP_KEEP_DAYS)); then
            remove_dump "$dump"
            continue
        fi
        judge "$dump"
        if [[ $STATE == good ]]; then
            newer=$((newer + 1))
        fi
    done
}

# The manifest goes first: there is never one that promises a dump that is gone.
remove_dump() {
    rm -f -- "$FOLDER/$1.json" "$FOLDER/$1.sha256" "$FOLDER/$1" ||
        fail "$FOLDER/$1 could not be removed; the new dump is good"
}
