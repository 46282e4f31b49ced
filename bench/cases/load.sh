# staged files to committed rows, small jobs to committed, against bound INSERTs, one transaction a job, cp and fsync
# shellcheck shell=bash
#
# START OF A LINE of bench/load, FIGURE, KIND, WHO
load_lines="typed rows to staged files, on disk|typed rows to staged files|qetl|qetl
staged files to committed, append to none|staged to committed, empty table|qetl|qetl
staged files to committed, append to as many|staged to committed, table as large|qetl|qetl
peer: INSERT of bound values|staged to committed, empty table|peer|C, INSERT of bound values, one transaction
peer: cp and fsync of the result|staged to committed, empty table|limit|cp and fsync of the warehouse
inline jobs of 10 rows, 100 a transaction|jobs of 10 rows, staged to committed|qetl|qetl, 100 a transaction
inline jobs of 10 rows, one a transaction|jobs of 10 rows, staged to committed|peer|the same, one a transaction"
case_load() {
    local line what kind who rate unit
    for _ in $(seq "$repeat"); do
        "$build/bench/load" "$(scaled 10000000)" "$data" >"$work/lines" 2>"$work/log" || { failed qetl 'bench/load'; return; }
        while IFS='|' read -r line what kind who; do
            rate=$(grep -F "$line" "$work/lines" | grep -o '[0-9]* [a-z]*/s' | head -n 1)
            unit=${rate#* }
            [ -z "$rate" ] || figure "$what" "$kind" "$who" "$unit" "${rate% *}"
        done <<<"$load_lines"
    done
}
