/*
 * Any bytes by any dialect: the fast scans give what the plain one gives, and what is read does not
 * depend on where reads, windows and chunks end. The first bytes of the input choose the dialect
 * and the cuts.
 */
#include <stdlib.h>

#include "csv_dump.h"

enum { KNOBS = 5 };

static struct recipe recipe_of(const uint8_t *knob)
{
    static const char *const formats[] = { "csv", "tsv", "auto", "csv" };
    return (struct recipe){
        .format = (char *)formats[knob[0] & 3],
        .quote = knob[0] & 4 ? 0 : '"',
        .escape = knob[0] & 8 ? '\\' : 0,
        .comment = knob[0] & 16 ? '#' : 0,
        .header = knob[0] & 32,
        .trim = knob[0] & 64,
        .ragged = knob[0] & 128 ? RAGGED_FILL : RAGGED_REJECT,
        .skip_lines = knob[1] & 3,
    };
}

static void check_scans(const uint8_t *data, size_t n)
{
    struct csv_set set;
    bool want_high, got_high;
    uint32_t *want = malloc((n + CSV_SCAN_SLACK) * sizeof *want);
    uint32_t *got = malloc((n + CSV_SCAN_SLACK) * sizeof *got);
    if (!want || !got)
        abort();
    csv_set_init(&set, (const unsigned char *)"\n,\"\\\r", 1 + (int)(n % CSV_SET_MAX));
    size_t count = csv_scan_get(SIMD_PLAIN)(&set, (const char *)data, n, 0, want, &want_high);
    for (int k = 1; k < SIMD_KINDS; k++) {
        csv_scan_fn *scan = csv_scan_get((enum simd)k);
        if (scan && (scan(&set, (const char *)data, n, 0, got, &got_high) != count ||
                     memcmp(got, want, count * sizeof *got) != 0 || got_high != want_high))
            abort();
    }
    free(want);
    free(got);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < KNOBS)
        return 0;
    check_scans(data + KNOBS, n - KNOBS);
    struct recipe recipe = recipe_of(data);
    struct columns columns = { 0 };
    struct err err;
    if (columns_parse(&columns, data[1] & 4 ? "a,b,c:text?" : "b,a", &err) < 0)
        abort();
    const struct columns *wanted = data[1] & 8 ? NULL : &columns;
    int64_t row_max = data[1] & 16 ? 1 + data[1] / 32 * 5 : 1 << 20;
    struct str s = { (const char *)data + KNOBS, n - KNOBS };
    struct cut_input whole = cut_of(s, 0), cut = cut_of(s, data[2]);
    struct csv_tuning plain = { .scan = csv_scan_get(SIMD_PLAIN) },
                      small = { data[3], data[4], NULL };
    struct buf want = { 0 }, got = { 0 };
    dump_csv(&want, &recipe, wanted, &whole.in, row_max, &plain);
    dump_csv(&got, &recipe, wanted, &cut.in, row_max, &small);
    if (!str_eq(buf_str(&want), buf_str(&got))) {
        fprintf(stderr, "whole:\n%.*s\ncut:\n%.*s\n", (int)want.n, want.p, (int)got.n, got.p);
        abort();
    }
    buf_clear(&want);
    buf_clear(&got);
    columns_clear(&columns);
    return 0;
}
