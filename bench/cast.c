/*
 * How fast fields become typed values. First the whole way from CSV in memory to typed rows: the
 * 10-column row of the CSV benchmarks (3 integers, 2 reals, 1 timestamp, 4 texts, about 100 bytes).
 * Then the same rows already split, then each type alone, 10 columns of it. No files, no rejects.
 *
 *     bench/cast [SECONDS A LINE]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/sys.h"
#include "base/text.h"
#include "read/cast.h"
#include "read/format.h"

enum { COLS = 10, DISTINCT = 16 * BATCH_ROWS };

static uint64_t seed = 1;
static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* One text of a kind, as a file has it. */
static void add_value(struct buf *b, const char *kind)
{
    uint64_t r = next_random();
    char text[32];
    switch (kind[0]) {
    case 'I':
        buf_addf(b, "%" PRIu64, r % 10000000);
        break;
    case 'i':
        buf_addf(b, "%" PRId64, (int64_t)(r % 2000) - 1000);
        break;
    case 'r':
        buf_addf(b, "%d.%02d", (int)(r % 10000), (int)(r / 10000 % 100));
        break;
    case 'R':
        buf_addf(b, "%.17g", (double)(r >> 11) / 9007199254740992.0);
        break;
    case 't':
        buf_add(b, text,
                (size_t)text_put_timestamp(text, (int64_t)(r % 1700000000) * 1000000, 'T'));
        break;
    case 'd':
        buf_add(b, text, (size_t)text_put_date(text, (int64_t)(r % 20000)));
        break;
    case 'b':
        buf_adds(b, r % 2 ? "true" : "false");
        break;
    default: /* text of 3 to 18 bytes */
        for (uint64_t n = 3 + r % 16; n; n--)
            buf_addc(b, (char)('a' + (r >> n) % 26));
    }
}

