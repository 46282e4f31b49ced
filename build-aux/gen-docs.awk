# The manual page of the ini: puts the keys that `qetl --print-keys` prints into the place marked @KEYS@ of a page.
# awk -v keys=FILE -f gen-docs.awk PAGE.in
# A line of keys is "section NAME help" or "key SECTION NAME kind default range help", with a tab between.

# Text of a table as mdoc: no escapes, no macro at the beginning of a line, no sentence end that is none.
function roff(s) {
    gsub(/\\/, "\\e", s)
    gsub(/"/, "\\(dq", s)
    return s
}
function line(s) { return s ~ /^[.']/ ? "\\&" roff(s) : roff(s) }
function print_key(f,    facts) {
    facts = f[4]
    if (f[6] != "") facts = facts ": " roff(f[6])
    if (f[5] == "(needed)") facts = facts "; needed"
    else if (f[5] != "") facts = facts "; default " roff(f[5])
    print ".It Ic " f[3] "\n(" facts ")\n.br\n" line(f[7]) "."
}
function print_keys(    text, f, open) {
    while ((getline text < keys) > 0) {
        split(text, f, "\t")
        if (f[1] == "section") {
            if (open) print ".El"
            print ".Ss [" f[2] "]\n" line(f[3]) ".\n.Bl -tag -width Ds"
            open = 1
        } else {
            print_key(f)
        }
    }
    print ".El"
}
/@KEYS@/ { print_keys(); next }
{ print }
