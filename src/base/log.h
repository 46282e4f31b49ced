/*
 * The log: one event a line on standard error: a fixed sentence, then key=value pairs in qetl's words.
 * With [qetl] log = json each line is a JSON object. Under systemd a "<N>" priority stands in front
 * (sd-daemon(3)). Only roles and programs write to it.
 */
#ifndef QETL_BASE_LOG_H
#define QETL_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum log_level { LOG_NOTHING = -1, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_form { LOG_TEXT, LOG_JSON };

void log_init(enum log_level level, enum log_form form, const char *who); /* who: "worker-2", borrowed */
int log_level_by_name(const char *name); /* -1: no such level */

/*
 * One event. After the sentence come pairs: key (const char *), value (const char *), ended by NULL:
 *     log_event(LOG_INFO, "job staged", "job", uid, "rows", log_num(n), NULL);
 * A value with spaces, quotes or control characters is quoted and escaped. NULL values are left out.
 */
void log_event(enum log_level level, const char *sentence, ...) __attribute__((sentinel));
const char *log_num(long long n); /* text of n in one of 16 rotating buffers */

/* An error event of a failed thing: message, code and hint of *err. */
void log_error(const char *sentence, const struct err *err, const char *key, const char *value);

/* How something fails that is tried again and again: it is told when it begins, when it becomes another failure (but for numbers in its
 * message), and once an hour; not each time. All 0: it does not fail. */
struct log_again {
    int64_t failures; /* in a row */
    int64_t told_mono_ms;
    enum err_code code;
    char message[sizeof(((struct err *)0)->msg)];
};
/* It failed once more: is that to be told? */
bool log_again_fails(struct log_again *a, const struct err *why, int64_t mono_ms);
/* It did not fail: the number of failures that are over; 0: there were none. */
int64_t log_again_well(struct log_again *a);

#endif
