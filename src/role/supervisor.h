/*
 * The supervisor: starts the processes of one or all roles, keeps them alive, hands signals on, and answers systemd.
 *
 * It opens no database and no socket of its own. Each child is one slot (one worker, one loader). A child that dies is started
 * again after a pause that grows while deaths follow each other; its jobs come back by their leases. If the supervisor
 * dies its children get SIGTERM from the kernel.
 */
#ifndef QETL_ROLE_SUPERVISOR_H
#define QETL_ROLE_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "io/config.h"

/* SUPERVISE_SCANNER_IF: where a pipeline is scanned. */
enum { SUPERVISE_WORKERS = 1, SUPERVISE_LOADERS = 2, SUPERVISE_SCANNER = 4, SUPERVISE_SCANNER_IF = 8 };

struct supervise {
    const char *config_file; /* read again at SIGHUP */
    int what;                /* SUPERVISE_... */
    const char *name;        /* instance: "worker-2"; children are "worker-2.1", ... */
    bool drain;
    int64_t drain_wait_ms;
};

/* Runs until stopped (or drained). config is consumed. -1: the roles cannot run (setting, database, spool). */
int supervisor_run(const struct supervise *s, struct config *config, struct err *err);

#endif
