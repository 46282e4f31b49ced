# one small file, submit to loaded: qetlctl submit --wait
# shellcheck shell=bash
case_start() {
    local times
    "$build/bench/gen" 10 >"$data/small.csv"
    new_site 1 >/dev/null
    qetl all >"$work/log" 2>&1 9>&- &
    started $! qetlctl submit orders "$data/small.csv" --wait || { failed qetl 'qetl all'; return; }
    for _ in $(seq "$repeat"); do
        times=$(for _ in $(seq 40); do
            "$build/bench/measure" "$work/took" qetlctl submit orders "$data/small.csv" --wait >"$work/log" 2>&1 && cut -d ' ' -f 1 "$work/took"
        done | sort -n)
        [ "$(wc -l <<<"$times")" = 40 ] || { failed qetl 'a job was not loaded'; return; }
        figure 'submit to loaded, p50' qetl qetl ms "$(sed -n 20p <<<"$times" | awk '{ print $1 * 1000 }')"
        figure 'submit to loaded, worst of 40' qetl qetl ms "$(tail -n 1 <<<"$times" | awk '{ print $1 * 1000 }')"
    done
    stop_servers
}