/* Batches of DISTINCT rows over one text, so that nothing is learnt by heart. */
static void run(const char *label, const char *columns, const char *const kinds[COLS],
                double seconds)
{
    struct err err;
    struct columns parsed;
    struct recipe recipe = { .nnulls = -1, .decimal_point = '.' };
    struct cast *cast;
    if (columns_parse(&parsed, columns, &err) < 0 || cast_open(&cast, &recipe, &parsed, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    struct buf text = { 0 };
    size_t(*ends)[COLS] = malloc(DISTINCT * sizeof *ends);
    for (int row = 0; row < DISTINCT; row++)
        for (int col = 0; col < COLS; col++) {
            add_value(&text, kinds[col]);
            ends[row][col] = text.n;
            buf_addc(&text, col == COLS - 1 ? '\n' : ',');
        }
    enum { BATCHES = DISTINCT / BATCH_ROWS };
    static struct batch batches[BATCHES];
    size_t at = 0;
    for (int i = 0; i < BATCHES; i++) {
        if (batch_init(&batches[i], COLS, &err) < 0)
            exit(1);
        batches[i].rows = BATCH_ROWS;
        for (int f = 0; f < BATCH_ROWS * COLS; f++) {
            size_t end = ends[i * BATCH_ROWS + f / COLS][f % COLS];
            batches[i].fields[f] = (struct field){ text.p + at, (uint32_t)(end - at), FIELD_BARE };
            at = end + 1;
        }
        for (int row = 0; row < BATCH_ROWS; row++)
            batches[i].places[row] = (struct place){ 0 };
    }
    struct rejects rejects;
    struct stage stage = { 0 };
    rejects_init(&rejects, &stage, 0, (struct reject_limit){ 0, -1 });
    struct rows rows;
    int64_t start = sys_mono_us(), end;
    int64_t n = 0;
    do {
        for (int i = 0; i < BATCHES; i++, n += BATCH_ROWS)
            if (cast_batch(cast, &batches[i], &rows, &rejects, &err) < 0) {
                fprintf(stderr, "%s\n", err.msg);
                exit(1);
            }
        end = sys_mono_us();
    } while ((double)(end - start) < seconds * 1e6);
    double s = (double)(end - start) / 1e6;
    printf("%-10s %7.1f ns a row %6.2f ns a value %6.2f GB/s\n", label, s * 1e9 / (double)n,
           s * 1e9 / (double)n / COLS, (double)text.n * ((double)n / DISTINCT) / s / 1e9);
    for (int i = 0; i < BATCHES; i++)
        batch_clear(&batches[i]);
    rejects_clear(&rejects);
    cast_close(cast);
    columns_clear(&parsed);
    buf_clear(&text);
    free(ends);
}

struct memory {
    struct input in;
    struct str s;
    size_t at;
};

static ssize_t memory_read(struct input *in, void *to, size_t cap, struct err *err)
{
    struct memory *m = (struct memory *)in;
    size_t n = m->s.n - m->at < cap ? m->s.n - m->at : cap;
    (void)err;
    memcpy(to, m->s.p + m->at, n);
    m->at += n;
    return (ssize_t)n;
}

/* The way from bytes to typed rows: the CSV reader and cast together, a quarter of one column
 * quoted. */
static void run_csv(const char *columns, const char *const kinds[COLS], double seconds)
{
    struct err err;
    struct columns parsed;
    struct recipe recipe = {
        .nnulls = -1, .decimal_point = '.', .delimiter = ',', .quote = '"', .header = false
    };
    struct cast *cast;
    struct batch batch;
    if (columns_parse(&parsed, columns, &err) < 0 || cast_open(&cast, &recipe, &parsed, &err) < 0 ||
        batch_init(&batch, COLS, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    struct buf text = { 0 };
    for (int row = 0; row < DISTINCT * 4; row++)
        for (int col = 0; col < COLS; col++) {
            bool quoted = col == COLS - 2 && row % 4 == 0;
            buf_adds(&text, quoted ? "\"" : "");
            add_value(&text, kinds[col]);
            buf_adds(&text, quoted ? "\"" : "");
            buf_addc(&text, col == COLS - 1 ? '\n' : ',');
        }
    struct rejects rejects;
    struct stage stage = { 0 };
    rejects_init(&rejects, &stage, 0, (struct reject_limit){ 0, -1 });
    struct rows rows;
    int64_t start = sys_mono_us(), end, n = 0;
    do {
        struct memory m = { { .read = memory_read, .size = -1 }, buf_str(&text), 0 };
        struct reader *reader;
        int rc = format_csv.open(&reader, &recipe, &parsed, &m.in, 1 << 20, &err);
        while (rc >= 0 && (rc = format_csv.next(reader, &batch, &err)) == 1 &&
               (rc = cast_batch(cast, &batch, &rows, &rejects, &err)) == 0)
            n += rows.n;
        if (rc < 0) {
            fprintf(stderr, "%s\n", err.msg);
            exit(1);
        }
        format_csv.close(reader);
        end = sys_mono_us();
    } while ((double)(end - start) < seconds * 1e6);
    double s = (double)(end - start) / 1e6;
    printf("%-10s %7.1f ns a row %6.2f ns a value %6.2f GB/s\n", "CSV", s * 1e9 / (double)n,
           s * 1e9 / (double)n / COLS, (double)text.n * ((double)n / (DISTINCT * 4)) / s / 1e9);
    rejects_clear(&rejects);
    batch_clear(&batch);
    cast_close(cast);
    columns_clear(&parsed);
    buf_clear(&text);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *label, *columns, *kinds[COLS];
    } lines[] = {
        { "row",
          "a:integer, b:integer, c:integer, d:real, e:real, f:timestamp, g, h, i, j",
          { "I", "I", "i", "r", "r", "t", "x", "x", "x", "x" } },
        { "integer",
          "a:integer, b:integer, c:integer, d:integer, e:integer, f:integer, g:integer, h:integer, "
          "i:integer, j:integer",
          { "I", "I", "I", "I", "I", "i", "i", "i", "i", "i" } },
        { "decimal",
          "a:decimal(2), b:decimal(2), c:decimal(2), d:decimal(2), e:decimal(2), f:decimal(2), "
          "g:decimal(2), h:decimal(2), i:decimal(2), j:decimal(2)",
          { "r", "r", "r", "r", "r", "r", "r", "r", "r", "r" } },
        { "real",
          "a:real, b:real, c:real, d:real, e:real, f:real, g:real, h:real, i:real, j:real",
          { "r", "r", "r", "r", "r", "r", "r", "r", "r", "r" } },
        { "real 17",
          "a:real, b:real, c:real, d:real, e:real, f:real, g:real, h:real, i:real, j:real",
          { "R", "R", "R", "R", "R", "R", "R", "R", "R", "R" } },
        { "timestamp",
          "a:timestamp, b:timestamp, c:timestamp, d:timestamp, e:timestamp, f:timestamp, "
          "g:timestamp, h:timestamp, i:timestamp, j:timestamp",
          { "t", "t", "t", "t", "t", "t", "t", "t", "t", "t" } },
        { "date",
          "a:date, b:date, c:date, d:date, e:date, f:date, g:date, h:date, i:date, j:date",
          { "d", "d", "d", "d", "d", "d", "d", "d", "d", "d" } },
        { "boolean",
          "a:boolean, b:boolean, c:boolean, d:boolean, e:boolean, f:boolean, g:boolean, h:boolean, "
          "i:boolean, j:boolean",
          { "b", "b", "b", "b", "b", "b", "b", "b", "b", "b" } },
        { "text",
          "a, b, c, d, e, f, g, h, i, j",
          { "x", "x", "x", "x", "x", "x", "x", "x", "x", "x" } },
    };
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 0.5;
    run_csv(lines[0].columns, lines[0].kinds, seconds);
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        run(lines[i].label, lines[i].columns, lines[i].kinds, seconds);
    return 0;
}
