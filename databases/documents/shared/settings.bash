# Settings of the instance: a parameter of the command, else the environment, else the configuration file.
# shellcheck shell=bash disable=SC2034,SC2153 # The parts of a script share variables.

readonly SETTINGS=(HOOK_MODE HOOK_PATHS HOOK_OPTION_FILE HOOK_LOCK_SECONDS HOOK_DUMP_PROGRAM HOOK_POSTGRES_USER
    HOOK_POSTGRES_HOST HOOK_POSTGRES_PORT)
readonly CONFIG=${HOOK_CONFIG:-/etc/ebs-snapshots-hook.conf}

# name_of LINE prints the name in a line, and nothing of a line without one: it may be a password, and what is said here
# goes into mails and tags. A value that is "=" alone is the end of a word in base 64.
name_of() {
    if [[ $1 =~ ^[[:space:]]*([A-Za-z0-9_-]+)[[:space:]]*=[[:space:]]*[^=[:space:]] ]]; then
        printf '%s' "${BASH_REMATCH[1]:0:40}"
    fi
}

# Root runs this, and nothing in the file is a command: it is read line by line.
read_settings() {
    local name value line shown owner mode number=0
    if [[ -e $CONFIG ]]; then
        read -r owner mode < <(stat --dereference --format '%u %a' -- "$CONFIG")
        ((owner == 0 && (8#$mode & 8#022) == 0)) ||
            refuse "$NOT_READY" "$CONFIG belongs to user $owner and has mode $mode;" \
                'allowed: root alone may write it (chown root, chmod 644)'
        while IFS= read -r line || [[ $line ]]; do
            number=$((number + 1))
            [[ ! $line =~ ^[[:space:]]*(#|$) ]] || continue
            shown=$(name_of "$line")
            [[ $line =~ ^([A-Z_]+)=(.*)$ && " ${SETTINGS[*]} " == *" ${BASH_REMATCH[1]} "* ]] ||
                refuse "$NOT_READY" "$CONFIG, line $number${shown:+ ($shown)} is no setting; allowed: NAME=value, with one of ${SETTINGS[*]}"
            name=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
            value=${value%"${value##*[![:space:]]}"}
            [[ ${!name+set} ]] || printf -v "$name" '%s' "$value"
        done <"$CONFIG"
    fi
    MODE=${PARAMETER_MODE:-${HOOK_MODE:-$DEFAULT_MODE}}
    [[ " $MODES " == *" $MODE "* ]] || refuse "$NOT_READY" "mode is \"$MODE\"; allowed for $KIND: ${MODES// /, }"
    PATHS=${PARAMETER_PATHS:-${HOOK_PATHS-}}
}
