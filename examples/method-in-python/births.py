#!/usr/bin/env python3
"""Rows of a made-up register: parameters in as JSON, rows out as JSON lines."""
import json
import sys

params = json.load(sys.stdin)
first = int(params["first"])
for year in range(first, first + int(params.get("years", 1))):
    print(json.dumps({"year": year, "births": 700000 + year * year % 9973}))
