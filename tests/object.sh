# shellcheck shell=bash
# object.sh: sourced behind lib.sh and qetl.sh by the tests of directories and S3 stores as warehouses.
#
#   targets URL               sections for new_site: targets below the URL, and pipelines into them
#   remote ENDPOINT SECRET    the section of the store
#   lake_site URL [SECRET]    a site with these, for the store when its secret is given
#   load PIPELINE             submits $work/in.csv (written by csv LINE…) and drains; gives $job
#   rows TABLE                what $place holds of it, read by object_read.py from the manifests alone
# $s3 and $zst: yes where this build and this machine have them.
need jq jq
need python3 python3
s3=yes zst=yes
grep -q '^#define HAVE_S3 1' "$builddir/config.h" || s3=no
grep -q '^#define HAVE_ZSTD 1' "$builddir/config.h" && command -v zstd >/dev/null || zst=no
[ $s3 = no ] || start_service s3

csv() { printf '%s\n' "$@" >"$work/in.csv"; }
place=''  # what read_back reads: a directory, or FOLDER//PREFIX of the server's
read_back() { python3 "$srcdir/tests/object_read.py" "$1" "$place" "${2-}"; }
rows() { read_back rows "$1"; }
drain() { timeout 120 qetl drain --max-wait 20s 2>>"$site/drain.log"; }
# shellcheck disable=SC2034 # for the caller
load() { job=$(submit "$1" "$work/in.csv"); drain; }
counts() { qetlctl --json show "$1" | jq -r '.job | "\(.state) \(.rows_inserted) \(.rows_removed)"'; }
error_of() { qetlctl --json errors | jq -r '.errors[0].message'; }
uid_of() { field "$1" uid; }

targets() { # URL, behind which each target has a folder of its own
    local form pack
    printf '[limits]\ncrashes = 100\n'
    for form in csv jsonl; do
        for pack in none gz zst; do
            [ $pack$zst != zstno ] || continue
            printf '[target %s_%s]\nurl = %s/%s_%s\nformat = %s\ncompress = %s\n' $form $pack "$1" $form $pack $form $pack
            printf '[pipeline %s_%s]\ntable = %s_%s.t\n' $form $pack $form $pack
            cat <<'INI'
columns = id:integer!, name:text, price:decimal(2), weight:real, sold:boolean, day:date, at:timestamp, extra:json
null = NA
quoted_null = no
max_rejects = 100
INI
        done
    done
    cat <<INI
[target lake]
url = $1/lake
path = {table}/day={placed:%Y-%m-%d}/city={city}/{uid}-{part}.{ext}
compress = none
[target plain]
url = $1/plain
compress = none
[target big]
url = $1/big
compress = none
[pipeline parted]
columns = id:integer!, placed:timestamp, city:text
null = NA
table = lake.visits
max_rejects = 10
[pipeline add]
columns = id:integer!, job:text
table = plain.t
attempts = 3
[pipeline swap]
columns = id:integer!, job:text
table = plain.t
mode = replace
[pipeline two]
columns = id:integer!, job:text
[pipeline two.a]
member = a.csv
table = plain.a
[pipeline two.b]
member = b.csv
table = plain.b
[pipeline heavy]
columns = id:integer!, text:text
table = big.t
INI
}

remote() { # ENDPOINT SECRET
    cat <<INI
[remote store]
url = s3://bucket/
endpoint = $1
region = $S3_REGION
access_key = $S3_ACCESS
secret_key = $2
INI
}

lake_site() { # URL [SECRET]
    new_site <<INI
$(targets "$1")
$([ $# = 1 ] || remote "$S3" "$2")
INI
    qetlctl init >/dev/null
}
