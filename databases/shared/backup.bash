# What mysql-backup.sh and mariadb-backup.sh share: options, messages, signals, and the order of a run.
# Each of the two sets KIND, PRODUCT and SHARED, and defines what differs between the products:
# find_clients, check_product, add_position_options, add_product_options, scratch_server_program, create_scratch_data
# and add_scratch_options.
# shellcheck shell=bash

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
    echo "${0##*/}: bash $BASH_VERSION is too old; allowed: 4.4 or later" >&2
    exit 2
fi
shopt -s inherit_errexit nullglob
# Names are bytes, messages are English, and a dump is nobody else's to read.
export LC_ALL=C
umask 077
# Cron's PATH has no sbin, where servers are.
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/libexec

readonly PROGRAM=$KIND-backup.sh
readonly UNTOUCHED='Nothing is left of what was begun, and earlier dumps are untouched.'

# shellcheck source=shared/settings.bash
source "$SHARED/settings.bash"
# shellcheck source=shared/folder.bash
source "$SHARED/folder.bash"
# shellcheck source=shared/server.bash
source "$SHARED/server.bash"
# shellcheck source=shared/dump.bash
source "$SHARED/dump.bash"
# shellcheck source=shared/manifest.bash
source "$SHARED/manifest.bash"
# shellcheck source=shared/verify.bash
source "$SHARED/verify.bash"

usage() {
    cat <<END
Dumps the databases of a $PRODUCT server into one file per day, checks it, and removes older ones.

    $PROGRAM [--config FILE]            dump; silent when all is well
    $PROGRAM [--config FILE] --verify   restore the newest dump into a server of its own, and compare
    $PROGRAM [--config FILE] --list     list the dumps, newest first
    $PROGRAM --help

Settings are lines NAME=value in $DEFAULT_CONFIG (or --config FILE, or DB_BACKUP_CONFIG).
The environment goes before the file:

    DB_BACKUP_FOLDER           where dumps are kept ($DEFAULT_FOLDER)
    DB_BACKUP_KEEP_DAYS        days after which a dump may go, 1 to 36500 (5)
    DB_BACKUP_USER             user of the server (that of the option file, else "backup")
    DB_BACKUP_OPTION_FILE      option file with the password, readable by its owner alone
                               ($DEFAULT_OPTION_FILE, else ~/.my.cnf, else none)
    DB_BACKUP_DATABASES        "all", or names separated by spaces or commas (all)
    DB_BACKUP_COMPRESSION      gzip or zstd (gzip)
    DB_BACKUP_LOCK_TABLES      yes: tables are locked for the whole dump; no: they are not, and nothing is said about
                               tables without transactions (neither: they are not, and such tables are named)
    DB_BACKUP_BINLOG_POSITION  auto: where the server has one; no (auto)
    DB_BACKUP_SCRATCH_FOLDER   where --verify puts its server (/var/tmp)

Exit status: 0 done; 1 failed; 2 wrong option or setting, nothing was begun; 129, 130, 143 stopped by a signal.
Needs bash 4.4, GNU coreutils 8.24, awk, util-linux (flock, setsid), gzip or zstd, and $PRODUCT's client programs;
--verify needs its server program as well.
END
}

# Also where a signal comes while the script's own stderr is led elsewhere.
exec {STDERR}>&2
say() {
    printf '%s: %s\n' "$PROGRAM" "$*" >&"$STDERR"
}

# What the caller gave is wrong, and nothing was begun.
refuse() {
    stop_if_asked
    say "$@"
    exit 2
}

fail() {
    # What a signal ended has failed, too.
    stop_if_asked
    say "$@"
    exit 1
}

# first_program WHAT NAME… prints the first program that there is.
first_program() {
    local what=$1 name
    shift
    for name; do
        if command -v -- "$name"; then
            return
        fi
    done
    refuse "no $what is installed; looked for $* in $PATH"
}

# What takes long is waited for, not run in the foreground, where bash puts signals off until it ends; and it has a
# process group of its own, so that a signal ends the whole pipeline.
JOB=
attended() {
    stop_if_asked
    set -m
    "$@" &
    JOB=$!
    set +m
    # A signal that came before JOB was set ended nothing.
    [[ ! $SIGNAL ]] || end_job
    local status=0
    wait "$JOB" || status=$?
    if [[ $SIGNAL ]]; then
        # It ended the waiting, and the job perhaps not yet.
        wait "$JOB" 2>/dev/null || true
        end_group "$JOB"
    fi
    JOB=
    stop_if_asked
    return "$status"
}

# A signal leaves a word, and ends what is waited for; all else follows outside of the trap, in which bash cannot wait
# for a process without the risk of waiting for ever. Bash reads a command substitution when it expands it, and runs
# traps within longer ones, which is a syntax error: each is short, on a line, and in no here-document.
SIGNAL=
catch_signals() {
    local signal
    for signal in TERM INT HUP; do
        # shellcheck disable=SC2064 # Its name as it is now.
        trap "SIGNAL=$signal; end_job" "$signal"
    done
}

end_job() {
    if [[ $JOB ]]; then
        kill -TERM -- "-$JOB" 2>/dev/null || true
    fi
}

# What the job started may end later than the job. Ten seconds are enough to end in order.
end_group() {
    local looks=0
    while kill -0 -- "-$1" 2>/dev/null; do
        ((looks < 100)) || kill -KILL -- "-$1" 2>/dev/null || true
        looks=$((looks + 1))
        sleep 0.1
    done
}

stop_if_asked() {
    local signal=$SIGNAL
    if [[ $signal ]]; then
        SIGNAL=
        say "stopped by SIG$signal. $UNTOUCHED"
        exit $((128 + $(kill -l "$signal")))
    fi
}

WORK=
clean_up() {
    local status=$?
    trap '' TERM INT HUP
    # What failed without a word of its own may have been ended by the signal.
    if [[ $SIGNAL && $status != 0 ]]; then
        say "stopped by SIG$SIGNAL. $UNTOUCHED"
        status=$((128 + $(kill -l "$SIGNAL")))
    fi
    stop_scratch_server
    remove_partial_files
    if [[ $WORK ]]; then
        rm -rf -- "$WORK" || true
    fi
    exit "$status"
}

main() {
    local action=dump
    CONFIG_OPTION=
    while (($#)); do
        case $1 in
            --help)
                usage
                exit
                ;;
            --list) action=list ;;
            --verify) action=verify ;;
            --config)
                [[ ${2-} ]] || refuse '--config: no file is named'
                CONFIG_OPTION=$2
                shift
                ;;
            *) refuse "$1: unknown option; allowed: --verify, --list, --config FILE, --help, or nothing, which dumps" ;;
        esac
        shift
    done

    local program
    for program in awk date df flock grep readlink sed setsid sha256sum sort stat sync; do
        first_program 'program of this name' "$program" >/dev/null
    done
    read_settings
    trap clean_up EXIT
    catch_signals
    WORK=$(mktemp --directory --tmpdir "$KIND-backup.XXXXXXXXXX")
    "run_$action"
}

run_list() {
    open_folder
    list_dumps
}

run_verify() {
    open_folder
    verify_newest
}

run_dump() {
    find_clients
    find_compressor "$DB_BACKUP_COMPRESSION"
    create_default_folder
    open_folder
    lock_folder
    remove_partial_files
    look_at_clock
    look_at_server
    look_at_tables
    look_at_free_space
    make_dump
    remove_old_dumps
    report_caveats
}
