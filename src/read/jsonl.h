/*
 * JSON lines and documents: what inference needs beside format_jsonl (format.h).
 */
#ifndef QETL_READ_JSONL_H
#define QETL_READ_JSONL_H

#include "read/format.h"

/* "jsonl" or "json": how the member is read. Known from the first next() on. Columns may be empty
 * (n == 0): rows are only checked. */
const char *jsonl_form(const struct reader *r);

#endif
