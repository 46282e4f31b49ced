#!/bin/bash
# Directories and S3 stores as warehouses: every job's rows exactly once, whatever dies on either side.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
. "$srcdir/tests/object.sh"

# shellcheck disable=SC2034 # of qetl.sh
LEASE=2s HEARTBEAT=200ms

# ---- jobs, and what becomes of them ----

sent=0
send() { # N jobs of two rows each, with their own names
    local i
    for i in $(seq "$1"); do
        sent=$((sent + 1))
        printf 'id,job\n1,job%s\n2,job%s\n' $sent $sent >"$work/in$sent.csv"
        submit add "$work/in$sent.csv" >/dev/null
    done
}
wanted() { { for i in $(seq "$sent"); do printf '["1", "job%s"]\n["2", "job%s"]\n' "$i" "$i"; done; } | LC_ALL=C sort; }
staged() { qetlctl --json jobs | jq -e 'all(.jobs[]; .state != "ready" and .state != "running")'; }
all_done() { qetlctl --json jobs | jq -e 'all(.jobs[]; .state == "loaded" or .state == "dead")'; }
stop_loader() { # SIGNAL
    kill -"$1" "$role_pid"
    wait "$role_pid" 2>/dev/null
}
# A loader that meets no fault, until all is done.
settle() {
    start_role loader
    wait_for 60 all_done || diag "not all jobs are done: $(qetlctl jobs)"
    stop_loader TERM
}
# An error that the ledger settles is no news.
met() { grep -q 'a process died\|fault injected\|record what was loaded' "$site/loader.log" || { [ "${1##*:}" = error ] && all_done; }; }
# What is staged meets a loader with the fault, which then is killed with all that it holds; another one goes on. The worker is there.
with_fault() { # POINT:N:HOW
    wait_for 60 staged
    rm -f "$site/loader.log"
    QETL_FAULT=$1 start_role loader
    wait_for 60 met "$1" || diag "$1 was never met"
    stop_loader KILL
    settle
}
once() { # PIPELINE LINE…
    printf '%s\n' id,job "${@:2}" >"$work/in.csv"
    job=$(submit "$1" "$work/in.csv")
}
loaded() { # PIPELINE LINE…
    once "$@"
    settle
}

faults() { # KIND POINT:N:HOW…
    local fault
    for fault in "${@:2}"; do
        send 3
        with_fault "$fault"
        is "$1: $fault: each job's rows once" "$(rows t)" "$(wanted)"
    done
    is "$1: ... and nothing else" "$(read_back extra)" ''
}

swap_faults() { # KIND POINT:N:HOW…; n counts the replaces
    local fault n=0
    for fault in "${@:2}"; do
        n=$((n + 1))
        loaded swap "1,old$n"
        once swap "1,swap$n"
        with_fault "$fault"
        is "$1: replace, $fault" "$(state "$job") $(rows t)" "loaded [\"1\", \"swap$n\"]"
        once add "2,more$n"
        loaded swap "1,last$n"
        is "$1: ... and the next one leaves nothing of it" "$(rows t)$(read_back stale)$(read_back extra)" "[\"1\", \"last$n\"]"
    done
}

undo_faults() { # KIND
    local fault before after
    for fault in target-before-delete:1:kill target-before-delete:1:error target-before-commit:1:kill target-after-commit:1:kill \
        undo-before-record:1:kill; do
        loaded swap 1,base
        before=$(rows t)
        loaded add 2,undo
        QETL_FAULT=$fault qetlctl undo "$job" >/dev/null 2>&1
        is "$1: undo, $fault: the rows are gone, the queue does not know" "$(rows t) $(field "$job" undone)" "$before null"
        is "$1: ... done by calling it again" "$(qetlctl undo "$job") $(field "$job" undone | cut -c 1-2)" "job $job undone: 1 row removed, 0 put back 20"
        is "$1: ... and nothing of it is left" "$(rows t)$(read_back extra)" "$before"
        loaded swap 1,next
        after=$(qetlctl --json show "$job" | jq .job.rows_removed)
        is "$1: ... which the next replace does not count" "$after $(rows t)$(read_back stale)" '1 ["1", "next"]'
    done
}

# The loader that puts the job's objects is killed, the next one cannot ask for manifests and puts it back: it is cancelled with all that.
# The fault of the first one, and what makes the store not answer, and answer again.
put_back() { # POINT DEAF HEARS
    once add 1,put-back 2,put-back
    wait_for 60 staged
    rm -f "$site/loader.log"
    QETL_FAULT=$1 start_role loader
    wait_for 60 stopped || diag "the loader does not come to $1"
    $2
    kill_loader
    start_role loader
    wait_for 60 job_is "$job" staged
    qetlctl cancel "$job" >/dev/null
    stop_loader TERM
    $3
    left=$(read_back extra | wc -l)
}
stopped() { # or the process that it has the work done by
    local p
    for p in $role_pid $(descendants "$role_pid"); do
        grep -q ') T ' "/proc/$p/stat" && return 0
    done
    return 1
}
kill_loader() { # its own child first: the end of the parent of a stopped process lets that one go on
    # shellcheck disable=SC2046 # pids
    kill -KILL $(descendants "$role_pid") "$role_pid"
    wait "$role_pid" 2>/dev/null
}
explained() { qetlctl explain "$job" | grep -q "$1"; }
settled() { ! explained 'may have left'; }
settle_cancelled() {
    start_role loader
    wait_for 60 settled || diag "it is not settled: $(qetlctl explain "$job")"
    stop_loader TERM
}

