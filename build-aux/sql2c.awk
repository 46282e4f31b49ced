# Statements of queue.sql, each under a "-- name: x" line, as an enum and a table of strings.
# awk -v as=h|c|schema -f sql2c.awk FILE
function esc(s,   i, c, out) {
    for (i = 1; (c = substr(s, i, 1)) != ""; i++) out = out (c == "\\" || c == "\"" ? "\\" : "") c
    return out
}
/^-- name: / { name[++n] = $3; next }
n && !/^[ \t]*--/ && !/^[ \t]*$/ { text[n] = text[n] "\n    \"" esc($0) "\\n\"" }
!n && as == "schema" { schema = schema "\n    \"" esc($0) "\\n\"" }
END {
    print "/* Made from SQL by sql2c.awk. */"
    if (as == "h") {
        print "#ifndef QETL_QUEUE_SQL_H\n#define QETL_QUEUE_SQL_H\n\nenum queue_sql {"
        for (i = 1; i <= n; i++) print "    SQL_" toupper(name[i]) ","
        print "    QUEUE_SQLS\n};\n\nstruct queue_sql_text { const char *name, *sql; };"
        print "extern const struct queue_sql_text queue_sql_texts[QUEUE_SQLS];\nextern const char queue_schema[];\n\n#endif"
    } else if (as == "c") {
        print "#include \"queue_sql.h\"\n\nconst struct queue_sql_text queue_sql_texts[QUEUE_SQLS] = {"
        for (i = 1; i <= n; i++) print "    [SQL_" toupper(name[i]) "] = { \"" name[i] "\"," text[i] " },"
        print "};"
    } else print "#include \"queue_sql.h\"\n\nconst char queue_schema[] =" schema ";"
}
