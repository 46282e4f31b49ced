"""Reads a store of objects back, by nothing but its manifests: object_read.py rows|names|bytes|extra|stale FOLDER [TABLE].

FOLDER is the directory of a file:// target, or the folder of a bucket of tests/services/s3.py, then FOLDER//PREFIX.
    rows TABLE    its rows, a JSON list of texts each (csv) or the lines (jsonl), sorted
    names TABLE   the names of its objects
    bytes TABLE   of its objects, together
    extra         objects that no manifest names, and temporary files
    stale         objects that manifests name and a newer replace has made old, and that are still there
Every object that is read must have the rows, the bytes and the SHA-256 that its manifest says.
"""
import csv
import glob
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys

what, folder = sys.argv[1:3]


def from_directory(path):
    found = {}
    for at, _, names in os.walk(path):
        for n in names:
            full = os.path.join(at, n)
            found[os.path.relpath(full, path)] = lambda full=full: open(full, "rb").read()
    found.pop(".qetl-lock", None)
    return found


def from_bucket(path, prefix):
    found = {}
    for name in glob.glob(path + "/*.facts"):
        with open(name, encoding="utf-8") as f:
            key = json.load(f)["key"]
        if key.startswith(prefix):
            found[key[len(prefix):]] = lambda name=name: open(name[:-6], "rb").read()
    return found


def unpack(form, data):
    if form.endswith(".gz"):
        return gzip.decompress(data)
    if form.endswith(".zst"):
        return subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE, check=True).stdout
    return data


def rows_of(form, data):
    text = unpack(form, data).decode()
    if form.startswith("jsonl"):
        return text.split("\n")[:-1]
    rows = list(csv.reader(io.StringIO(text, newline="")))
    return [json.dumps(r, ensure_ascii=False) for r in rows[1:]]


store = from_bucket(*folder.split("//")) if "//" in folder else from_directory(folder)
manifests = [json.loads(read()) for name, read in store.items() if name.startswith("_manifest/") and name.endswith(".json")]
newest = {}
for m in manifests:
    for t in m["tables"]:
        if t["mode"] == "replace":
            newest[t["table"]] = max(newest.get(t["table"], 0), m["seq"])
current, old = {}, []
for m in manifests:
    for t in m["tables"]:
        if m["seq"] >= newest.get(t["table"], 0):
            current.setdefault(t["table"], []).append(t)
        else:
            old += [o["name"] for o in t["objects"]]

if what == "extra":
    named = {o["name"] for ts in current.values() for t in ts for o in t["objects"]} | set(old)
    print("\n".join(sorted(n for n in store if n not in named and not n.startswith(("_manifest/", "_table/")))))
elif what == "stale":
    print("\n".join(sorted(n for n in old if n in store)))
else:
    out = []
    for t in current.get(sys.argv[3], []):
        for o in t["objects"]:
            data = store[o["name"]]()
            assert len(data) == o["bytes"], o
            assert hashlib.sha256(data).hexdigest() == o["sha256"], o
            rows = rows_of(t["form"], data)
            assert len(rows) == o["rows"], (o, len(rows))
            out += rows if what == "rows" else [o["name"]] if what == "names" else [o["bytes"]]
        assert t["rows"] == sum(o["rows"] for o in t["objects"])
    print(sum(out) if what == "bytes" else "\n".join(sorted(out)))
