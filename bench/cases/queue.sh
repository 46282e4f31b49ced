# submit, claim and acknowledge, latency, fairness of the queue, against PostgreSQL, beanstalkd, redis, RQ, Celery
# shellcheck shell=bash
#
# Figures: a mode of bench/queue and what it measured; the peers' carry the same names. KEY of its output, NAME behind the mode, UNIT:
queue_keys='jobs_per_s rate jobs/s
p50_ms p50 ms
p99_ms p99 ms
worst_ms worst ms
share_min least_worker of_mean'
queue_seconds() { awk -v s="$scale" 'BEGIN { print (s < 0.1 ? 0.3 : s < 1 ? 1 : 2) }'; }

# The KEY=VALUE words of $work/lines to figures of MODE.
queue_figures() { # MODE KIND WHO 'KEYS WANTED'
    local key what unit value
    while read -r key what unit; do
        value=$(tr ' ' '\n' <"$work/lines" | sed -n "s/^$key=//p")
        case " $4 " in *" $key "*) [ -z "$value" ] || figure "$1, ${what/_/ }" "$2" "$3" "${unit/_/ }" "$value" ;; esac
    done <<<"$queue_keys"
}
own_queue() {
    local mode keys
    while read -r mode keys; do
        timeout "$limit" "$build/bench/queue" -t "$(queue_seconds)" -d "$data" "$mode" >"$work/lines" 2>"$work/log" ||
            { failed qetl "bench/queue $mode"; continue; }
        queue_figures "$mode" qetl qetl "$keys"
    done <<'MODES'
submit jobs_per_s
claim-durable jobs_per_s p99_ms worst_ms share_min
claim-normal jobs_per_s p99_ms worst_ms share_min
claim-normal-10 jobs_per_s p99_ms
busy-durable p50_ms p99_ms worst_ms share_min
busy-normal p50_ms p99_ms worst_ms share_min
busy-durable-32 p50_ms p99_ms worst_ms share_min
busy-normal-32 p50_ms p99_ms worst_ms share_min
latency-durable p50_ms p99_ms
latency-normal p50_ms p99_ms
MODES
}
own_history() { # claim rates with many finished jobs over those with none
    local n key
    n=$(scaled 10000000)
    timeout "$limit" "$build/bench/queue" -t "$(queue_seconds)" -r 3 -f "$n" -d "$data" history >"$work/lines" 2>"$work/log" ||
        { failed qetl 'bench/queue history'; return; }
    for key in claim_durable claim_normal claim_normal_10; do
        figure "${key//_/-}, $n finished jobs over none" qetl qetl times "$(tr ' ' '\n' <"$work/lines" | sed -n "s/^$key=//p")"
    done
}
broker_try() { # BROKER OPTION WHO MODE 'KEYS' ARGUMENTS...: on a fresh server
    local broker=$1 who=$3 mode=$4 keys=$5
    "$1_restart" "$2" || return
    shift 5
    timeout "$limit" "$build/bench/brokers" "$broker" "$broker_port" "$@" >"$work/lines" 2>"$work/log" || { failed "$who" "$mode"; return; }
    queue_figures "$mode" peer "$who" "$keys"
}
beanstalkd_restart() { stop_servers; rm -rf "$data"/beanstalkd*; serve_beanstalkd "$1" && broker_port=$beanstalkd_port; }
redis_restart() { stop_servers; rm -rf "$data"/redis*; serve_redis "$1" && broker_port=$redis_port; }
brokers() { # BROKER 'NEEDS' OPTION WHO durable|normal JOBS-A-SECOND-AT-MOST
    local s jobs
    usable peer "$4" "$2" || return 0
    s=$(queue_seconds) jobs=$(awk -v s="$(queue_seconds)" -v n="$6" 'BEGIN { print int(s * n) }')
    [ "$5" = normal ] || broker_try "$1" "$3" "$4" submit jobs_per_s submit "$s"
    broker_try "$1" "$3" "$4" "claim-$5" 'jobs_per_s p99_ms worst_ms' claim 8 "$s" 0 "$jobs"
    broker_try "$1" "$3" "$4" "busy-$5" 'p50_ms p99_ms worst_ms' claim 8 "$s" 3 "$jobs"
    broker_try "$1" "$3" "$4" "latency-$5" 'p50_ms p99_ms' latency
    stop_servers
}

pg_client() { $pg_run PGHOST="$PGHOST" PGPORT="$PGPORT" "$@" -U bench postgres; }
postgres_try() { # SCRIPT CLIENTS FIGURE JOBS_A_TRANSACTION
    local s tps
    s=$(queue_seconds)
    pg_client "$(pg_bin pgbench)" -n -M prepared -c "$2" -j 2 -T "${s/0.3/1}" -f - >"$work/lines" 2>"$work/log" <<<"$1" || { failed PostgreSQL "$3"; return; }
    tps=$(awk '/^tps/ { print $3 }' "$work/lines")
    figure "$3, rate" peer 'PostgreSQL, SKIP LOCKED' jobs/s "$(part "${tps:-0}" "$4")"
}
postgres_queue() {
    usable peer PostgreSQL 'initdb pgbench psql setpriv' || return 0
    serve_postgres || return
    pg_client psql -qc "CREATE TABLE job (id bigserial PRIMARY KEY, state text NOT NULL DEFAULT 'ready', body text);
        CREATE INDEX job_ready ON job (id) WHERE state = 'ready'" >"$work/log" 2>&1 || { failed PostgreSQL 'its table'; return; }
    postgres_try "INSERT INTO job (body) SELECT repeat('x', 240) FROM generate_series(1, 1000);" 1 submit 1000
    postgres_try "UPDATE job SET state = 'done' WHERE id = (SELECT id FROM job WHERE state = 'ready' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED);" \
        8 claim-durable 1
    stop_servers
}

tasks_rq() { run_python rq rq_run.py "$redis_port" 8 noop "$jobs"; }
tasks_celery() { run_python celery celery_run.py "$redis_port" 8 noop "$jobs"; }
python_queue() { # TOOL 'NEEDS' WHO
    local seconds
    usable peer "$3" "$2 redis-server redis-cli" || return 0
    redis_restart everysec || return
    jobs=$(scaled 10000)
    : >"$work/log"
    quiet "$build/bench/measure" "$work/took" timeout -k 5 "$limit" bash -c 'set -eu; "$@"' - "tasks_$1" || { failed "$3" 'its tasks'; return; }
    read -r seconds _ <"$work/took"
    figure 'claim-normal, rate' peer "$3, send and work" jobs/s "$(per "$jobs" "$seconds")"
    stop_servers
}

case_queue() {
    for _ in $(seq "$repeat"); do
        own_queue
        brokers beanstalkd beanstalkd -f0 'beanstalkd -f0' durable 30000
        brokers beanstalkd beanstalkd -f50 'beanstalkd -f50' normal 100000
        brokers redis 'redis-server redis-cli' always 'redis, appendfsync always' durable 60000
        brokers redis 'redis-server redis-cli' everysec 'redis, appendfsync everysec' normal 200000
        postgres_queue
        python_queue rq 'py:rq' RQ
        python_queue celery 'py:celery py:redis' Celery
        "$build/bench/limits" "$data" >"$work/lines" 2>"$work/log" &&
            figure 'claim-durable, rate' limit 'one fdatasync of 4 KB each' jobs/s "$(awk -F '\t' '/appended/ { print $2 }' "$work/lines")"
    done
    own_history
}
