# what the machine itself gives: memory, fsync, disk
# shellcheck shell=bash
case_limits() {
    local what value unit
    for _ in $(seq "$repeat"); do
        "$build/bench/limits" "$data" >"$work/lines" 2>"$work/log" || { failed limits 'bench/limits'; return; }
        while IFS=$'\t' read -r what value unit; do figure "$what" limit machine "$unit" "$value"; done <"$work/lines"
    done
}
