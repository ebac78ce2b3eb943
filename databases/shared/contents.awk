# Reads a dump, and prints what is in it, with tabs between the columns:
#   database NAME; table DATABASE NAME ROWS; binlog FILE; position NUMBER; header yes; completed yes; bytes NUMBER
# ROWS is counted where the variable rows is 1. A line break in data is written as \n, so that each line's beginning is
# the dump program's own, but for the bodies of routines, triggers and events, which stand between two DELIMITER lines.

{ bytes += length($0) + 1 }
$0 != "" { last = $0 }
header == "" { header = ($0 ~ /^(\/\*M?!999999|-- (MySQL|MariaDB) dump )/) ? "yes" : "no" }

/^DELIMITER ;;$/ { body = 1 }
/^DELIMITER ;$/ { body = 0 }
body { next }

/^-- Current Database: `/ {
    database = name_in($0)
    if (!(database in known)) {
        known[database]
        print "database\t" database
    }
    next
}
/^-- Table structure for table `/ {
    table = database "\t" name_in($0)
    tables[++count] = table
    next
}
/^-- Dumping data for table `/ { table = database "\t" name_in($0) }
/^-- CHANGE (MASTER|REPLICATION SOURCE) TO (MASTER|SOURCE)_LOG_FILE='/ {
    split($0, part, "'")
    print "binlog\t" part[2]
    position = $0
    sub(/.*_LOG_POS=/, "", position)
    print "position\t" position + 0
}

# MariaDB writes a line per row, MySQL a line per statement.
rows && /^\(/ { row_count[table]++ }
rows && /^INSERT INTO `/ && !/ VALUES$/ { row_count[table] += rows_in(substr($0, index($0, " VALUES ") + 8)) }

END {
    for (i = 1; i <= count; i++) print "table\t" tables[i] "\t" row_count[tables[i]] + 0
    print "header\t" header
    print "completed\t" (last ~ /^-- Dump completed/ ? "yes" : "no")
    printf "bytes\t%.0f\n", bytes
}

# The name between the line's first backtick and its last, in which a backtick is written twice.
function name_in(line) {
    line = substr(line, index(line, "`") + 1)
    sub(/`[^`]*$/, "", line)
    gsub(/``/, "`", line)
    return line
}

# Outside of strings a row ends and the next one begins with "),(".
function rows_in(values, parts, n, i, found) {
    gsub(/\\\\/, "", values)
    gsub(/\\'/, "", values)
    n = split(values, parts, "'")
    found = 1
    for (i = 1; i <= n; i += 2) found += gsub(/\),\(/, "", parts[i])
    return found
}
