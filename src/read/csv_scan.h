/*
 * Where the bytes stand that give CSV its shape: delimiters, quotes, line ends, escapes.
 *
 * The scan knows no state: inside quotes or not is decided by whoever walks the positions (csv.c).
 * So every version gives the same positions for any bytes, and a quote in the middle of a bare
 * field cannot turn the rest of a file inside out.
 */
#ifndef QETL_READ_CSV_SCAN_H
#define QETL_READ_CSV_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/simd.h"

enum { CSV_SET_MAX = 5, CSV_SCAN_SLACK = 64 };

/* The bytes to look for; made by csv_set_init, which fills the unused places with one of the bytes.
 */
struct csv_set {
    unsigned char c[CSV_SET_MAX];
    int n;
};
void csv_set_init(struct csv_set *set, const unsigned char *bytes,
                  int n); /* 1 to CSV_SET_MAX bytes */

/*
 * Write at + i to out for each i below n where p[i] is in the set, in order; returns how many.
 * Nothing behind p + n is read. out has room for n + CSV_SCAN_SLACK numbers (what lies behind the
 * returned count is scratch). *high: is any byte 0x80 or above?
 */
typedef size_t csv_scan_fn(const struct csv_set *set, const char *p, size_t n, uint32_t at,
                           uint32_t *out, bool *high);

csv_scan_fn *csv_scan_get(enum simd kind); /* NULL: there is none for this machine */
csv_scan_fn *csv_scan_best(void);

#endif