# ---- a directory ----

lake_site "file://$work/lake"
start_role worker
place=$work/lake/plain
faults file target-before-commit:1:kill target-before-commit:1:error target-after-manifest:1:kill target-after-manifest:2:error \
    target-after-manifest:2:kill target-after-manifest:3:error target-after-commit:1:kill target-after-commit:1:error \
    loader-before-record:1:kill loader-before-record:1:error loader-after-record:1:kill
rm -rf "$work/lake/plain"
swap_faults file target-before-commit:1:kill target-after-manifest:1:kill target-after-manifest:1:error target-before-delete:1:kill \
    target-before-delete:1:error target-after-commit:1:kill
undo_faults file
before=$(rows t)
deaf() { mv "$place/_manifest" "$place/asleep" && touch "$place/_manifest"; }
hears() { rm "$place/_manifest" && mv "$place/asleep" "$place/_manifest"; }
put_back target-before-commit:1:stop deaf hears
is 'file: a cancelled job left its object, and says so' "$left $(state "$job") $(qetlctl explain "$job" | grep -c 'may have left')" '1 cancelled 1'
settle_cancelled
is 'file: ... which the next loader takes out' "$(state "$job") $(read_back extra)$(rows t)" "cancelled $before"
is 'file: ... and its staged file with it' "$(find "$site/spool/staged" -name "$(uid_of "$job").*")" ''
put_back target-after-manifest:1:stop deaf hears
settle_cancelled
is 'file: a cancelled job that was committed is loaded' "$(state "$job") $(read_back extra)$(rows t | grep -c put-back)" 'loaded 2'
stop_roles

# ---- an S3 store ----

[ $s3 = yes ] || { done_testing; exit 0; }
lake_site s3://bucket/lake "$S3_SECRET"
start_role worker
place=$S3_DATA/bucket//lake/plain/
empty_bucket() { rm -f "$S3_DATA"/bucket/*; sent=0; }
empty_bucket
faults s3 target-before-commit:1:kill target-after-manifest:2:error target-after-manifest:2:kill target-after-commit:1:error \
    loader-before-record:1:kill
empty_bucket
swap_faults s3 target-after-manifest:1:kill target-before-delete:1:kill target-before-delete:1:error
undo_faults s3

# the store's own faults: none may cost or double a row
empty_bucket
used_up() { ! grep -q ' [1-9][0-9]* ' "$S3_FAULTS" || all_done; }
for fault in 'PUT 3 503' 'PUT.*_manifest 1 503' 'PUT.*_manifest 1 drop' 'PUT.*_manifest 6 drop' 'PUT.*/t/ 2 drop' 'GET.*_manifest 2 503' \
    'GET.*_manifest 1 cut' 'PUT.*_manifest 5 503' 'PUT.*_manifest 3 501' 'PUT 2 late' 'PUT.*_manifest 2 500'; do
    send 3
    wait_for 60 staged
    echo "$fault" >"$S3_FAULTS"
    start_role loader
    wait_for 60 used_up || diag "not used up: $(cat "$S3_FAULTS")"
    : >"$S3_FAULTS"
    wait_for 60 all_done
    stop_loader TERM
    is "s3: the store answers $fault: each job's rows once" "$(rows t)" "$(wanted)"
done

# the store dies in the middle of a put, of the end of an upload in parts, of a manifest, and comes back
alive() { kill -0 "$(cat "$work/s3/pid")"; }
dead() { ! alive; }
back() {
    stop_service s3
    start_service s3
    : >"$S3_FAULTS"
}
for at in 'PUT.*/t/' 'PUT.*_manifest'; do
    for when in exit exit-after; do
        send 3
        wait_for 60 staged
        echo "$at 1 $when" >"$S3_FAULTS"
        start_role loader
        ok "s3: the store dies ($at, $when)" wait_for 60 dead
        back
        wait_for 60 all_done
        stop_loader TERM
        is "s3: ... each job's rows once" "$(rows t)" "$(wanted)"
    done
done
is 's3: ... and nothing else is there' "$(read_back extra)" ''

# parts
{ echo id,text; seq 200000 | sed 's/.*/&,the text of the row number & which is not so very short/'; } >"$work/big.csv"
place=$S3_DATA/bucket//lake/big/
all_rows=0
for fault in 'PUT.*partNumber=2 1 exit' 'POST.*uploadId 1 exit' 'POST.*uploadId 1 exit-after' 'POST.*uploadId 2 error200'; do
    submit heavy "$work/big.csv" >/dev/null
    wait_for 60 staged
    echo "$fault" >"$S3_FAULTS"
    start_role loader
    case $fault in
    *exit*) wait_for 60 dead; back ;;
    *) wait_for 60 used_up ;;
    esac
    wait_for 60 all_done
    stop_loader TERM
    all_rows=$((all_rows + 200000))
    is "s3: parts, $fault: the rows are there once" "$(rows t | wc -l)" $all_rows
