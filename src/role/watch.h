/*
 * Folders of this machine that are watched by inotify(7), so that a scan begins when something came and not when it is due.
 * A hint and no more: what is there says the listing. When the kernel lost events, or will not watch a folder, scans
 * come by their interval.
 */
#ifndef QETL_ROLE_WATCH_H
#define QETL_ROLE_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

struct watch;

struct watch *watch_new(void); /* NULL: this kernel has no inotify, or no memory: all calls below do nothing then */
void watch_free(struct watch *w);
/* Watch the folder for `owner` (a number below 64); where it is not there, the nearest one above it that is. */
void watch_folder(struct watch *w, int owner, const char *path, bool there);
/* Sleep up to timeout_ms, or until something comes, or a signal, or `also` (-1: none) is readable; bit n of the result: something came for
 * owner n. */
uint64_t watch_wait(struct watch *w, int also, int64_t timeout_ms);
/* Was the file renamed into its place since watch_forget()? Then it is whole. */
bool watch_renamed(const struct watch *w, struct str path);
void watch_forget(struct watch *w);

#endif
