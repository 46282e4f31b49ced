"""A loop as one writes it: reads a CSV of id and key, asks for each distinct key, so many at a time, and loads the rows with the answers into SQLite.

ask_many.py CSV PORT AT_ONCE DATABASE
"""
import asyncio
import csv
import json
import sqlite3
import sys

file, port, at_once, database = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
rows = list(csv.DictReader(open(file, newline="")))
keys = asyncio.Queue()
answers = {}


async def worker():
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while not keys.empty():
        key = keys.get_nowait()
        writer.write(f"GET /{key} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        answers[key] = json.loads(await reader.readexactly(length))
    writer.close()


async def main():
    for key in {r["k"] for r in rows}:
        keys.put_nowait(key)
    await asyncio.gather(*(worker() for _ in range(at_once)))


asyncio.run(main())
db = sqlite3.connect(database)
db.execute("CREATE TABLE orders (id INTEGER, k TEXT, title TEXT, city TEXT)")
db.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)",
               ((int(r["id"]), r["k"], answers[r["k"]]["name"], answers[r["k"]]["at"]["city"]) for r in rows))
db.commit()
