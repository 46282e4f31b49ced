"""RQ: enqueue COUNT jobs and let WORKERS work them off.

usage: rq_run.py REDIS_PORT WORKERS noop COUNT | load COUNT URL DATABASE
"""
import os
import sys

import redis
import rq

import tasks

port, workers, what, count = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
connection = redis.Redis(port=port)
queue = rq.Queue(connection=connection)
for i in range(1, count + 1):
    if what == "noop":
        queue.enqueue(tasks.noop)
    else:
        queue.enqueue(tasks.load, f"{sys.argv[5]}/{i}.tar.gz", sys.argv[6])
children = []
for _ in range(workers):
    child = os.fork()
    if child == 0:
        rq.Worker([queue], connection=redis.Redis(port=port)).work(burst=True, logging_level="WARNING")
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
if len(queue) or queue.failed_job_registry.count:
    sys.exit(f"{len(queue)} jobs left, {queue.failed_job_registry.count} failed")
