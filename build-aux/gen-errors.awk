# The page of errors: puts what `qetl --print-errors` prints into the places marked @ERRORS@ and @REJECTS@ of a page.
# awk -v errors=FILE -f gen-errors.awk PAGE.in
# A line is "error NAME CLASS EXIT MEANING HINT" or "reject NAME MEANING", with a tab between.
function cell(s) {
    gsub(/\|/, "\\|", s)
    return s
}
BEGIN {
    FS = "\t"
    while ((getline <errors) > 0)
        if ($1 == "error")
            codes = codes "\n| `" $2 "` | " $3 " | " $4 " | " cell($5) " | " cell($6) " |"
        else
            reasons = reasons "\n| `" $2 "` | " cell($3) " |"
}
/@ERRORS@/ { print "| code | class | exit | meaning | what to do |\n| --- | --- | --- | --- | --- |" codes; next }
/@REJECTS@/ { print "| reason | the row, or a value of it |\n| --- | --- |" reasons; next }
{ print }
