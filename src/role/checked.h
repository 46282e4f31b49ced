/*
 * The ini, checked by all that can be known without network and files of others: what config_load() finds, and what only targets,
 * steps and listers know. `qetlctl check` refuses what is refused when a role starts, when it reads the ini again, and when
 * somebody puts in work, in the same words: all of them come here.
 *
 * What cannot be reached now (a folder, a target, a program) is no fault of the ini, and `qetlctl check` warns of it besides.
 */
#ifndef QETL_ROLE_CHECKED_H
#define QETL_ROLE_CHECKED_H

#include "io/config.h"

/* As config_load(): every fault is a line of *faults (may be NULL), the first is *err. Those of the ini alone come first; what stands on
 * a key with such a fault is looked at no further. */
int checked_load(struct config **out, const char *file, struct buf *faults, struct err *err);

#endif
