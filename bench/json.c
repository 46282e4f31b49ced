/*
 * JSON to fields and to typed values, MB a second on one core, from memory: the claim of LIMITS
 * "JSON lines, nested, typed".
 *
 *     bench/json [MB]           default 48
 *     bench/json MB write       the nested lines on standard output, for peers:
 *         bench/json 48 write >/tmp/n.jsonl; time jq -c '[.id, .ts, .customer.id, .customer.name,
 *             .items[0].price, .status, .note, .gift]' /tmp/n.jsonl >/dev/null
 *
 * nested  266 bytes a line, 8 wanted fields: id, ts, customer.id, customer.name (always with
 *         escapes), items[0].price, status, note (null in a fifth), gift
 * wide    the same with 300 bytes of unwanted nested data
 * utf-8   the same as nested with Cyrillic, umlauts and kana
 * array   nested, as one array of objects
 * mixed   nested, but keys leave and change places from row to row
 * Each figure is the middle of five runs.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/sys.h"
#include "read/cast.h"
#include "read/format.h"
#include "read/infer.h"

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

/* What is measured. */
enum work { FIELDS, FIELDS_LAX, TYPED, INFERRED, WORKS };
static const char *const work_names[WORKS] = { "fields", "fields, lax", "typed", "inferred" };

static void cast_closep(struct cast **c)
{
    cast_close(*c);
}

static int read_rows(struct str text, const struct recipe *recipe, const struct columns *columns,
                     bool typed, uint64_t *rows, struct err *err)
{
    AUTO(cast_closep) struct cast *cast = NULL;
    AUTO(batch_clear) struct batch b = { 0 };
    struct cut_input in = cut_of(text, 0);
    struct stage stage = { .inline_max = SIZE_MAX };
    struct rejects rejects;
    struct rows out;
    struct reader *r;
    int rc;
    rejects_init(&rejects, &stage, 0, (struct reject_limit){ 0, -1 });
    if (batch_init(&b, (uint32_t)columns->n, err) < 0 ||
        cast_open(&cast, recipe, columns, err) < 0 ||
        format_jsonl.open(&r, recipe, columns, &in.in, 1 << 24, err) < 0)
        return -1;
    while ((rc = format_jsonl.next(r, &b, err)) == 1) {
        *rows += b.rows;
        if (b.nbad)
            rc = err_set(err, ERR_FORMAT, "row refused: %s", reject_name(b.bad->reason));
        else if (typed)
            rc = cast_batch(cast, &b, &out, &rejects, err);
        if (rc < 0)
            break;
    }
    format_jsonl.close(r);
    rejects_clear(&rejects);
    return rc;
}

static int run(struct str text, enum shape shape, enum work work, const struct columns *columns,
               uint64_t *rows, struct err *err)
{
    struct recipe recipe = { .format = (char *)(shape == ARRAY ? "json" : "jsonl"),
                             .grammar = work == FIELDS_LAX ? GRAMMAR_LAX : GRAMMAR_STRICT,
                             .nnulls = -1 };
    struct cut_input in = cut_of(text, 0);
    struct inferred found;
    *rows = 0;
    if (work != INFERRED)
        return read_rows(text, &recipe, columns, work == TYPED, rows, err);
    if (infer_member(&found, &recipe, &in.in, 0, err) < 0)
        return -1;
    *rows = (uint64_t)found.rows;
    inferred_clear(&found);
    return 0;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static int measure(enum shape shape, enum work work, struct str text, const struct columns *columns,
                   struct err *err)
{
    double speed[RUNS];
    uint64_t rows = 0;
    for (int i = 0; i < RUNS; i++) {
        int64_t start = sys_mono_us();
        if (run(text, shape, work, columns, &rows, err) < 0)
            return -1;
        speed[i] = (double)text.n / (double)(sys_mono_us() - start + 1);
    }
    qsort(speed, RUNS, sizeof *speed, by_size);
    printf("%-7s %-12s %6.0f MB/s (%.0f to %.0f)  %.2f M rows/s\n", shape_names[shape],
           work_names[work], speed[RUNS / 2], speed[0], speed[RUNS - 1],
           speed[RUNS / 2] * (double)rows / (double)text.n);
    return 0;
}

int main(int argc, char **argv)
{
    size_t bytes = (argc > 1 ? strtoul(argv[1], NULL, 10) : 48) << 20;
    struct columns columns;
    struct err err;
    if (columns_parse(&columns,
                      "id:integer!, ts:timestamp, customer.id:integer, customer.name, "
                      "items[0].price:decimal(2), status, note, gift:boolean",
                      &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    for (int shape = 0; shape < SHAPES; shape++) {
        struct buf text = make((enum shape)shape, bytes);
        if (argc > 2)
            return text.failed || fwrite(text.p, 1, text.n, stdout) != text.n;
        for (int work = 0; work < WORKS; work++)
            if (measure((enum shape)shape, (enum work)work, buf_str(&text), &columns, &err) < 0) {
                fprintf(stderr, "%s: %s\n", shape_names[shape], err.msg);
                return 1;
            }
        buf_clear(&text);
    }
    columns_clear(&columns);
    return 0;
}
