/*
 * JSON lines and documents: what inference needs beside format_jsonl (format.h).
 */
#ifndef QETL_READ_JSONL_H
#define QETL_READ_JSONL_H

#include "base/json.h"
#include "read/format.h"

/* "jsonl" or "json": how the member is read. Known from the first next() on. Columns may be empty
 * (n == 0): rows are only checked. */
const char *jsonl_form(const struct reader *r);

/* The way to an array of objects inside an object, at most three keys deep, as records = takes it. Keys that it would have to quote
 * are passed by. */
bool jsonl_records(const struct json_value *object, char *path, size_t cap);

#endif
