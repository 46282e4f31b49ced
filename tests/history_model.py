"""mode = history as a model of a few lines, against what a target did: see e2e_history.sh.

history_model.py jobs SEED N DIR        writes DIR/NUMBER.csv and prints a line "NUMBER DAY" each: the day on which it is loaded, about noon
history_model.py check DIR PIPELINE     reads the rows of the pipeline's table (id|city|at|n|gone|valid_from|valid_to|is_current, before them
                                        a line =|COUNTS a job), and prints what is wrong

Times are texts: a version has a day, a load a day and " 12", so that no two of them are the same time and they sort as they should.
"""
import collections
import csv
import datetime
import random
import sys

PIPELINES = {  # version, missing = delete
    "whole": ("at", True),
    "part": ("at", False),
    "numbered": ("n", True),
    "plain": (None, True),
}
COLUMNS = ("id", "city", "at", "n", "gone")


def day(n):
    return (datetime.date(2031, 1, 10) + datetime.timedelta(n)).isoformat()


def make(seed, count, folder):
    rng = random.Random(seed)
    now = 0
    for job in range(count):
        now += rng.choice((0, 1, 1, 2, 5, -3))
        with open(f"{folder}/{job}.csv", "w", newline="") as f:
            out = csv.writer(f, lineterminator="\n")
            out.writerow(COLUMNS)
            for _ in range(rng.choice((0, 1, 2, 3, 5, 8))):
                at = rng.choice((None, now + 1, now, now - 1, now - 2, rng.randint(-9, 30), 20000))
                out.writerow((rng.randint(1, 3), rng.choice(("Bonn", "Rom")), "" if at is None else day(at),
                              rng.choice(("", 1, 2, 3)), rng.choice(("", "", "true"))))
        print(job, day(now))


def load(table, rows, now, version, ends):
    """One job: changes the table (lists of the columns, valid_from, valid_to) and gives its counts."""
    v = COLUMNS.index(version) if version else None
    rank = (lambda r: (r[v] != "", r[v])) if version else (lambda r: 0)
    count = collections.Counter()
    for key in sorted({r[0] for r in rows}):
        current = next((r for r in table if r[0] == key and r[6] == ""), None)
        ended = max((r[6] for r in table if r[0] == key), default="") if ends and not current else ""
        mine = sorted((r for r in rows if r[0] == key), key=rank)  # stable: then by place
        if not version:
            mine = mine[-1:]
        new, before, says, oldest = [], current, [], current and rank(current)
        for r in mine:
            if current and rank(r) < oldest:
                continue
            if not before or any(a != b for i, (a, b) in enumerate(zip(r, before)) if i != v and i < 5):
                before = list(r)
                new.append(before)
                says.append(r[v] if version == "at" and r[v] > ended else "")
            elif version:  # seen again, with a newer one
                before[v] = r[v]
        came = min([now] + [s for s in says if s])
        starts = [max(s or came, current[5] if current else ended) for s in says]
        if current and new:
            current[6] = starts[0]
        for i, r in enumerate(new):
            count["deleted" if r[4] else "inserted" if i == 0 and not current else "updated"] += 1
            table.append(list(r) + [starts[i], (starts + [""])[i + 1]])
    count["unchanged"] = len(rows) - sum(count.values())
    if ends:
        for r in table:
            if r[6] == "" and r[0] not in {x[0] for x in rows}:
                r[6] = max(now, r[5])
                count["removed"] += 1
    return [count[c] for c in ("inserted", "updated", "unchanged", "deleted", "removed")]


def time(text):
    return text[:10] + (" 12" if text[11:13] == "12" else "")


def overlaps(rows):
    """Rows as they came: of each key no two may hold at one time."""
    for key in sorted({r[0] for r in rows}):
        spans = sorted((r[5], r[6] or "9999-12-31") for r in rows if r[0] == key)
        for i, (begin, end) in enumerate(spans):
            if end < begin:
                yield f"key {key}: ends before it begins: {begin} {end}"
            for other in spans[i + 1:]:
                if max(begin, other[0]) < min(end, other[1]):
                    yield f"key {key}: two at one time: {begin} {end}, {other[0]} {other[1]}"
        if sum(r[6] == "" for r in rows if r[0] == key) > 1:
            yield f"key {key}: two are current"


def check(folder, pipeline):
    version, ends = PIPELINES[pipeline]
    lines = sys.stdin.read().split("\n")
    got_counts = [[int(n) for n in line.split("|")[1:]] for line in lines if line.startswith("=")]
    got = [line.split("|") for line in lines if line and not line.startswith("=")]
    for r in got:
        if (r[6] == "") != (r[7] in ("t", "1")):
            print("current and ended:", r)
    for wrong in overlaps(got):
        print(wrong)
    got = [[r[0], r[1], time(r[2]), r[3], "true" if r[4] in ("t", "1") else "", time(r[5]), time(r[6])] for r in got]
    table, want_counts = [], []
    with open(f"{folder}/days") as days:
        for line in days:
            job, now = line.split()
            with open(f"{folder}/{job}.csv", newline="") as f:
                rows = list(csv.reader(f))[1:]
            want_counts.append(load(table, rows, now + " 12", version, ends))
    for job, (want, had) in enumerate(zip(want_counts, got_counts)):
        if want != had:
            print(f"job {job}: counts {had}, not {want}")
    if len(want_counts) != len(got_counts):
        print(f"{len(got_counts)} jobs, not {len(want_counts)}")
    for r in sorted(r for r in got if got.count(r) > table.count(r)):
        print("is there:", *r, sep="|")
    for r in sorted(r for r in table if table.count(r) > got.count(r)):
        print("is not:  ", *r, sep="|")


if sys.argv[1] == "jobs":
    make(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
else:
    check(*sys.argv[2:])
