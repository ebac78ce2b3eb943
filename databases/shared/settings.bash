# Settings: from the environment, else from the configuration file, else as users of the earlier script know them.
# shellcheck shell=bash

readonly DEFAULT_CONFIG=/etc/$KIND-backup.conf
readonly DEFAULT_OPTION_FILE=/etc/$KIND-backup.cnf
readonly DEFAULT_FOLDER=/var/backups/$KIND
readonly SETTINGS=(DB_BACKUP_USER DB_BACKUP_OPTION_FILE DB_BACKUP_FOLDER DB_BACKUP_KEEP_DAYS DB_BACKUP_DATABASES
    DB_BACKUP_COMPRESSION DB_BACKUP_LOCK_TABLES DB_BACKUP_BINLOG_POSITION DB_BACKUP_SCRATCH_FOLDER)

is_setting() {
    [[ " ${SETTINGS[*]} " == *" $1 "* ]]
}

# check_file WHAT FILE MODES: MODES are the bits that nobody but the owner may have.
check_file() {
    local what=$1 file=$2 forbidden=$3 owner mode
    [[ -f $file && -r $file ]] || refuse "$what: $file is no file that can be read"
    read -r owner mode < <(stat --dereference --format '%u %a' -- "$file")
    ((owner == EUID || owner == 0)) ||
        refuse "$what: $file belongs to user $owner; allowed: root or the user who runs this (user $EUID)"
    if ((8#$mode & 8#$forbidden)); then
        if ((8#$forbidden == 8#077)); then
            refuse "$what: $file has mode $mode, and holds a password; allowed: 600 or 400 (chmod 600 $file)"
        fi
        refuse "$what: others than its owner can write $file (mode $mode); allowed: 644 or less (chmod go-w $file)"
    fi
}

# name_of LINE prints the name in a line, and nothing of a line without one: it may be a password, and what is said here
# goes into mails and tags. A value that is "=" alone is the end of a word in base 64.
name_of() {
    if [[ $1 =~ ^[[:space:]]*([A-Za-z0-9_-]+)[[:space:]]*=[[:space:]]*[^=[:space:]] ]]; then
        printf '%s' "${BASH_REMATCH[1]:0:40}"
    fi
}

# The file is read line by line, not sourced: it is run by root, and nothing in it is a command.
read_config_file() {
    local file=$1 line name value shown number=0
    while IFS= read -r line || [[ $line ]]; do
        number=$((number + 1))
        [[ $line =~ ^[[:space:]]*(#|$) ]] && continue
        shown=$(name_of "$line")
        [[ $line =~ ^[[:space:]]*([A-Za-z_][A-Za-z0-9_]*)=(.*)$ ]] ||
            refuse "$file, line $number: not NAME=value${shown:+ ($shown)}"
        name=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
        value=${value%"${value##*[![:space:]]}"}
        if [[ $value =~ ^\"(.*)\"$ || $value =~ ^\'(.*)\'$ ]]; then
            value=${BASH_REMATCH[1]}
        fi
        is_setting "$name" || refuse "$file, line $number: ${shown:-this} is no setting; allowed: ${SETTINGS[*]}"
        [[ ${!name+set} ]] || printf -v "$name" '%s' "$value"
    done <"$file"
}

read_settings() {
    local name config=${CONFIG_OPTION:-${DB_BACKUP_CONFIG-}}
    for name in "${!DB_BACKUP_@}"; do
        is_setting "$name" || [[ $name == DB_BACKUP_CONFIG ]] ||
            refuse "$name in the environment is no setting; allowed: ${SETTINGS[*]} DB_BACKUP_CONFIG"
    done
    if [[ $config || -e $DEFAULT_CONFIG ]]; then
        config=${config:-$DEFAULT_CONFIG}
        check_file 'configuration file' "$config" 022
        read_config_file "$config"
    fi
    for name in "${SETTINGS[@]}"; do
        [[ ! ${!name+set} || ${!name} ]] || refuse "$name is empty; allowed: a value, or no such line at all"
    done

    DB_BACKUP_USER=${DB_BACKUP_USER-}
    DB_BACKUP_OPTION_FILE=${DB_BACKUP_OPTION_FILE-}
    DB_BACKUP_FOLDER=${DB_BACKUP_FOLDER-$DEFAULT_FOLDER}
    DB_BACKUP_KEEP_DAYS=${DB_BACKUP_KEEP_DAYS-5}
    DB_BACKUP_DATABASES=${DB_BACKUP_DATABASES-all}
    DB_BACKUP_COMPRESSION=${DB_BACKUP_COMPRESSION-gzip}
    DB_BACKUP_LOCK_TABLES=${DB_BACKUP_LOCK_TABLES-undecided}
    DB_BACKUP_BINLOG_POSITION=${DB_BACKUP_BINLOG_POSITION-auto}
    DB_BACKUP_SCRATCH_FOLDER=${DB_BACKUP_SCRATCH_FOLDER-/var/tmp}
    allow DB_BACKUP_KEEP_DAYS '^[1-9][0-9]{0,4}$' 'whole days, 1 to 36500'
    ((DB_BACKUP_KEEP_DAYS <= 36500)) ||
        refuse "DB_BACKUP_KEEP_DAYS is \"$DB_BACKUP_KEEP_DAYS\"; allowed: whole days, 1 to 36500"
    allow DB_BACKUP_COMPRESSION '^(gzip|zstd)$' 'gzip, zstd'
    allow DB_BACKUP_LOCK_TABLES '^(yes|no|undecided)$' 'yes, no'
    allow DB_BACKUP_BINLOG_POSITION '^(auto|no)$' 'auto, no'
    allow DB_BACKUP_FOLDER '^/' 'a path that begins with /'
    allow DB_BACKUP_SCRATCH_FOLDER '^/' 'a path that begins with /'
    # Everybody sees a process's arguments, and its own user and root its environment.
    [[ ! ${MYSQL_PWD+set} ]] ||
        refuse 'MYSQL_PWD is set; allowed: the password in an option file that only its owner can read'
}

# allow NAME PATTERN WORDS
allow() {
    [[ ${!1} =~ $2 ]] || refuse "$1 is \"${!1}\"; allowed: $3"
}

# Sets CONNECTION, the arguments that every client begins with.
connection_options() {
    local file=$DB_BACKUP_OPTION_FILE user=$DB_BACKUP_USER
    if [[ ! $file && -e $DEFAULT_OPTION_FILE ]]; then
        file=$DEFAULT_OPTION_FILE
    elif [[ ! $file && -e ${HOME-}/.my.cnf ]]; then
        file=$HOME/.my.cnf
    fi
    CONNECTION=()
    OPTION_FILE_WORDS="there is no option file (looked for $DEFAULT_OPTION_FILE and ~/.my.cnf)"
    if [[ $file ]]; then
        check_file 'option file' "$file" 077
        file=$(readlink --canonicalize -- "$file")
        CONNECTION=("--defaults-extra-file=$file")
        OPTION_FILE_WORDS="the option file is $file"
        # ~/.my.cnf and ~/.mylogin.cnf are read after it, and would replace what it says.
        export HOME=$WORK
        unset MYSQL_HOME MYSQL_TEST_LOGIN_FILE
        if [[ ! $user ]] && grep --quiet --extended-regexp '^[[:space:]]*user[[:space:]]*=' -- "$file"; then
            return
        fi
    fi
    CONNECTION+=("--user=${user:-backup}")
}
