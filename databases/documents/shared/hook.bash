# What the hooks share: how one is called, what it answers, and the order of a pre-script and its post-script.
# Each hook defines check_ready and describe, and either make_ready (for a freeze) or make_dump.
# shellcheck shell=bash disable=SC2034,SC2153 # The parts of a script share variables.

# The SSM agent's environment has little in it.
export LC_ALL=C HOME=${HOME:-/root}
PATH=${PATH:-}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 077

# As Data Lifecycle Manager reads them.
readonly PRE_FAILED=201 POST_FAILED=202 THAWED_BY_ITSELF=203 ENDED_OR_OTHER_OPEN=204 NOT_OPEN=205 NOT_READY=206

ANSWERED=
DUMP_JSON=
DISKS_JSON=

say() {
    printf '%s\n' "$*"
}

# json TEXT prints it as a JSON string.
json() {
    local text=$1
    text=${text//\\/\\\\}
    text=${text//\"/\\\"}
    text=${text//[[:cntrl:]]/ }
    printf '"%s"' "$text"
}

# json_list TEXT… in order, each on its own.
json_list() {
    local item list=''
    if (($#)); then
        while IFS= read -r item; do
            list+=${list:+,}$(json "$item")
        done < <(printf '%s\n' "$@" | sort)
    fi
    printf '[%s]' "$list"
}

# answer CODE CONSISTENCY REASON ends the script with the line that its caller reads.
answer() {
    local code=$1 consistency=$2 reason=${3-}
    ANSWERED=yes
    printf '{"version":1,"consistency":"%s"' "$consistency"
    if [[ $reason ]]; then
        printf ',"reason":%s' "$(json "$reason")"
    fi
    if [[ $DUMP_JSON ]]; then
        printf ',"dump":%s' "$DUMP_JSON"
    fi
    if [[ $DISKS_JSON && $COMMAND == pre-script ]]; then
        printf ',%s' "$DISKS_JSON"
    fi
    printf '}\n'
    exit "$code"
}

# refuse CODE WORDS…
refuse() {
    local code=$1
    shift
    # An execution that has failed is not open any more.
    if [[ $OWN ]]; then
        end_execution failed "$*"
    fi
    say "$*" >&2
    answer "$code" crash "$*"
}

# What nobody has foreseen ends with an answer, too.
unforeseen() {
    local status=$? code=$PRE_FAILED
    if [[ ! $ANSWERED ]]; then
        if [[ $COMMAND == post-script ]]; then
            code=$POST_FAILED
        fi
        refuse "$code" "the $KIND hook ended with status $status in its $COMMAND; its standard error says more"
    fi
}

first_program() {
    local name
    for name; do
        if command -v -- "$name"; then
            return
        fi
    done
    return 1
}

main() {
    trap unforeseen EXIT
    local program
    for program in awk find findmnt flock fsfreeze lsblk readlink stat sync tac timeout; do
        first_program "$program" >/dev/null || refuse "$NOT_READY" "the program $program is not installed"
    done
    ((EUID == 0)) || refuse "$NOT_READY" "this runs as user $EUID; allowed: root, as the SSM agent does"
    read_settings
    case $COMMAND in
        pre-script) run_pre ;;
        post-script) run_post ;;
        dry-run)
            check_ready
            describe
            answer 0 application
            ;;
        *) refuse "$NOT_READY" "command is \"$COMMAND\"; allowed: pre-script, post-script, dry-run" ;;
    esac
}

run_pre() {
    local state open
    open_state
    state=$(recall state)
    case $state in
        '') ;;
        preparing | frozen)
            # The same command, delivered twice: one freeze, and the same answer.
            unlock_state
            answer_when_frozen
            ;;
        *)
            refuse "$ENDED_OR_OTHER_OPEN" "execution $EXECUTION has ended ($state by $(recall by)): $(recall reason);" \
                'allowed: an executionId that was not used yet'
            ;;
    esac
    open=$(open_execution)
    if [[ $open ]]; then
        refuse "$ENDED_OR_OTHER_OPEN" "execution $open is open: its post-script has not come yet, nor its time-out;" \
            'allowed: one at a time'
    fi
    begin_execution
    unlock_state
    check_ready
    describe
    if [[ $MODE == dump ]]; then
        make_dump
        remember dump "$DUMP_JSON"
        remember consistency "$DUMP_CONSISTENCY"
        remember reason "$DUMP_REASON"
        remember deadline "$(($(date +%s) + FREEZE_SECONDS))"
        remember state frozen
        answer 0 "$DUMP_CONSISTENCY" "$DUMP_REASON"
    fi
    find_disks
    start_holder
    answer_when_frozen
}

# Frozen, or not, within the time that the command has.
answer_when_frozen() {
    wait_for_state 'frozen thawed failed stuck' "$((EXECUTION_SECONDS - 2))" || true
    DUMP_JSON=$(recall dump) DISKS_JSON=$(recall disks)
    case $(recall state) in
        frozen)
            if [[ $(recall mode) == dump ]]; then
                answer 0 "$(recall consistency)" "$(recall reason)"
            fi
            answer 0 application
            ;;
        thawed | failed)
            OWN=
            refuse "$PRE_FAILED" "nothing is frozen: $(recall reason)"
            ;;
        stuck)
            # Not the code of a pre-script that failed, after which no post-script would come.
            OWN=
            refuse "$POST_FAILED" "it may still be frozen: $(recall reason)"
            ;;
    esac
    # What comes of it later is thawed at once.
    call_off
    OWN=
    if [[ -e $FOLDER/mounts || -e $FOLDER/locked ]]; then
        refuse "$POST_FAILED" "it may still be frozen: not everything was frozen within $((EXECUTION_SECONDS - 2)) s"
    fi
    refuse "$PRE_FAILED" "nothing was frozen within $((EXECUTION_SECONDS - 2)) s, and what comes later is thawed at once"
}

run_post() {
    local state
    open_state
    state=$(recall state)
    case $state in
        preparing | frozen)
            unlock_state
            thaw_execution
            ;;
        stuck)
            # Part of it was thawed earlier, perhaps before the snapshot.
            remember consistency crash
            give_up "a later post-script thawed the rest; before that: $(recall reason)"
            ;;
        '')
            # Should its pre-script come after it, then it freezes nothing.
            begin_execution
            end_execution closed 'its post-script came first'
            OWN=
            refuse "$NOT_OPEN" "execution $EXECUTION has had no pre-script here; nothing was frozen by it"
            ;;
        closed | failed)
            refuse "$NOT_OPEN" "execution $EXECUTION froze nothing: $(recall reason)"
            ;;
    esac
    answer_how_thawed
}

answer_how_thawed() {
    local reason
    DUMP_JSON=$(recall dump)
    reason=$(recall reason)
    case $(recall state),$(recall by) in
        thawed,post) ;;
        thawed,*) answer "$THAWED_BY_ITSELF" crash "$reason" ;;
        stuck,*) answer "$POST_FAILED" crash "$reason" ;;
        *) answer "$NOT_OPEN" crash "execution $EXECUTION froze nothing: $reason" ;;
    esac
    say "$(recall words)"
    answer 0 "$(recall consistency)" "$reason"
}
