# What is known of executions, in a folder that is empty after a reboot, as file systems are thawed after one.
# shellcheck shell=bash disable=SC2034,SC2153 # The parts of a script share variables.

readonly STATE_FOLDER=${HOOK_STATE_FOLDER:-/run/ebs-snapshots}
# Whether this process is the one that has begun the execution, and may end it.
OWN=

open_state() {
    [[ $EXECUTION =~ ^[0-9a-fA-F-]{36}$ ]] ||
        refuse "$NOT_READY" "executionId is \"$EXECUTION\"; allowed for a $COMMAND: a UUID"
    # A folder that somebody else has put there is not written to.
    # Two commands may come at the same moment, and one of them makes it.
    mkdir --mode=0700 -- "$STATE_FOLDER" 2>/dev/null || true
    [[ -O $STATE_FOLDER && ! -L $STATE_FOLDER ]] ||
        refuse "$NOT_READY" "$STATE_FOLDER is no folder of root's; allowed: a folder that root alone can write"
    chmod 0700 -- "$STATE_FOLDER"
    exec {STATE_LOCK}>"$STATE_FOLDER/lock"
    flock --wait 5 "$STATE_LOCK" || refuse "$NOT_READY" "$STATE_FOLDER/lock is held by another hook for longer than 5 s"
    find "$STATE_FOLDER" -mindepth 1 -maxdepth 1 -type d -mmin +2880 -exec rm -rf {} +
    FOLDER=$STATE_FOLDER/$EXECUTION
}

unlock_state() {
    exec {STATE_LOCK}>&-
}

# remember NAME VALUE: whole or not at all.
remember() {
    printf '%s\n' "$2" >"$FOLDER/$1.$BASHPID"
    mv -- "$FOLDER/$1.$BASHPID" "$FOLDER/$1"
}

recall() {
    cat -- "${2:-$FOLDER}/$1" 2>/dev/null || true
}

begin_execution() {
    mkdir -- "$FOLDER"
    mkfifo -- "$FOLDER/events"
    be_actor
    remember mode "$MODE"
    remember state preparing
    OWN=yes
}

# end_execution STATE REASON
end_execution() {
    OWN=
    remember by "${3:-$COMMAND}"
    remember reason "$2"
    remember state "$1"
}

# A process's id and when it was started: ids are used again. Nothing of one that has ended.
identity() {
    local stat
    read -r stat 2>/dev/null <"/proc/$1/stat" || return 0
    # After the name, which may have blanks: the state first, and the start time as the 20th.
    read -r -a stat <<<"${stat##*) }"
    if [[ ${stat[0]} != Z ]]; then
        printf '%s %s\n' "$1" "${stat[19]}"
    fi
}

# This process works on the execution.
be_actor() {
    local self=$BASHPID
    remember actor "$(identity "$self")"
}

# Whether who works on an execution still lives.
is_attended() {
    local actor
    actor=$(recall actor "$1")
    [[ $actor && $(identity "${actor%% *}") == "$actor" ]]
}

# Prints the execution that is open, or nothing. One that nobody attends and whose time is over is ended here.
open_execution() {
    local folder deadline
    for folder in "$STATE_FOLDER"/*/; do
        folder=${folder%/}
        [[ $(recall state "$folder") == preparing || $(recall state "$folder") == frozen ]] || continue
        deadline=$(recall deadline "$folder")
        if is_attended "$folder" || (($(date +%s) < ${deadline:-0})); then
            printf '%s\n' "${folder##*/}"
        else
            FOLDER=$folder give_up 'nobody came for it, and whoever held it is gone' >&2
        fi
    done
}

# wait_for_state STATES SECONDS
wait_for_state() {
    local until=$((SECONDS + $2))
    while [[ " $1 " != *" $(recall state) "* ]]; do
        if ((SECONDS >= until)) || ! { is_attended "$FOLDER" || [[ " $1 " == *" $(recall state) "* ]]; }; then
            return 1
        fi
        sleep 0.05
    done
}

# want_thaw [EVENT]: whoever holds the freeze thaws now, or as soon as it has frozen.
want_thaw() {
    : >"$FOLDER/thaw-wanted"
    # Opened for both, so that nobody waits for a reader that is gone.
    printf '%s\n' "${1:-post}" 1<>"$FOLDER/events"
}

# What is not frozen by now is not to be; and should it be frozen at this moment, it is thawed, and was not held.
call_off() {
    want_thaw off
}
