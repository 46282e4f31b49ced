/*
 * The line that ends a file: `T|1034`, `#EOF`. A file whose last line is another one was cut off, and is refused as a whole
 * (truncated), for which text has no other sign. As an input over an input: formats see all but that line.
 */
#ifndef QETL_READ_CLOSING_H
#define QETL_READ_CLOSING_H

#include "base/err.h"
#include "io/input.h"

/*
 * in, whose bytes are UTF-8, and glob (text_glob()) are borrowed until closing_close. The last line with anything in it, without its
 * \n or \r\n, must match the glob; one of more than 64 KiB matches none. Reading gives truncated at the end otherwise, after what is
 * before that line was given. The result cannot seek; its size is -1. NULL: no memory.
 */
struct input *closing_open(struct input *in, const char *glob, struct err *err);
void closing_close(struct input *in); /* NULL is fine */

#endif
