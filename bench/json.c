/*
 * JSON to fields, MB a second on one core, from memory: the claim of LIMITS "JSON lines, nested".
 *
 *     bench/json [MB]        default 48
 *
 * nested  262 bytes a line, 8 wanted fields: id, ts, customer.id, customer.name (always with
 * escapes), items[0].price, status, note (null in a fifth), gift wide    the same with 320 bytes of
 * unwanted nested data utf-8   the same as nested with Cyrillic, umlauts and kana array   nested,
 * as one array of objects mixed   nested, but keys leave and change places from row to row Fields
 * are found, not typed. Each figure is the middle of five runs.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/sys.h"
#include "read/format.h"

#include "../tests/cut_input.h"

enum { RUNS = 5 };

enum shape { NESTED, WIDE, UTF8, ARRAY, MIXED, SHAPES };
static const char *const shape_names[SHAPES] = { "nested", "wide", "utf-8", "array", "mixed" };

static void put_wide(struct buf *b, unsigned i)
{
    buf_addf(b,
             "\"extra\":{\"tags\":[\"alpha\",\"beta\",\"gamma-%u\"],\"geo\":{\"lat\":52.%05u,"
             "\"lon\":13.%05u},",
             i % 7, i % 99991, i % 99989);
    buf_adds(b, "\"agent\":\"Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 "
                "Firefox/115.0\",\"flags\":{\"a\":true,\"b\":false,");
    buf_adds(b, "\"c\":null,\"d\":[1,2,3,4,5,6,7,8]},\"trace\":\"4bf92f3577b34da6a3ce929d0e0e4736-"
                "00f067aa0ba902b7-01\",\"n\":[[],[[]]]},");
}

static void put_line(struct buf *b, enum shape shape, unsigned i)
{
    const char *name =
        shape == UTF8 ? "Анна \\\"Мюллер\\\" ゆうこ" : "Ann \\\"Anna\\\" M\\u00fcller-Smith";
    buf_addf(b, "{\"id\":%u,\"ts\":\"2026-%02u-%02uT%02u:%02u:%02u.%03uZ\",", i, i % 12 + 1,
             i % 28 + 1, i % 24, i % 60, i * 7 % 60, i % 1000);
    buf_addf(b, "\"customer\":{\"id\":%u,\"name\":\"%s\",\"vip\":%s},", i * 31 % 100000, name,
             i % 3 ? "false" : "true");
    if (shape == WIDE)
        put_wide(b, i);
    if (shape == MIXED && i % 3 == 1)
        buf_adds(b, "\"coupon\":\"SUMMER\",");
    buf_addf(b,
             "\"items\":[{\"sku\":\"A-%05u\",\"qty\":%u,\"price\":%u.%02u},{\"sku\":\"B-%05u\","
             "\"qty\":1,\"price\":9.99}],",
             i % 99991, i % 9 + 1, i % 900 + 10, i % 100, i % 99877);
    if (shape != MIXED || i % 5 != 2)
        buf_addf(b, "\"status\":\"%s\",", i % 4 ? "shipped" : "returned");
    buf_addf(b, "\"note\":%s,\"gift\":%s}", i % 5 ? "\"leave at the door\"" : "null",
             i % 2 ? "true" : "false");
}

static struct buf make(enum shape shape, size_t bytes)
{
    struct buf b = { 0 };
    if (shape == ARRAY)
        buf_addc(&b, '[');
    for (unsigned i = 0; b.n < bytes && !b.failed; i++) {
        if (i)
            buf_adds(&b, shape == ARRAY ? ",\n" : "\n");
        put_line(&b, shape, i);
    }
    buf_adds(&b, shape == ARRAY ? "]\n" : "\n");
    return b;
}

static int run(struct str text, const struct recipe *recipe, const struct columns *columns,
               uint64_t *rows, struct err *err)
{
    struct cut_input in = cut_of(text, 0);
    struct batch b;
    struct reader *r;
    int rc;
    if (batch_init(&b, (uint32_t)columns->n, err) < 0 ||
        format_jsonl.open(&r, recipe, columns, &in.in, 1 << 24, err) < 0)
        return -1;
    *rows = 0;
    while ((rc = format_jsonl.next(r, &b, err)) == 1) {
        *rows += b.rows;
        if (b.nbad)
            return err_set(err, ERR_FORMAT, "row refused: %s", reject_name(b.bad->reason));
    }
    format_jsonl.close(r);
    batch_clear(&b);
    return rc;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static int measure(enum shape shape, enum json_unknown unknown, size_t bytes,
                   const struct columns *columns, struct err *err)
{
    struct recipe recipe = { .format = (char *)(shape == ARRAY ? "json" : "jsonl"),
                             .unknown = unknown };
    struct buf text = make(shape, bytes);
    double speed[RUNS];
    uint64_t rows = 0;
    if (text.failed)
        return err_nomem(err);
    for (int i = 0; i < RUNS; i++) {
        int64_t start = sys_mono_us();
        if (run(buf_str(&text), &recipe, columns, &rows, err) < 0)
            return -1;
        speed[i] = (double)text.n / (double)(sys_mono_us() - start + 1);
    }
    qsort(speed, RUNS, sizeof *speed, by_size);
    printf("%-8s %-7s %6.0f MB/s (%.0f to %.0f)  %.2f M rows/s, %.0f bytes a row\n",
           shape_names[shape], unknown == UNKNOWN_LAX ? "lax" : "strict", speed[RUNS / 2], speed[0],
           speed[RUNS - 1], speed[RUNS / 2] * (double)rows / (double)text.n,
           (double)text.n / (double)rows);
    buf_clear(&text);
    return 0;
}

int main(int argc, char **argv)
{
    size_t bytes = (argc > 1 ? strtoul(argv[1], NULL, 10) : 48) << 20;
    struct columns columns;
    struct err err;
    if (columns_parse(&columns,
                      "id, ts, customer.id, customer.name, items[0].price, status, note, gift",
                      &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    for (int shape = 0; shape < SHAPES; shape++)
        for (int lax = 0; lax < 2; lax++)
            if (measure((enum shape)shape, lax ? UNKNOWN_LAX : UNKNOWN_STRICT, bytes, &columns,
                        &err) < 0) {
                fprintf(stderr, "%s: %s\n", shape_names[shape], err.msg);
                return 1;
            }
    columns_clear(&columns);
    return 0;
}
