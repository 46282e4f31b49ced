/*
 * How fast CSV is split: the scan alone, rows of which one column is wanted, batches of all fields.
 * Best of 50 over a text in memory; ten columns, about 96 bytes a row, one column quoted. Then the
 * same with every field quoted, with text beyond ASCII, with CRLF.
 *
 *     bench/csv [MB]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "read/csv.h"

#include "../tests/cut_input.h"

static const char header[] = "id,placed,customer,city,amount,tax,status,quantity,sku,note\n";

enum shape { USUAL, ALL_QUOTED, UMLAUTS, CRLF, SHAPES };
static const char *const shape_names[SHAPES] = { "usual", "all quoted", "beyond ASCII", "CRLF" };
static const char *const shape_formats[SHAPES] = {
    "%d,2026-11-%02d 10:%02d:07,customer-%06d,Hamburg,%d.%02d,%d.19,open,%d,sku-%05d,\"left, at %s "
    "the door\"\n",
    "\"%d\",\"2026-11-%02d "
    "10:%02d:07\",\"customer-%06d\",\"Hamburg\",\"%d.%02d\",\"%d.19\",\"open\",\"%d\",\"sku-%05d\","
    "\"left%s\"\n",
    "%d,2026-11-%02d 10:%02d:07,Käufer-%06d,Münster,%d.%02d,%d.19,open,%d,sku-%05d,\"vor, %s "
    "Tür\"\n",
    "%d,2026-11-%02d 10:%02d:07,customer-%06d,Hamburg,%d.%02d,%d.19,open,%d,sku-%05d,\"left, at %s "
    "the door\"\r\n",
};

static void make_text(struct buf *b, enum shape shape, size_t bytes)
{
    buf_adds(b, header);
    for (int i = 0; b->n < bytes; i++)
        buf_addf(b, shape_formats[shape], i, 1 + i % 28, i % 60, i % 999983, i % 9999, i % 100,
                 i % 500, i % 12, i % 99991, i % 20 ? "" : "\"\"small\"\"");
}

static double seconds_of_scan(csv_scan_fn *scan, struct str s, uint64_t *found)
{
    enum { CHUNK = 16 * 1024 };
    static uint32_t out[CHUNK + CSV_SCAN_SLACK];
    struct csv_set set;
    bool high;
    int64_t start = sys_mono_us();
    csv_set_init(&set, (const unsigned char *)"\n,\"", 3);
    *found = 0;
    for (size_t at = 0; at < s.n; at += CHUNK)
        *found += scan(&set, s.p + at, s.n - at < CHUNK ? s.n - at : CHUNK, 0, out, &high);
    return (double)(sys_mono_us() - start) / 1e6;
}

static double seconds_of_split(csv_scan_fn *scan, struct str s, const char *columns_text,
                               uint64_t *rows)
{
    struct err err = { 0 };
    struct recipe recipe = { .format = (char *)"csv", .quote = '"', .header = true };
    struct columns columns = { 0 };
    struct csv_tuning tuning = { .scan = scan };
    struct cut_input in = cut_of(s, 0);
    struct reader *r = NULL;
    struct batch b = { 0 };
    int rc = -1;
    int64_t start = sys_mono_us();
    *rows = 0;
    if (columns_parse(&columns, columns_text, &err) == 0 &&
        batch_init(&b, (uint32_t)columns.n, &err) == 0 &&
        csv_open(&r, &recipe, &columns, &in.in, 1 << 20, &tuning, &err) == 0)
        while ((rc = format_csv.next(r, &b, &err)) > 0)
            *rows += b.rows;
    double seconds = (double)(sys_mono_us() - start) / 1e6;
    if (rc < 0) {
        fprintf(stderr, "bench/csv: %s\n", err.msg);
        exit(1);
    }
    format_csv.close(r);
    batch_clear(&b);
    columns_clear(&columns);
    return seconds;
}

static void show(const char *shape, const char *what, csv_scan_fn *scan, const char *name,
                 struct str s, const char *columns)
{
    double best = 1e9;
    uint64_t n = 0;
    for (int i = 0; i < 50; i++) {
        double t = columns ? seconds_of_split(scan, s, columns, &n) : seconds_of_scan(scan, s, &n);
        best = t < best ? t : best;
    }
    printf("%-14s %-14s %-6s %7.0f MB/s %8.2f M/s\n", shape, what, name, (double)s.n / best / 1e6,
           (double)n / best / 1e6);
}

int main(int argc, char **argv)
{
    size_t mb = argc > 1 ? strtoul(argv[1], NULL, 10) : 4;
    for (int shape = 0; shape < SHAPES; shape++) {
        struct buf b = { 0 };
        make_text(&b, (enum shape)shape, mb << 20);
        for (int k = 0; k < SIMD_KINDS; k++) {
            csv_scan_fn *scan = csv_scan_get((enum simd)k);
            const char *name = simd_name((enum simd)k);
            if (!scan || (shape != USUAL && k == SIMD_PLAIN))
                continue;
            show(shape_names[shape], "scan", scan, name, buf_str(&b), NULL);
            show(shape_names[shape], "one column", scan, name, buf_str(&b), "customer");
            show(shape_names[shape], "batches", scan, name, buf_str(&b),
                 "id,placed,customer,city,amount,tax,status,quantity,sku,note");
        }
        buf_clear(&b);
    }
    return 0;
}
