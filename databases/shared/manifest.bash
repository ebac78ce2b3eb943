# The manifest beside a dump: docs/databases.md has its schema. One field a line, so that it is read without a parser.
# shellcheck shell=bash

readonly MANIFEST_SCHEMA=1

# manifest_field FILE NAME prints a field of the first level, or nothing.
manifest_field() {
    [[ ! -f $1 ]] || sed --quiet "s/^  \"$2\": \"\\{0,1\\}\\([^\"]*[^\",]\\)\"\\{0,1\\},\\{0,1\\}\$/\\1/p" -- "$1"
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

write_manifest() {
    local binlog=null databases
    if [[ $POSITION_WANTED ]]; then
        binlog="{\"file\": $(json "$(content binlog)"), \"position\": $(content position)}"
    fi
    databases=$(
        awk -F '\t' '$1 == "table" {tables[$2]++} $1 == "database" {names[++n] = $2}
            END {for (i = 1; i <= n; i++) print names[i] "\t" tables[names[i]] + 0}' "$WORK/contents" |
            while IFS=$'\t' read -r name tables; do
                printf '    {"name": %s, "tables": %s},\n' "$(json "$name")" "$tables"
            done | sed '$ s/,$//'
    )
    cat <<END
{
  "schema": $MANIFEST_SCHEMA,
  "status": "complete",
  "kind": "$KIND",
  "path": $(json "$FOLDER/$DUMP_NAME_TODAY"),
  "sha256": "$SHA256",
  "bytes": $(stat --format %s -- "$PARTIAL"),
  "uncompressedBytes": $UNCOMPRESSED,
  "compression": "$DB_BACKUP_COMPRESSION",
  "begunAt": "$BEGUN",
  "endedAt": "$ENDED",
  "serverHost": $(json "$SERVER_HOST"),
  "serverPort": $SERVER_PORT,
  "serverVersion": $(json "$SERVER_VERSION"),
  "lowerCaseTableNames": $LOWER_CASE_TABLE_NAMES,
  "innodbPageSize": $PAGE_SIZE,
  "consistency": "$CONSISTENCY",
  "binlog": $binlog,
  "databases": [
$databases
  ],
  "nonTransactionalTables": $(json_list "${NON_TRANSACTIONAL[@]}")
}
END
}

# As `sha256sum --check` reads it in the dump's folder.
write_hash() {
    printf '%s  %s\n' "$SHA256" "$DUMP_NAME_TODAY"
}
