#!/bin/bash
# qetl as an operator has it: installed, under a real systemd, in units as hardened as they are shipped.
# Outside it installs into a folder and starts the sandbox; inside it is the test. Needs root; is skipped aloud without.
set -u

if [ "${1-}" != --inside ]; then
    cd "$srcdir" || exit 99
    skip() {
        echo "1..0 # SKIP $*"
        exit 0
    }
    [ "$(id -u)" = 0 ] || skip "the units of systemd: needs root, to boot a throw-away systemd"
    for tool in jq sqlite3 ip; do
        command -v $tool >/dev/null || skip "the units of systemd: $tool is missing"
    done
    [ -x /lib/systemd/systemd ] || skip "the units of systemd: systemd is not installed"
    prefix=$(sed -n 's/^prefix = //p' "$builddir/Makefile")
    case $prefix in
    /usr | /usr/local) ;;
    *) skip "the units of systemd: systemd finds no units below $prefix; configure with --prefix=/usr or /usr/local" ;;
    esac
    ! grep -q '^SAN_CFLAGS = .*address' "$builddir/Makefile" || skip "the units of systemd: the sanitizers need system calls that the units forbid"
    tmp=$(mktemp -d) || exit 99
    trap 'rm -rf "$tmp"' EXIT
    env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s -C "$builddir" install DESTDIR="$tmp/root" >"$tmp/install.log" 2>&1 || {
        cat "$tmp/install.log" >&2
        echo "Bail out! make install failed"
        exit 1
    }
    cp tests/e2e_systemd.sh "$tmp/inside"
    chmod 755 "$tmp"
    tests/systemd_sandbox "$tmp" bash "$tmp/inside" --inside "$tmp" "$prefix" 2>"$tmp/err"
    rc=$?
    cat "$tmp/err" >&2
    [ $rc != 125 ] || skip "the units of systemd: no sandbox here: $(tail -n 1 "$tmp/err")"
    exit $rc
fi

# ---- inside ----
tmp=$2 prefix=$3
cp -a "$tmp/root/." / && PATH=$prefix/bin:$PATH
n=0
ok() { # what was promised; the status before it decides
    local rc=$?
    n=$((n + 1))
    if [ $rc = 0 ]; then echo "ok $n - $1"; else
        echo "not ok $n - $1"
        { systemctl status --no-pager -l 'qetl@*'; journalctl --no-pager -n 60 -o short-monotonic; } 2>&1 | sed 's/^/# /'
    fi
}
until_true() { # seconds, command...
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}
show() { systemctl show -P "$2" "qetl@$1"; }
is() { [ "$(show "$1" "$2")" = "$3" ]; }
more() { [ "$(show "$1" "$2")" -gt "$3" ]; }
# what is behind -- on a drop-in's lines for an instance
drop_in() { # instance, line...
    local d=/etc/systemd/system/qetl@$1.service.d
    shift
    mkdir -p "$d"
    { echo '[Service]'; printf '%s\n' "$@"; } >"$d/test.conf"
    systemctl daemon-reload
}
as_qetl() { runuser -u qetl -- env PATH="$PATH" "$@"; }
ctl() { as_qetl qetlctl "$@"; }
rows() { sqlite3 -readonly "file:/var/lib/qetl/warehouse.db?mode=ro" "SELECT count(*) || ' ' || count(DISTINCT $2) FROM $1" 2>&1; }
journal_has() { journalctl --no-pager -q -u "qetl@$1" | grep -q "$2"; }
ini=$(sed -n 's/^z \([^ ]*\).*/\1/p' "$prefix/lib/tmpfiles.d/qetl.conf")

echo 1..22

# an address and a way to the world, so that the registry has something to show
ip address add 10.9.8.7/24 dev lo && ip route add default dev lo

systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload && id qetl >/dev/null
ok "installing makes the user qetl"
[ "$(stat -c '%U %G %a' "$ini" /var/lib/qetl/spool)" = "root qetl 640
qetl qetl 750" ]
ok "only root and qetl may read the ini, only qetl the spool"
systemd-analyze verify qetl@worker.service qetl@loader.service qetl.target 2>&1 | grep -i qetl | sed 's/^/# /' >"$tmp/verify"
! [ -s "$tmp/verify" ]
ok "systemd-analyze verify finds nothing in the units"

# as its head tells an administrator
mkdir -p /etc/systemd/system/qetl@loader.service.d && cp "$prefix/share/qetl/loader-without-network.conf" /etc/systemd/system/qetl@loader.service.d/ &&
    systemctl daemon-reload

# hangs from the first turn on; looked at near the end
drop_in worker-hung Environment=QETL_FAULT=worker-loop:hang
systemctl start --no-block qetl@worker-hung

systemctl start qetl@worker qetl@loader && is worker ActiveState active && is loader ActiveState active && show worker StatusText | grep -q process
ok "a start returns when sd_notify says READY, with a status text"

pid=$(show worker MainPID)
status=$(cat "/proc/$pid/status")
{ [ "$(ps -o user= -p "$pid")" = qetl ] && grep -q '^NoNewPrivs:.1' <<<"$status" && grep -q '^Seccomp:.2' <<<"$status" &&
    grep -q '^CapBnd:.0*$' <<<"$status" && grep -q '^CapEff:.0*$' <<<"$status"; }
ok "a worker runs as qetl, without capabilities, behind a system call filter"
nsenter -t "$(show loader MainPID)" -n cat /proc/net/dev | tail -n +3 >"$tmp/net" && [ "$(wc -l <"$tmp/net")" = 1 ] && grep -q ' lo:' "$tmp/net" &&
    [ "$(readlink /proc/self/ns/net)" = "$(readlink "/proc/$pid/ns/net")" ]
ok "a loader with the drop-in has no network, a worker has"

mkdir -p /srv/in && { echo id,name; seq -f '%.0f,name' 1000; } >/srv/in/small.csv
ctl submit example /srv/in/small.csv --wait >&2 && [ "$(rows example id)" = "1000 1000" ]
ok "a job over a local file is loaded"
systemctl is-active -q qetl@worker && is worker NRestarts 0 && is loader NRestarts 0
ok "no directive of the unit took a process down on the way"

both_registered() { ctl workers >"$tmp/workers" && grep -q 'worker-2' "$tmp/workers" && grep -q 'loader-2' "$tmp/workers"; }
systemctl start qetl@worker-2 qetl@loader-2 && is worker-2 ActiveState active && until_true 60 both_registered
ok "several instances of a role work side by side, each under its name"

grep -q 'worker-2.* 10\.9\.8\.7 ' "$tmp/workers"
ok "the registry has a worker's address, though the unit forbids to list the interfaces"

# ---- reload ----
printf '[pipeline second]\ntable = warehouse.second\n' >"$(dirname "$ini")/conf.d/second.ini"
pid=$(show worker MainPID)
systemctl reload qetl@worker qetl@worker-2 qetl@loader qetl@loader-2 && ctl submit second /srv/in/small.csv --wait >&2 && [ "$(rows second id)" = "1000 1000" ] &&
    is worker MainPID "$pid" && is worker NRestarts 0
ok "a reload takes a new pipeline without a restart"
echo 'faulty line' >"$(dirname "$ini")/conf.d/third.ini"
systemctl reload qetl@worker && until_true 60 journal_has worker 'the old one stays' && is worker ActiveState active && is worker MainPID "$pid"
ok "a faulty ini is told in the journal and changes nothing"
rm "$(dirname "$ini")/conf.d/third.ini"

# ---- kill -9 ----
systemctl kill -s KILL --kill-who=main qetl@worker
until_true 20 more worker NRestarts 0 && until_true 20 is worker ActiveState active && ! is worker MainPID "$pid"
ok "systemd restarts a worker after kill -9"
systemctl stop qetl@worker-2
ctl submit example /srv/in/small.csv --wait >&2 && [ "$(rows example id)" = "2000 1000" ]
ok "and it works again"

# ---- watchdog ----
drop_in worker-3 WatchdogSec=2 TimeoutAbortSec=2
systemctl start qetl@worker-3
kill -STOP "$(show worker-3 MainPID)"
until_true 30 more worker-3 NRestarts 0 && until_true 20 is worker-3 ActiveState active && journal_has worker-3 'Watchdog timeout'
ok "the watchdog kills a unit that hangs, and it is started again"
systemctl stop qetl@worker-3

# ---- a stop in the middle of a job ----
printf '[pipeline big]\ntable = warehouse.big\ncolumns = id:integer!, a:text, b:text\n' >"$(dirname "$ini")/conf.d/big.ini"
{ echo id,a,b; seq -f '%.0f,some text to make it long,more of the same' 4000000; } >/srv/in/big.csv
sed -i 's/^slots = 2$/slots = 2\nshutdown_timeout = 200ms/' "$ini"
systemctl restart qetl@worker && job=$(ctl --json submit big /srv/in/big.csv | jq .id)
state() { [ "$(ctl --json show "$job" | jq -r .job.state)" = "$1" ]; }
until_true 20 state running && systemctl stop qetl@worker && state ready
ok "a stop hands a running job back"
is worker Result success
ok "and is a clean end"
systemctl start qetl@worker && until_true 120 state loaded && [ "$(rows big id)" = "4000000 4000000" ]
ok "the next start takes it up, and its rows are there once"

# ---- the target ----
systemctl stop qetl.target 'qetl@*' && systemctl start qetl.target && until_true 60 is worker ActiveState active && until_true 60 is loader ActiveState active &&
    systemctl stop qetl.target && until_true 90 is worker ActiveState inactive && is loader ActiveState inactive
ok "qetl.target starts and stops a worker and a loader"
systemctl enable -q qetl.target qetl@worker-2 2>&1 && [ "$(systemctl is-enabled qetl.target)" = enabled ] && systemctl start qetl.target &&
    until_true 60 is worker-2 ActiveState active
ok "an instance that is enabled comes with the target"

# ---- what cannot work is not tried for ever ----
printf '[qetl]\nspol = /x\n' >/srv/faulty.ini
drop_in worker-4 Environment=QETL_CONFIG=/srv/faulty.ini
! systemctl start qetl@worker-4 2>/dev/null && is worker-4 ActiveState failed && is worker-4 ExecMainStatus 3 && is worker-4 NRestarts 0 &&
    until_true 60 journal_has worker-4 "did you mean 'spool'"
ok "a faulty ini fails the unit with status 3 and the message in the journal, without a restart"

systemctl start --no-block qetl@worker-hung
until_true 60 journal_has worker-hung 'a process hangs'
ok "a process of a worker that hangs is killed and started again"
