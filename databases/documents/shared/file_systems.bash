# The file systems that data is on: which they are, whether they can be frozen, and freezing them.
# shellcheck shell=bash disable=SC2034,SC2153 # The parts of a script share variables.

# What must go on writing while data is frozen: the SSM agent, which delivers the post-script, the script itself, and
# the system's own logs and temporary files.
readonly SYSTEM_PATHS=(/var/snap/amazon-ssm-agent /var/lib/amazon/ssm /var/log /var/tmp /var /run /tmp /etc /usr /)
readonly FREEZABLE=' ext3 ext4 xfs btrfs '

# mount_of PATH COLUMN
mount_of() {
    findmnt --noheadings --first-only --output "$2" --target "$1" | sed 's/[[:space:]]*$//'
}

# Sets MOUNTS to the mount points of the file systems that the paths are on, each once, or refuses.
# find_file_systems WHAT PATH…
find_file_systems() {
    local what=$1 path device type system found=' '
    shift
    MOUNTS=()
    local -A used_by=()
    for system in "$STATE_FOLDER" "${SYSTEM_PATHS[@]}"; do
        [[ ! -e $system ]] || used_by[$(mount_of "$system" MAJ:MIN)]=$system
    done
    for path; do
        [[ -e $path ]] || refuse "$NOT_READY" "$what: $path does not exist on this instance"
        device=$(mount_of "$path" MAJ:MIN)
        type=$(mount_of "$path" FSTYPE)
        [[ $found != *" $device "* ]] || continue
        if [[ ${used_by[$device]-} ]]; then
            refuse "$NOT_READY" "$what: $path is on the file system of ${used_by[$device]} ($(mount_of "$path" SOURCE))," \
                'which cannot be frozen safely, since the SSM agent and this script work there;' \
                "allowed: a file system of its own for the data${WITHOUT_FREEZE-}"
        fi
        [[ $FREEZABLE == *" $type "* ]] ||
            refuse "$NOT_READY" "$what: $path is on a file system of type $type; allowed:${FREEZABLE% }"
        found+="$device "
        MOUNTS+=("$(mount_of "$path" TARGET)")
    done
    ((${#MOUNTS[@]})) || refuse "$NOT_READY" "$what: there is no file system to freeze"
}

# volume_of DEVICE prints the id of the EBS volume that a device is on, where it is one and shows it.
volume_of() {
    local type serial volumes=' '
    while read -r type serial; do
        if [[ $type == disk && $serial =~ ^vol-?([0-9a-f]+)$ ]]; then
            [[ $volumes == *" vol-${BASH_REMATCH[1]} "* ]] || volumes+="vol-${BASH_REMATCH[1]} "
        elif [[ $type == disk ]]; then
            return
        fi
    done < <(lsblk --inverse --noheadings --list --output TYPE,SERIAL -- "$1" 2>/dev/null || true)
    read -r -a volumes <<<"$volumes"
    if ((${#volumes[@]} == 1)); then
        printf '%s\n' "${volumes[0]}"
    fi
}

# Sets DISKS_JSON to the volumes that the mounts are on, and to the devices that do not show one, as two fields.
find_disks() {
    local mount source name type serial found
    local -A volumes=() unknown=()
    for mount in "${MOUNTS[@]}"; do
        while IFS= read -r source; do
            source=${source%%\[*} found=
            while read -r name type serial; do
                [[ $name ]] || continue
                case $type in
                    part | lvm | crypt | dm | mpath | md | linear | raid*) continue ;;
                esac
                found=yes
                if [[ $type == disk && $serial =~ ^vol-?([0-9a-f]+)$ ]]; then
                    volumes["vol-${BASH_REMATCH[1]}"]=yes
                else
                    unknown[$name]=yes
                fi
            done < <(lsblk --inverse --noheadings --list --paths --output NAME,TYPE,SERIAL -- "$source" 2>/dev/null || true)
            [[ $found ]] || unknown[$source]=yes
        done < <(devices_of "$mount")
    done
    DISKS_JSON="\"volumes\":$(json_list "${!volumes[@]}"),\"unknownDevices\":$(json_list "${!unknown[@]}")"
}

# A file system of btrfs may be on several devices, of which one is its source.
devices_of() {
    local device several=/sys/fs/btrfs/
    several+=$(mount_of "$1" UUID)/devices
    if [[ $(mount_of "$1" FSTYPE) == btrfs && -d $several ]]; then
        for device in "$several"/*; do
            printf '/dev/%s\n' "${device##*/}"
        done
    else
        mount_of "$1" SOURCE
    fi
}

describe_file_systems() {
    local mount source volume
    for mount in "${MOUNTS[@]}"; do
        source=$(mount_of "$mount" SOURCE)
        volume=$(volume_of "${source%%\[*}")
        say "$1 $mount ($source, $(mount_of "$mount" FSTYPE)${volume:+, $volume})"
    done
}

# Most is written before anything waits, so that the freeze itself is short.
write_out() {
    local mount
    for mount in "${MOUNTS[@]}"; do
        sync --file-system -- "$mount"
    done
}

# Each mount is noted before it is frozen, so that whoever thaws forgets none.
freeze_all() {
    local mount words
    for mount in "${MOUNTS[@]}"; do
        printf '%s\n' "$mount" >>"$FOLDER/mounts"
        # Asked after that, so that whoever calls it off, and then finds no mount, can say that nothing is frozen.
        may_go_on || return 1
        words=$(fsfreeze --freeze -- "$mount" 2>&1) || {
            REASON="$mount could not be frozen: $words"
            return 1
        }
    done
}

# Sets STUCK to what is still frozen. One that somebody else has thawed is thawed.
thaw_all() {
    local mount words
    STUCK=
    [[ -e $FOLDER/mounts ]] || return 0
    while IFS= read -r mount; do
        words=$(fsfreeze --unfreeze -- "$mount" 2>&1) || [[ $words == *'Invalid argument'* ]] ||
            STUCK+="${STUCK:+; }$mount could not be thawed: $words"
    done < <(tac -- "$FOLDER/mounts")
    [[ ! $STUCK ]]
}
