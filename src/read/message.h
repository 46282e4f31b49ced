/*
 * The message with tables, taken apart while it streams: [{"table": "T", "refresh": true, "data": [{...}, ...]}, ...], or one such
 * object alone. Never more of it is held than a window and one short value.
 *
 * "data" comes last in its object, for what stands before it says where the rows go. An object with "error" ends it: the program
 * says why it failed (code program).
 */
#ifndef QETL_READ_MESSAGE_H
#define QETL_READ_MESSAGE_H

#include <stdbool.h>

#include "base/err.h"
#include "io/input.h"

struct message;

struct message_table {
    const char *table;  /* valid until the next message_next() */
    bool has_refresh, refresh;
};

/* in is borrowed until close. */
int message_open(struct message **out, struct input *in, struct err *err);
/* 1: the next table, its rows are in message_data(); 0: the end, and nothing stands behind it; -1: format, truncated, limit, program.
 * What was not read of the rows of the table before is passed over. */
int message_next(struct message *m, struct message_table *t, struct err *err);
/* The bytes of the array behind "data", with its brackets. */
struct input *message_data(struct message *m);
void message_close(struct message *m); /* NULL is fine */

#endif
