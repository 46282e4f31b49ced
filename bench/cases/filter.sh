# 2M rows through a filter (cat, mawk, Python), distinct =, and typical cleaning, against the same pipeline without
# shellcheck shell=bash
filter_site() { new_site 1 "$@"; qetlctl submit orders "$data/orders.csv"; } # LINE OF THE PIPELINE...
filter_none_before() { filter_site; }
filter_none() { drain; }
filter_none_rows() { site_rows; }
filter_cat_before() { filter_site 'filter = cat'; }
filter_cat() { drain; }
filter_cat_rows() { site_rows; }
filter_mawk_before() { filter_site "filter = mawk '{ print }'"; }
filter_mawk() { drain; }
filter_mawk_rows() { site_rows; }
filter_python_before() {
    printf '%s\n' 'import json, sys' 'for line in sys.stdin:' '    row = json.loads(line)' '    row["note"] = row["city"]' \
        '    print(json.dumps(row))' >"$data/filter.py"
    filter_site "filter = $(python_for json) $data/filter.py"
}
filter_python() { drain; }
filter_python_rows() { site_rows; }
filter_distinct_before() { filter_site 'distinct = id'; }
filter_distinct() { drain; }
filter_distinct_rows() { site_rows; }
filter_clean_before() {
    filter_site 'clean = city: trim, upper' '    note: trim, squeeze' '    channel: map(web = W, store = S, * = ?)' \
        '    quantity: range(0..1000)' '    sku: match(/^SKU-[0-9]{7}-/)' 'max_rejects = 1'
}
filter_clean() { drain; }
filter_clean_rows() { site_rows; }

case_filter() {
    rows=$(scaled 2000000)
    "$build/bench/gen" "$rows" >"$data/orders.csv"
    contender qetl 'no filter' '' filter_none
    contender qetl 'clean = trim, upper, squeeze, map, range, match' '' filter_clean
    contender qetl 'distinct = id' '' filter_distinct
    contender qetl 'filter = cat' '' filter_cat
    contender qetl 'filter = mawk' mawk filter_mawk
    contender qetl 'filter = Python, json' py:json filter_python
    race 'rows through a step' "$rows" rows/s "$(stat -c %s "$data/orders.csv")"
}