done
is 's3: ... and nothing else is there' "$(read_back extra)" ''
stop_roles

# a put that the store does after the loader that sent it is gone
late_site() {
    new_site <<INI
[limits]
crashes = 1
[target late]
url = s3://bucket/late
compress = none
path = {table}/{id}/{uid}.{ext}
$(remote "$S3" "$S3_SECRET")
[pipeline late]
columns = id:integer!, job:text
table = late.t
INI
    qetlctl init >/dev/null
    : >"$S3_FAULTS"
    start_role worker
}
held() { [ "$(cat "$work/s3/held" 2>/dev/null)" = "$1" ]; }
release() {
    touch "$work/s3/release"
    wait_for 60 held 0
    rm "$work/s3/release"
}
# A loader dies with the job's manifest on its way, and the next one, which meets the faults, settles the job.
die_late() { # FAULT…
    wait_for 60 job_is "$job" staged
    printf '%s\n' 'PUT.*_manifest 1 hold' "$@" >"$S3_FAULTS"
    start_role loader
    wait_for 60 held 1 || diag 'no manifest was put'
    kill_loader
    settle
}
retried() {
    qetlctl retry "$job" >/dev/null
    wait_for 60 job_is "$job" staged
}
place=$S3_DATA/bucket//late/
both=$(printf '["1", "x"]\n["2", "x"]')
late_site
once late 1,x 2,x
for n in 1 2; do
    die_late
    is "s3: late, $n: the job is given up" "$(state "$job") $(rows t)$(read_back extra)" 'dead '
    release
    is 's3: ... and the late manifest does not come' "$(rows t)$(read_back extra)" ''
    retried
done
die_late
retried
settle
release
is 's3: ... nor in place of that of the next try, which is loaded' "$(state "$job") $(rows t)$(read_back extra)" "loaded $both"
once late 1,x 2,x
wait_for 60 job_is "$job" staged
printf '%s\n' 'PUT.*_manifest 1 hold' 'DELETE 1 hold' >"$S3_FAULTS"
for n in 1 2; do
    start_role loader
    wait_for 60 held $n || diag 'nothing is held'
    kill_loader
done
settle
is 's3: late: a loader that dies of giving it up leaves nothing' "$(state "$job") $(read_back extra)" 'dead '
retried
settle
release
is 's3: ... and its deletion, that comes late, takes nothing of the next try' "$(state "$job") $(read_back extra) $(rows t | uniq -c | xargs)" \
    'loaded  2 [1, x] 2 [2, x]'
rm -f "$S3_DATA"/bucket/*
once late 1,x 2,x
die_late 'PUT.*_manifest 1 release'
is 's3: late: the manifest comes before the job is given up: it is loaded' "$(state "$job") $(rows t)$(read_back extra)" "loaded $both"
for fault in 501 blind; do
    rm -f "$S3_DATA"/bucket/* "$site/loader.log"
    once late 1,x 2,x
    die_late "PUT.*_manifest 9 $fault"
    is "s3: late, and the store keeps no conditions ($fault): dead, and nothing is deleted" \
        "$(state "$job") $(grep -c 'may lie in its target' "$site/loader.log") $(read_back extra | wc -l)" 'dead 1 2'
    release
    retried
    settle
    is 's3: ... and loaded by a retry' "$(state "$job") $(rows t)" "loaded $both"
done
for release in before behind; do
    rm -f "$S3_DATA"/bucket/*
    once late 1,x 2,x
    wait_for 60 job_is "$job" staged
    echo 'PUT.*_manifest 1 hold' >"$S3_FAULTS"
    start_role loader
    wait_for 60 held 1 || diag 'no manifest was put'
    kill_loader
    echo 'GET.*_manifest 1000 503' >"$S3_FAULTS"
    start_role loader
    wait_for 60 job_is "$job" staged
    qetlctl cancel "$job" >/dev/null
    stop_loader TERM
    : >"$S3_FAULTS"
    [ $release = behind ] || release
    settle_cancelled
    [ $release = before ] || release
    case $release in
    before) is 's3: late: the manifest comes before the cancelled job is given up: it is loaded' "$(state "$job") $(rows t)$(read_back extra)" "loaded $both" ;;
    behind) is 's3: ... behind it, it does not come any more, and nothing is left' "$(state "$job") $(rows t)$(read_back extra)" 'cancelled ' ;;
    esac
done
done_testing
