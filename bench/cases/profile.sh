# what profile = yes costs: one plain CSV, file to committed SQLite rows, and small jobs, with it and without
# shellcheck shell=bash
profile_no_before() { new_site 1; qetlctl submit orders "$data/orders.csv"; }
profile_no() { drain; }
profile_no_rows() { site_rows; }
profile_yes_before() { new_site 1 'profile = yes'; qetlctl submit orders "$data/orders.csv"; }
profile_yes() { drain; }
profile_yes_rows() { site_rows; }
small_no_before() { new_site 1; submit_numbered "$jobs" "$data/small.csv"; }
small_no() { drain; }
small_no_rows() { site_rows; }
small_yes_before() { new_site 1 'profile = yes'; submit_numbered "$jobs" "$data/small.csv"; }
small_yes() { drain; }
small_yes_rows() { site_rows; }

case_profile() {
    rows=$(scaled 10800000)
    "$build/bench/gen" "$rows" >"$data/orders.csv"
    contender qetl 'profile = no' '' profile_no
    contender qetl 'profile = yes' '' profile_yes
    race 'profile, one file' "$rows" rows/s "$(stat -c %s "$data/orders.csv")"
    jobs=$(scaled 20000) rows=$((jobs * 10))
    export jobs
    "$build/bench/gen" 10 >"$data/small.csv"
    contender qetl 'profile = no' '' small_no
    contender qetl 'profile = yes' '' small_yes
    race 'profile, small jobs' "$rows" rows/s "$(stat -c %s "$data/small.csv")"
}
