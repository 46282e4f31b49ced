#!/usr/bin/env python3
"""Customers without their mail addresses, a row for each of their tags: rows in, rows out."""
import hashlib
import json
import os
import sys

for line in sys.stdin:
    row = json.loads(line)
    who = hashlib.sha256((os.environ["SALT"] + row["mail"]).encode()).hexdigest()[:12]
    domain = row["mail"].rpartition("@")[2]
    for tag in (row["tags"] or "none").split():
        print(json.dumps({"id": row["id"], "who": who, "domain": domain, "tag": tag}))
