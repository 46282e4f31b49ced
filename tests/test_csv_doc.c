/*
 * The examples of doc/csv.md, run: the keys by the reader of the ini, the file by the decoder, the CSV reader and the cast. One test, for
 * the page is one promise.
 */
#include "cut_input.h"
#include "read/cast.h"
#include "read/format.h"
#include "test.h"

#include "base/text.h"

struct example {
    struct buf ini, csv, rows;
    int line; /* of the page, for messages */
};

static int no_file(void *arg, int number, const char *ext, struct err *err)
{
    (void)arg, (void)number, (void)ext;
    return err_set(err, ERR_INTERNAL, "no file was expected");
}

static void put_value(struct buf *out, const struct value *v, const struct column *c)
{
    char text[32];
    if (v->null) {
        buf_adds(out, "NULL");
    } else if (c->type == TYPE_INTEGER) {
        buf_add(out, text, (size_t)text_put_int(text, v->i));
    } else if (c->type == TYPE_DECIMAL) {
        buf_add(out, text, (size_t)text_put_decimal(text, v->i, c->scale));
    } else if (!v->n) {
        buf_adds(out, "\"\"");
    } else {
        for (uint32_t i = 0; i < v->n; i++)
            if (v->p[i] == '\n')
                buf_adds(out, "\\n");
            else
                buf_addc(out, v->p[i]);
    }
}

/* The rows and the bad rows of a batch, in the order of their lines. */
static void put_batch(struct buf *out, const struct batch *b, const struct rows *rows, const struct columns *columns)
{
    uint32_t i = 0, k = 0;
    while (i < rows->n || k < b->nbad) {
        if (i == rows->n || (k < b->nbad && b->bad[k].place.line < rows->places[i]->line)) {
            buf_addf(out, "%d: rejected, %s\n", (int)b->bad[k].place.line, reject_name(b->bad[k].reason));
            k++;
            continue;
        }
        buf_addf(out, "%d: ", (int)rows->places[i]->line);
        for (uint32_t c = 0; c < rows->cols; c++) {
            buf_adds(out, c ? " | " : "");
            put_value(out, &rows->values[(size_t)i * rows->cols + c], &columns->v[c]);
        }
        buf_addc(out, '\n');
        i++;
    }
}

static void run_recipe(struct buf *out, const struct recipe *recipe, struct str csv)
{
    static const struct stage in_memory = { no_file, NULL, 1 << 20 };
    struct err err = { 0 };
    struct cut_input in = cut_of(csv, 0);
    struct input *decoded = decode_open(&in.in, recipe->encoding, &err);
    const struct format *format = format_pick(recipe, csv, &err);
    struct reader *r = NULL;
    struct batch b;
    struct cast *cast = NULL;
    struct rejects rejects;
    struct rows rows;
    int rc;
    assert_non_null(decoded);
    assert_ptr_equal(format, &format_csv);
    rejects_init(&rejects, &in_memory, 0, (struct reject_limit){ -1, -1 });
    CHECK_OK(format->open(&r, recipe, &recipe->columns, decoded, 1 << 20, &err), err);
    CHECK_OK(batch_init(&b, (uint32_t)recipe->columns.n, &err), err);
    CHECK_OK(cast_open(&cast, recipe, &recipe->columns, &err), err);
    while ((rc = format->next(r, &b, &err)) > 0) {
        CHECK_OK(cast_batch(cast, &b, &rows, &rejects, &err), err);
        put_batch(out, &b, &rows, &recipe->columns);
    }
    CHECK_OK(rc, err);
    rejects_clear(&rejects);
    cast_close(cast);
    batch_clear(&b);
    format->close(r);
    decode_close(decoded);
}

static void check_example(const struct example *e)
{
    const char *path = test_file("example.ini");
    struct config *config = NULL;
    struct err err = { 0 };
    struct buf out = { 0 };
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "[target w]\nurl = sqlite:///tmp/w.db\n[pipeline p]\ntable = w.t\n%s", e->ini.p);
    fclose(f);
    if (config_load(&config, path, NULL, &err) < 0)
        fail_msg("doc/csv.md:%d: %s", e->line, err.msg);
    run_recipe(&out, &config->pipelines[0].parts[0], buf_str(&e->csv));
    if (!str_eq(buf_str(&out), buf_str(&e->rows)))
        fail_msg("doc/csv.md:%d: the example gives\n%s", e->line, out.p);
    buf_clear(&out);
    config_free(config);
}

TEST(csv_doc, every_example_of_the_page_gives_what_it_says)
{
    struct example e = { 0 };
    struct buf *into = NULL;
    char path[512], line[1024];
    int examples = 0, number = 0;
    const char *srcdir = getenv("srcdir");
    snprintf(path, sizeof path, "%s/doc/csv.md", srcdir ? srcdir : ".");
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("cannot open '%s'; set srcdir", path);
    while (fgets(line, sizeof line, f)) {
        number++;
        if (strcmp(line, "```ini\n") == 0) {
            into = &e.ini;
            e.line = number;
        } else if (strcmp(line, "```csv\n") == 0) {
            into = &e.csv;
        } else if (strcmp(line, "```rows\n") == 0) {
            into = &e.rows;
        } else if (strcmp(line, "```\n") == 0) {
            if (into == &e.rows) {
                check_example(&e);
                examples++;
                buf_reset(&e.ini);
                buf_reset(&e.csv);
                buf_reset(&e.rows);
            }
            into = NULL;
        } else if (into) {
            buf_adds(into, line);
        }
    }
    fclose(f);
    CHECK_EQ(examples, 20);
    buf_clear(&e.ini);
    buf_clear(&e.csv);
    buf_clear(&e.rows);
}
