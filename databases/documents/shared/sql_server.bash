# What the mariadb and mysql hooks share: the server's own word for where its data is, a session that holds a lock
# while it stays open, and dumps.
# shellcheck shell=bash disable=SC2034,SC2153 # The parts of a script share variables.

# Root's own defaults, and where HOOK_OPTION_FILE names one, what that says.
find_client() {
    local program file=${HOOK_OPTION_FILE-} owner mode
    # How long the lock may wait for statements that run; all that comes after them waits meanwhile, too.
    LOCK_SECONDS=${HOOK_LOCK_SECONDS:-10}
    [[ $LOCK_SECONDS =~ ^[1-9][0-9]?$ ]] || refuse "$NOT_READY" "HOOK_LOCK_SECONDS is \"$LOCK_SECONDS\"; allowed: 1 to 99"
    program=$(first_program "$@") || refuse "$NOT_READY" "no client program of $PRODUCT is installed; looked for $*"
    CLIENT=("$program")
    if [[ $file ]]; then
        [[ -r $file ]] || refuse "$NOT_READY" "HOOK_OPTION_FILE: $file cannot be read"
        read -r owner mode < <(stat --dereference --format '%u %a' -- "$file")
        ((owner == 0 && (8#$mode & 8#077) == 0)) ||
            refuse "$NOT_READY" "HOOK_OPTION_FILE: $file belongs to user $owner and has mode $mode," \
                'and holds a password; allowed: root alone may read it (chown root, chmod 600)'
        CLIENT+=("--defaults-extra-file=$file")
    fi
    CLIENT+=(--batch --skip-column-names --connect-timeout=5)
}

# query SQL prints the rows, with tabs between the columns.
query() {
    timeout --kill-after=1 "$LOCK_SECONDS" "${CLIENT[@]}" --execute="$1" </dev/null
}

# Sets VERSION and DATA_PATHS, by what the server itself says.
look_at_server() {
    local answer name value comment='' host='' path
    local -A variables=()
    answer=$(query "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'version_comment', 'hostname', 'datadir',
        'innodb_data_home_dir', 'innodb_log_group_home_dir', 'innodb_undo_directory', 'log_bin_basename')" 2>&1) ||
        refuse "$NOT_READY" "the $PRODUCT server does not answer: ${answer//$'\n'/ }"
    while IFS=$'\t' read -r name value; do
        variables[$name]=$value
    done <<<"$answer"
    VERSION=${variables[version]-} comment=${variables[version_comment]-} host=${variables[hostname]-}
    check_product "$VERSION $comment"
    [[ $host == "$(uname --nodename)" ]] ||
        refuse "$NOT_READY" "the client reaches the server of $host, and this instance is $(uname --nodename);" \
            'allowed: a server on the instance itself'
    DATA=${variables[datadir]%/}
    [[ -d $DATA ]] || refuse "$NOT_READY" "the server's data folder \"$DATA\" does not exist on this instance"
    DATA_PATHS=("$DATA")
    for name in innodb_data_home_dir innodb_log_group_home_dir innodb_undo_directory log_bin_basename; do
        value=${variables[$name]-}
        if [[ $name == log_bin_basename && $value ]]; then
            value=$(dirname -- "$value")
        fi
        if [[ $value && $value != /* ]]; then
            value=$DATA/$value
        fi
        if [[ $value ]]; then
            DATA_PATHS+=("$value")
        fi
    done
    # Databases and tables that lie elsewhere.
    while IFS= read -r path; do
        DATA_PATHS+=("$path")
    done < <(
        find "$DATA" -maxdepth 2 -type l -exec readlink --canonicalize -- {} \;
        find "$DATA" -maxdepth 2 -name '*.isl' -exec cat -- {} \; -exec echo \; | sed '/^$/d'
    )
}

check_ready() {
    WITHOUT_FREEZE='; or a dump before the snapshot (HOOK_MODE=dump)'
    find_server_client
    if [[ $MODE == dump ]]; then
        find_dump_program
        return
    fi
    look_at_server
    find_file_systems "$PRODUCT" "${DATA_PATHS[@]}"
    choose_lock
}

describe() {
    if [[ $MODE == dump ]]; then
        say "a dump by $DUMP_PROGRAM, and nothing is frozen"
    else
        say "$PRODUCT $VERSION: ${LOCK//;/,}"
        describe_file_systems freezes
    fi
}

make_ready() {
    write_out
}

# The lock is the session's, and the session stays open: it reads from this process, and ends with it.
take_lock() {
    local words
    # shellcheck disable=SC2034 # SESSION is what coproc sets.
    coproc SESSION {
        "${CLIENT[@]}" --unbuffered 2>"$FOLDER/session"
        printf 'session\n' 1<>"$FOLDER/events"
    }
    remember client "$(identity "$SESSION_PID")"
    exec {ASK}>&"${SESSION[1]}" {HEAR}<&"${SESSION[0]}"
    # One copy of its input is left, so that closing it ends the session.
    eval "exec ${SESSION[1]}>&-"
    if ! ask_session "SET SESSION lock_wait_timeout = $LOCK_SECONDS, SESSION wait_timeout = 3600; $LOCK" locked; then
        words=$(tr '\n' ' ' <"$FOLDER/session")
        REASON="the lock was not got within $LOCK_SECONDS s: ${words:-the session does not answer}"
        return 1
    fi
}

# For the guard, which has no part in the session.
end_session() {
    local session children=()
    session=$(recall client)
    [[ $session && $(identity "${session%% *}") == "$session" ]] || return 0
    read -r -a children 2>/dev/null <"/proc/${session%% *}/task/${session%% *}/children" || true
    kill -TERM "${children[@]}" 2>/dev/null || true
}

release_lock() {
    local status=0
    [[ ${ASK-} ]] || return 0
    ask_session "$UNLOCK" unlocked || status=1
    exec {ASK}>&- {HEAR}<&-
    ASK=
    return "$status"
}

# ask_session SQL WORD: whether the session has done it, and answers with the word.
ask_session() {
    local line
    printf "%s; SELECT '%s';\n" "$1" "$2" >&"$ASK" || return 1
    while read -r -t "$((LOCK_SECONDS + 2))" -u "$HEAR" line; do
        [[ $line != "$2" ]] || return 0
    done
    return 1
}

# The program of this project that dumps, with its own settings (docs/databases.md).
find_dump_program() {
    local place
    DUMP_PROGRAM=${HOOK_DUMP_PROGRAM-}
    for place in /usr/local/sbin /usr/local/bin /opt/ebs-snapshots/databases; do
        if [[ ! $DUMP_PROGRAM && -x $place/$KIND-backup.sh ]]; then
            DUMP_PROGRAM=$place/$KIND-backup.sh
        fi
    done
    [[ $DUMP_PROGRAM && -x $DUMP_PROGRAM ]] ||
        refuse "$NOT_READY" "${DUMP_PROGRAM:-$KIND-backup.sh} is not there to be run;" \
            'allowed: in /usr/local/sbin, /usr/local/bin, /opt/ebs-snapshots/databases, or as HOOK_DUMP_PROGRAM says'
}

# Sets DUMP_JSON, DUMP_CONSISTENCY and DUMP_REASON to what the dump's own manifest says.
make_dump() {
    local words manifest limit=$((EXECUTION_SECONDS - 4)) path mount source root volume
    : >"$FOLDER/begun"
    # Stopped by a signal, the program leaves nothing half done; the agent would kill it.
    words=$(timeout --kill-after=2 "$limit" "$DUMP_PROGRAM" 2>&1 </dev/null) || {
        local status=$?
        if ((status == 124 || status == 137)); then
            words="it did not end within $limit s; allowed: a longer BackupHookTimeout, or mode lock. $words"
        fi
        refuse "$PRE_FAILED" "the dump failed: ${words//$'\n'/ }"
    }
    if [[ $words ]]; then
        say "$words"
    fi
    manifest=$(find_manifest)
    [[ $manifest ]] || refuse "$PRE_FAILED" "the dump left no manifest in ${DUMP_FOLDER:-its folder}: nothing says where it is"
    path=$(field "$manifest" path)
    [[ -f $path && $(field "$manifest" status) == complete ]] ||
        refuse "$PRE_FAILED" "$manifest does not tell of a complete dump"
    sync --file-system -- "$path"
    source=$(mount_of "$path" SOURCE)
    source=${source%%\[*}
    [[ -b $source ]] || refuse "$PRE_FAILED" "the dump $path is on $source, which is no volume, and would be in no snapshot"
    mount=$(mount_of "$path" TARGET) root=$(mount_of "$path" FSROOT) volume=$(volume_of "$source")
    path=${path#"${mount%/}"}
    DUMP_JSON=$(printf '{"at":%s,"volume":%s,"device":%s,"path":%s,"sha256":%s,"bytes":%s}' \
        "$(json "$(field "$manifest" endedAt)")" "$(json "$volume")" "$(json "$source")" \
        "$(json "${root%/}$path")" "$(json "$(field "$manifest" sha256)")" "$(field "$manifest" bytes)")
    DUMP_CONSISTENCY=application DUMP_REASON=
    if ! is_whole "$manifest"; then
        DUMP_CONSISTENCY=crash DUMP_REASON='tables without transactions may have changed while they were dumped'
    fi
}

# Whether all in a dump is as of one moment: it has no tables without transactions, or they were locked. The lock on
# tables is one database's at a time, and a manifest that does not say it is believed nothing.
is_whole() {
    grep --quiet '^  "nonTransactionalTables": \[\],\{0,1\}$' -- "$1" && return
    case $(field "$1" consistency) in
        lock-all-tables) ;;
        lock-tables) (($(grep --count '^    {"name": ' -- "$1") == 1)) ;;
        *) return 1 ;;
    esac
}

# The newest manifest that this run has written, in the folder that the dump program's settings name.
find_manifest() {
    local file newest=''
    dump_folder
    for file in "$DUMP_FOLDER"/db-*.json; do
        if [[ -f $file && $file -nt $FOLDER/begun && (! $newest || $file -nt $newest) ]]; then
            newest=$file
        fi
    done
    printf '%s\n' "$newest"
}

# Sets DUMP_FOLDER, as the dump program finds it.
dump_folder() {
    local config=${DB_BACKUP_CONFIG:-/etc/$KIND-backup.conf}
    DUMP_FOLDER=${DB_BACKUP_FOLDER-}
    if [[ ! $DUMP_FOLDER && -r $config ]]; then
        DUMP_FOLDER=$(sed --quiet 's/^[[:space:]]*DB_BACKUP_FOLDER=["'\'']\{0,1\}\([^"'\'']*[^"'\''[:space:]]\).*$/\1/p' "$config" | tail -n 1)
    fi
    DUMP_FOLDER=${DUMP_FOLDER:-/var/backups/$KIND}
    DUMP_FOLDER=$(readlink --canonicalize -- "$DUMP_FOLDER")
}

# field FILE NAME prints a field of a manifest, which has one a line.
field() {
    local line
    while IFS= read -r line; do
        if [[ $line =~ ^[[:space:]]+\"$2\":\ \"?([^\"]*[^\",])\"?,?$ ]]; then
            printf '%s\n' "${BASH_REMATCH[1]}"
            return
        fi
    done <"$1"
}
