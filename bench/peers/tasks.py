"""What a Python user would write: a CSV or a tar.gz of one into SQLite with executemany. Also the tasks of RQ and Celery.

usage: tasks.py FILE.csv DATABASE ROWS
"""
import csv
import io
import itertools
import sqlite3
import sys
import tarfile
import urllib.request


def insert(text, database, rows=None):
    reader = csv.reader(text)
    next(reader)
    db = sqlite3.connect(database, timeout=60)
    with db:
        db.executemany(
            "INSERT INTO orders VALUES (?,?,?,?,?,?,?,?,?,?)",
            (
                (int(r[0]), int(r[1]), int(r[2]), float(r[3]), float(r[4]), *r[5:])
                for r in itertools.islice(reader, rows)
            ),
        )
    db.close()


def load(url, database):
    with urllib.request.urlopen(url) as answer, tarfile.open(fileobj=io.BytesIO(answer.read())) as archive:
        for member in archive:
            insert(io.TextIOWrapper(archive.extractfile(member), newline=""), database)


def noop():
    return None


if __name__ == "__main__":
    with open(sys.argv[1], newline="") as text:
        insert(text, sys.argv[2], int(sys.argv[3]))
