# The manifest beside a dump: docs/databases.md has its schema. One field a line, so that it is read without a parser.
# shellcheck shell=bash

readonly MANIFEST_SCHEMA=1

# Sets MANIFEST to the fields of the first level, by name, or to none where there is no such file.
declare -A MANIFEST
read_manifest() {
    local line name
    MANIFEST=()
    [[ -f $1 ]] || return 0
    while IFS= read -r line; do
        if [[ $line =~ ^\ \ \"([A-Za-z0-9]+)\":\ (.*[^,]),?$ ]]; then
            name=${BASH_REMATCH[1]} line=${BASH_REMATCH[2]}
            line=${line#\"}
            MANIFEST[$name]=${line%\"}
        fi
    done <"$1"
}

# json TEXT prints it as a JSON string.
json() {
    local text=$1 out='' char i
    text=${text//\\/\\\\}
    text=${text//\"/\\\"}
    if [[ $text == *[[:cntrl:]]* ]]; then
        for ((i = 0; i < ${#text}; i++)); do
            char=${text:i:1}
            if [[ $char == [[:cntrl:]] ]]; then
                printf -v char '\\u%04x' "'$char"
            fi
            out+=$char
        done
        text=$out
    fi
    printf '"%s"' "$text"
}

json_list() {
    local separator='' item
    printf '['
    for item; do
        printf '%s' "$separator"
        json "$item"
        separator=', '
    done
    printf ']'
}

json_databases() {
    local name tables
    awk -F '\t' '$1 == "table" {tables[$2]++} $1 == "database" {names[++n] = $2}
        END {for (i = 1; i <= n; i++) print names[i] "\t" tables[names[i]] + 0}' "$WORK/contents" |
        while IFS=$'\t' read -r name tables; do
            name=$(json "$name")
            printf '    {"name": %s, "tables": %s},\n' "$name" "$tables"
        done | sed '$ s/,$//'
}

write_manifest() {
    local binlog=null file position databases path bytes host version non_transactional
    if [[ $POSITION_WANTED ]]; then
        file=$(content binlog)
        file=$(json "$file")
        position=$(content position)
        binlog="{\"file\": $file, \"position\": $position}"
    fi
    databases=$(json_databases)
    path=$(json "$FOLDER/$DUMP_NAME_TODAY")
    bytes=$(stat --format %s -- "$PARTIAL")
    host=$(json "$SERVER_HOST")
    version=$(json "$SERVER_VERSION")
    non_transactional=$(json_list "${NON_TRANSACTIONAL[@]}")
    cat <<END
{
  "schema": $MANIFEST_SCHEMA,
  "status": "complete",
  "kind": "$KIND",
  "path": $path,
  "sha256": "$SHA256",
  "bytes": $bytes,
  "uncompressedBytes": $UNCOMPRESSED,
  "compression": "$DB_BACKUP_COMPRESSION",
  "begunAt": "$BEGUN",
  "endedAt": "$ENDED",
  "serverHost": $host,
  "serverPort": $SERVER_PORT,
  "serverVersion": $version,
  "lowerCaseTableNames": $LOWER_CASE_TABLE_NAMES,
  "innodbPageSize": $PAGE_SIZE,
  "consistency": "$CONSISTENCY",
  "binlog": $binlog,
  "databases": [
$databases
  ],
  "nonTransactionalTables": $non_transactional
}
END
}

# As `sha256sum --check` reads it in the dump's folder.
write_hash() {
    printf '%s  %s\n' "$SHA256" "$DUMP_NAME_TODAY"
}
