#!/bin/bash
# The pages that real web servers make of folders: nginx, Apache and Caddy, each in its styles; whatever the names are, each object is
# found, fetched and loaded, once, and seen when it changes.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq

drain() { timeout 120 qetl drain --scan --max-wait 30s 2>"$work/drain"; }
scan() { qetlctl --json scan "$@" | jq -r '.scans[0] | "\(.listed) \(.found) \(.changed) \(.waiting) \(.jobs)"'; }
ids() { sql "SELECT group_concat(id, ' ') FROM (SELECT id FROM t_$1 ORDER BY id)"; }

names=(
    'a.csv' "a b 'c' %41 é.csv" 'quote".csv' 'amp&lt;.csv' '<b>.csv' 'semi;x=1.csv' 'hash#q?x.csv' 'colon:b.csv' 'javascript:x.csv'
    'http:x.csv' 'plus+.csv' 'per%2Fcent.csv' ' lead.csv' 'trail .csv' 'two..dots.csv' 'tilde~x.csv' 'star*[a].csv' 'brace{x}.csv'
    'back\slash.csv' 'dollar$x.csv' '@at,comma!.csv' "$(printf 'x%.0s' {1..200}).csv" 'sub dir/deep/b é.csv' 'sub dir/%25/c.csv'
)
raw=($'new\nline.csv' $'tab\t.csv' $'esc\033.csv' $'\xe9\xff.csv' $'sub dir/\xe9/d.csv') # names that JSON or HTML cannot show

tree() { # ROOT [NAME...]: a file a name, with its number as the row
    local root=$1 n=0 name
    shift
    for name; do
        n=$((n + 1))
        mkdir -p "$root/in/$(dirname "$name")"
        printf 'id\n%s\n' "$n" >"$root/in/$name" || bail "no file '$name'"
        touch -d '2025-03-04 05:06:07 UTC' "$root/in/$name"
    done
    printf x >"$root/in/note.txt"
    find "$root" -type d -exec chmod 755 {} +
}

site_of() { # URL STYLE...
    local url=$1 style
    shift
    new_site < <(for style; do
        printf '[pipeline %s]\nsource = %s/%s/in/**.csv\nevery = 1h\nsettle = 0\non_change = reload\ncolumns = id:integer!\ntable = warehouse.t_%s\n' \
            "$style" "$url" "$style" "$style"
    done)
}

pages() { # SERVER URL ROOT NUMBER-OF-FILES STYLE...
    local server=$1 url=$2 root=$3 n=$4 style
    shift 4
    site_of "$url" "$@"
    drain
    for style; do
        is "$server, $style: every name is found, fetched and loaded" "$(ids "$style")" "$(seq "$n" | paste -sd' ')"
        is "$server, $style: and known again" "$(scan "$style")" "$n 0 0 0 0"
    done
    printf 'id\n100\n' >"$root/in/sub dir/deep/b é.csv"
    for style; do
        is "$server, $style: a changed one is seen" "$(scan "$style")" "$n 0 1 0 1"
    done
    drain
    is "$server: and loaded, it alone" "$(for style; do sql "SELECT count(*) - $n, max(id) FROM t_$style"; done | sort -u)" '1|100'
}

start_service http
tree "$WWW" "${names[@]}" "${raw[@]}"
pages nginx "$HTTP" "$WWW" $((${#names[@]} + ${#raw[@]})) index
site_of "$HTTP" json
like 'nginx, json: names that its JSON cannot write are left out, which is said' "$(qetlctl scan json 2>&1)" 'fetch-refused .* names? w[a-z]+ left out: .*not UTF-8'
rm -rf "${WWW:?}/in"
tree "$WWW" "${names[@]}"
pages nginx "$HTTP" "$WWW" ${#names[@]} json

if try_service apache; then
    tree "$APACHEWWW" "${names[@]}" "${raw[@]}"
    pages Apache "$APACHE" "$APACHEWWW" $((${#names[@]} + ${#raw[@]})) plain fancy table narrow icons
else
    skip "$why" 16
fi
if try_service caddy; then
    tree "$CADDYWWW" "${names[@]}" "${raw[@]}"
    pages Caddy "$CADDY" "$CADDYWWW" $((${#names[@]} + ${#raw[@]})) html json
else
    skip "$why" 7
fi
done_testing
