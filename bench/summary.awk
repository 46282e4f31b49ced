# Samples of bench/run to a table (as=text) or to JSON lines, one a figure (as=json, with host= the JSON of the machine's facts).
# A sample: CASE FIGURE KIND WHO UNIT VALUE CPU RSS_KIB MB_S, by tabs; KIND is qetl, peer or limit; empty where not known.
function sort(v, n,    i, j, x) {
    for (i = 2; i <= n; i++) {
        x = v[i]
        for (j = i - 1; j > 0 && v[j] > x; j--) v[j + 1] = v[j]
        v[j + 1] = x
    }
}
function column(k, c,    i, n) { # fills vals, sorted; gives how many
    split("", vals)
    for (i = 1; i <= runs[k]; i++) if (sample[k, i, c] != "") vals[++n] = sample[k, i, c] + 0
    sort(vals, n)
    return n
}
function middle(n) { return n ? (n % 2 ? vals[(n + 1) / 2] : (vals[n / 2] + vals[n / 2 + 1]) / 2) : "" }
function short(x) {
    if (x == "") return ""
    return x >= 1e7 ? sprintf("%.1fM", x / 1e6) : x >= 1e6 ? sprintf("%.2fM", x / 1e6) : x >= 1e4 ? sprintf("%.0fk", x / 1e3) : \
        x >= 1e3 ? sprintf("%.2fk", x / 1e3) : x >= 100 ? sprintf("%.0f", x) : sprintf("%.3g", x)
}
function number(x) { return x == "" ? "null" : sprintf("%.10g", x) }
function text(s) { gsub(/\\/, "\\\\&", s); gsub(/"/, "\\\"", s); return "\"" s "\"" }
function better(a, b, unit) { return a == "" || b == "" || a == 0 || b == 0 ? "" : unit == "ms" || unit == "MB" ? b / a : a / b }
function facts(k,    n) {
    n = column(k, 1); med[k] = middle(n); low[k] = vals[1]; high[k] = vals[n]
    cpu[k] = middle(column(k, 2))
    n = column(k, 3); rss[k] = n ? vals[n] : ""
    mbs[k] = middle(column(k, 4))
}
function json(k) {
    return "\"value\":" number(med[k]) ",\"min\":" number(low[k]) ",\"max\":" number(high[k]) ",\"runs\":" runs[k] \
        ",\"mb_s\":" number(mbs[k]) ",\"cpu_s\":" number(cpu[k]) ",\"rss_bytes\":" (rss[k] == "" ? "null" : sprintf("%.0f", rss[k] * 1024))
}
function line(k, own,    r) {
    r = k == own || kind[own] != "qetl" ? "" : better(med[own], med[k], unit[k])
    printf "  %-58s %9s %-9s %-17s %8s %8s %8s %8s\n", (kind[k] == "limit" ? "limit: " : "") who[k], short(med[k]), unit[k],
        "(" short(low[k]) " to " short(high[k]) ")", short(mbs[k]), short(cpu[k]), rss[k] == "" ? "" : sprintf("%.1f", rss[k] / 1024),
        r == "" ? "" : sprintf("%.2f", r)
}
BEGIN { FS = "\t" }
{
    f = $1 "\t" $2
    if (!(f in members)) { figures[++nf] = f; members[f] = 0 }
    k = f "\t" $3 "\t" $4
    if (!(k in runs)) { member[f, ++members[f]] = k; kind[k] = $3; who[k] = $4; unit[k] = $5 }
    runs[k]++
    for (c = 1; c <= 4; c++) sample[k, runs[k], c] = $(c + 5)
}
END {
    for (i = 1; i <= nf; i++) {
        f = figures[i]; own = ""
        split(f, name, "\t")
        for (m = 1; m <= members[f]; m++) { facts(member[f, m]); if (own == "" && kind[member[f, m]] == "qetl") own = member[f, m] }
        if (own == "") own = member[f, 1] # a figure of the machine or of peers alone
        if (as == "text") {
            printf "%-60s %9s %-9s %-17s %8s %8s %8s %8s\n", name[1] ": " name[2], "median", "", "(min to max)", "MB/s", "CPU s", "RSS MB", "qetl is"
            for (m = 1; m <= members[f]; m++) line(member[f, m], own)
            continue
        }
        printf "{\"case\":%s,\"name\":%s,\"unit\":%s,%s,\"peers\":[", text(name[1]), text(name[2]), text(unit[own]), json(own)
        first = 1
        for (m = 1; m <= members[f]; m++) {
            k = member[f, m]
            if (k == own) continue
            printf "%s{\"name\":%s,\"kind\":%s,%s,\"ratio\":%s}", first ? "" : ",", text(who[k]), text(kind[k]), json(k), number(better(med[own], med[k], unit[k]))
            first = 0
        }
        printf "],\"host\":%s}\n", host
    }
}
