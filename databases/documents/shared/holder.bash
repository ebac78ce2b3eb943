# Who holds a freeze: a process of its own, which outlives the pre-script and thaws when the post-script says so, when
# the time is over, or when the database's session has ended, whichever is first.
# A hook with a session defines take_lock, release_lock and end_session.
# shellcheck shell=bash disable=SC2034,SC2153 # The parts of a script share variables.

# In a process group of its own: the agent kills that of a script whose time is over.
start_holder() {
    remember dump "$DUMP_JSON"
    remember disks "$DISKS_JSON"
    OWN=
    set -m
    guard </dev/null >>"$FOLDER/log" 2>&1 &
    set +m
}

# Stands behind the holder, should that be killed, or should a file system not let itself be frozen.
guard() {
    local holder
    trap - EXIT
    trap '' HUP PIPE
    set +e
    be_actor
    hold &
    holder=$(identity "$!")
    watch_preparing "$holder"
    wait "${holder%% *}" 2>/dev/null
    case $(recall state) in
        preparing | frozen) give_up 'the process that held it was ended' ;;
    esac
}

# What was frozen first is not kept waiting for what cannot be frozen, nor is the lock. The holder that hangs is not
# killed: what it freezes late it thaws itself, since it finds that it was called off.
watch_preparing() {
    local holder=$1 pause now deadline called_off=0
    mkfifo -- "$FOLDER/pause"
    exec {pause}<>"$FOLDER/pause"
    while [[ $(recall state) == preparing && $(identity "${holder%% *}") == "$holder" ]]; do
        # No process of its own, as sleep would be.
        read -r -t 0.1 -u "$pause" || true
        [[ -e $FOLDER/mounts || -e $FOLDER/locked ]] || continue
        deadline=$(recall deadline)
        printf -v now '%(%s)T' -1
        if [[ -e $FOLDER/thaw-wanted ]]; then
            called_off=$((called_off + 1))
        fi
        # A holder that does not hang sees by itself, within a second, that it was called off.
        if ((called_off > 10 || now > ${deadline:-now})); then
            call_off
            give_up_preparing
            break
        fi
    done
    exec {pause}>&-
}

give_up_preparing() {
    local words
    words="not everything could be frozen in time, and $(tail -n 1 -- "$FOLDER/mounts" 2>/dev/null || true)"
    thaw_all || words+=" ($STUCK)"
    end_session
    [[ $(recall state) == preparing ]] || return 0
    remember by watchdog
    remember reason "$words may still be about to freeze; the rest is thawed"
    remember state stuck
}

# give_up REASON thaws for somebody who is gone.
give_up() {
    local state=thawed reason=$1
    thaw_all || state=stuck reason="$1; $STUCK"
    remember by watchdog
    remember reason "$reason"
    remember state "$state"
}

hold() {
    local event begun by=watchdog
    REASON='the time was over before anything was frozen'
    trap 'give_up "it was stopped by a signal"; exit' TERM INT
    exec {EVENTS}<>"$FOLDER/events"
    if ! make_ready || ! may_go_on || ! take_lock_noted || ! may_go_on || ! freeze_all || ! may_go_on; then
        local state=failed
        if [[ -e $FOLDER/thaw-wanted ]]; then
            REASON='it was called off before everything was frozen'
        fi
        thaw_all || state=stuck REASON+="; $STUCK"
        release_lock || true
        remember by holder
        remember reason "$REASON"
        remember state "$state"
        return
    fi
    begun=$(date +%s.%N)
    remember state frozen
    if ! read -r -t "$FREEZE_SECONDS" -u "$EVENTS" event; then
        event='time'
    fi
    end_hold "$event" "$begun"
}

may_go_on() {
    [[ ! -e $FOLDER/thaw-wanted ]]
}

# The time runs from before the lock, for which others wait already while it is asked for.
take_lock_noted() {
    remember deadline "$(($(date +%s) + FREEZE_SECONDS))"
    take_lock || return 1
    [[ ! ${ASK-} ]] || : >"$FOLDER/locked"
}

# end_hold EVENT BEGUN
end_hold() {
    local event=$1 begun=$2 by=watchdog state=thawed reason='' consistency=application
    thaw_all || state=stuck
    case $event in
        post) by=post ;;
        off) reason='not everything was frozen in time, and it was thawed' ;;
        time) reason="nobody came within $FREEZE_SECONDS s, and it was thawed" ;;
        session) reason='the session that held the lock had ended, and it was thawed' ;;
    esac
    if ! release_lock && [[ ! $reason ]]; then
        consistency=crash
        reason='the lock was lost before the file systems were thawed'
    fi
    # What was thawed in part, or by nobody's wish, is not held, whoever thaws the rest.
    if [[ $event != post || $state == stuck ]]; then
        consistency=crash
    fi
    if [[ $state == stuck ]]; then
        reason="${reason:+$reason; }$STUCK"
    fi
    remember by "$by"
    remember reason "$reason"
    remember consistency "$consistency"
    remember words "thawed after $(awk -v a="$begun" -v b="$(date +%s.%N)" 'BEGIN {printf "%.1f", b - a}') s"
    remember state "$state"
}

# The post-script's part.
thaw_execution() {
    if [[ $(recall mode) == dump ]]; then
        remember words 'nothing was frozen; the dump was made by the pre-script'
        end_execution thawed "$(recall reason)" post
        return
    fi
    want_thaw
    if ! wait_for_state 'thawed failed stuck' "$((EXECUTION_SECONDS - 2))"; then
        if is_attended "$FOLDER"; then
            # It does not answer; nothing stays frozen for that.
            give_up 'the process that holds it did not thaw in time'
        else
            give_up 'the process that held it was gone'
        fi
    fi
}

# Hooks without a session.
take_lock() {
    :
}
release_lock() {
    :
}
end_session() {
    :
}
