"""Celery on Redis: send COUNT tasks and let WORKERS processes work them off; the start of the worker is part of it.

usage: celery_run.py REDIS_PORT WORKERS noop COUNT | load COUNT URL DATABASE
"""
import os
import subprocess
import sys
import time

import celery
import redis

import tasks

port = int(os.environ.get("CELERY_REDIS_PORT") or sys.argv[1])
app = celery.Celery("celery_run", broker=f"redis://127.0.0.1:{port}/0")
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=4, task_ignore_result=True)
done = redis.Redis(port=port)


@app.task
def noop():
    tasks.noop()
    done.incr("done")


@app.task
def load(url, database):
    tasks.load(url, database)
    done.incr("done")


if __name__ == "__main__":
    workers, what, count = sys.argv[2], sys.argv[3], int(sys.argv[4])
    for i in range(1, count + 1):
        if what == "noop":
            app.send_task("celery_run.noop")
        else:
            app.send_task("celery_run.load", (f"{sys.argv[5]}/{i}.tar.gz", sys.argv[6]))
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "celery_run", "worker", "-c", workers, "-l", "WARNING",
         "--without-gossip", "--without-mingle", "--without-heartbeat"],
        env={**os.environ, "CELERY_REDIS_PORT": str(port)}, cwd=os.environ["data"])
    while int(done.get("done") or 0) < count and worker.poll() is None:
        time.sleep(0.02)
    worker.terminate()
    worker.wait()
    if int(done.get("done") or 0) < count:
        sys.exit("the worker ended early")
