/*
 * error= of an [enrich]: does an answer with a good status say that the server failed? The worker asks this of every such answer before
 * anything else is done with it, so that retries, quota and what holds a server that fails are the same as for a status above 499.
 *
 * It is the one look that the worker takes into an answer, with the scanner that the reader has, in its strict form; of what it found
 * there come at most ENRICH_SAID bytes into a message. An answer that is no JSON is none of its business: the reader says what is wrong
 * with that. One that has a key of the path twice says so whatever its values are, for nobody knows which of them counts.
 */
#ifndef QETL_PIPELINE_ENRICH_JUDGE_H
#define QETL_PIPELINE_ENRICH_JUDGE_H

#include "base/err.h"
#include "base/mem.h"
#include "io/config.h"

enum { ENRICH_SAID = 120 };

struct enrich_judge;
/* config is borrowed, and has error_path. -1: config (the path is none), no-memory. */
int enrich_judge_open(struct enrich_judge **out, const struct enrich_config *config, struct err *err);
void enrich_judge_close(struct enrich_judge *j); /* NULL is fine */
/* 1: body says so, and said is what stands at the path: a text without its quotes, all else as written. 0: it does not. -1: no memory. */
int enrich_judge(struct enrich_judge *j, struct str body, struct buf *said, struct err *err);
/* The first of its bytes as a part of a message: whole characters, and none that are for a terminal. */
void enrich_said(struct str said, char out[ENRICH_SAID + 4]);

#endif
