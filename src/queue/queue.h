/*
 * queue.db: open, migrate, and the one way to write: queue_begin() takes our own fair lock (flock on the file beside the
 * database), then BEGIN IMMEDIATE; inside only SQL; queue_commit() commits, unlocks, and, where asked, makes the commit durable
 * by one fdatasync of the WAL outside the lock (group commit). Checkpoints happen only inside the lock (SQLite before
 * 3.51.3 has the WAL-reset race). Readers take no lock.
 *
 * Files beside queue.db: queue.db-lock (flock), queue.db-bell (futexes in a mapped page), queue.db-wal, queue.db-shm.
 * The lock and the bell may be removed while nobody runs; they hold nothing that must last.
 *
 * A queue belongs to the process and the thread that opened it. A process that forks must not use it in the child, and a
 * child that lives on without exec closes the inherited descriptors (else the lock outlives a killed parent).
 */
#ifndef QETL_QUEUE_QUEUE_H
#define QETL_QUEUE_QUEUE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "queue_sql.h" /* made from queue.sql: enum queue_sql */

struct queue;

enum queue_flags { QUEUE_CREATE = 1, QUEUE_READONLY = 2 };
/* With QUEUE_CREATE the file and its folder are made where they are missing, by any number of processes at once.
 * Errors: database, database-newer, network-fs, database-missing (no file and no QUEUE_CREATE: "run qetlctl init"). An older schema is
 * migrated after an online backup beside it (queue.db.v<N>.bak). */
int queue_open(struct queue **out, const char *path, int flags, struct err *err);
void queue_close(struct queue *q);
sqlite3 *queue_db(struct queue *q);
/* A job's place (job.seq) for what outlives this queue.db: behind those of jobs of a queue.db that was made before it, for no queue gets a
 * million jobs a second all its life. */
int64_t queue_order(const struct queue *q, int64_t seq);
sqlite3_stmt *queue_stmt(struct queue *q, enum queue_sql which); /* prepared at first use; reset and unbound */

int queue_begin(struct queue *q, struct err *err);
enum queue_durability { QUEUE_LATER, QUEUE_NOW };
int queue_commit(struct queue *q, enum queue_durability d, struct err *err);
void queue_rollback(struct queue *q);
/* Make all commits so far durable (one fdatasync of the WAL, no lock held). */
int queue_sync(struct queue *q, struct err *err);
/* Inside begin/commit: `jobs` more (or fewer) jobs of the pipeline are in that state, and loaded so many rows. Written to
 * table tally by queue_commit, one row a pipeline and state. */
void queue_tally(struct queue *q, const char *pipeline, const char *state, int64_t jobs, int64_t rows);

/* ---- the bell: a hint that something changed; the database is the truth ---- */
enum bell { BELL_READY, BELL_STAGED, BELL_DONE, BELLS };
uint32_t queue_bell(struct queue *q, enum bell which);              /* its count now; read it before looking into the database */
void queue_ring(struct queue *q, enum bell which, int wake);        /* wake so many sleepers */
/* Sleep until the bell has another count than `seen`, or timeout_ms, or a signal. */
void queue_sleep(struct queue *q, enum bell which, uint32_t seen, int64_t timeout_ms);
uint32_t *queue_bell_word(struct queue *q, enum bell which);        /* for sys_signals_init */
/* Did somebody (also another program) commit since the last call? PRAGMA data_version. */
bool queue_changed(struct queue *q);

int64_t queue_wal_bytes(struct queue *q);

/* What claims and reports of this process are to know of the spool, in bytes: what jobs may have of it together (0: any number), what
 * its file system has free, and with how much less no job is begun. */
struct queue_spool { int64_t quota, free, keep; };
void queue_spool_set(struct queue *q, const struct queue_spool *s);
const struct queue_spool *queue_spool(const struct queue *q);

#endif
