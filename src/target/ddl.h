/*
 * SQL files of people that make the tables of a warehouse (ddl= of a [target]), run by `qetlctl init`: each once, in the order of their
 * names.
 *
 * Table qetl_ddl of the target has the name and the SHA-256 of each file that was run, written in the transaction of what is in it. Where
 * DDL ends a transaction (MariaDB, MySQL) one init at a time runs them, and a file that fails half-way, or a power cut, leaves what stands before: such files are written so
 * that they can be run again (IF NOT EXISTS).
 */
#ifndef QETL_TARGET_DDL_H
#define QETL_TARGET_DDL_H

#include "target/target.h"

/* Run what was not run yet. c: opened with `create`, outside of a transaction, and closed soon: others wait for that. *run counts the files. Errors: config (there is no file, or
 * a name that is none), state (a file is not what it was when it was run; somebody else runs them), io, and those of the target. */
int ddl_apply(const struct target *t, struct target_conn *c, const struct target_config *cfg, int *run, struct err *err);

/* Are there files of it? Without ddl= nothing is asked. -1: config, that there is none, or why nobody can look. */
int ddl_check(const struct target_config *cfg, struct err *err);

#endif
