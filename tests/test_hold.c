/* Rows that wait, in memory and in a file: each comes back as it went in. */
#include "config.h"

#include "test.h"

#include <fcntl.h>
#include <stdio.h>

#include "pipeline/hold.h"

static int files;

static int file_open(void *arg, int number, const char *ext, struct err *err)
{
    (void)arg, (void)ext;
    CHECK_EQ(number, STAGE_SCRATCH);
    files++;
    int fd = open(test_dir(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd < 0 ? err_sys(err, "open") : fd;
}

static const struct stage stage = { file_open, NULL, 0 };

/* Batch b of row i: (i, "text i" or null, raw "row i"), of member m<b>, every third of none. */
static void put_batch(struct hold *h, int b, int rows, size_t length)
{
    struct value values[2 * 16] = { 0 };
    struct place places[16];
    const struct place *at[16];
    char texts[16][32], raws[16][32], member[32];
    AUTO(buf_clear) struct buf text = { 0 };
    struct err err;
    CHECK(rows <= 16);
    for (int i = 0; i < rows; i++) {
        snprintf(texts[i], sizeof texts[i], "text %d", i);
        snprintf(raws[i], sizeof raws[i], "row %d", i);
        values[2 * i].i = b * 100 + i;
        values[2 * i + 1] = (struct value){ .p = texts[i], .n = (uint32_t)strlen(texts[i]), .null = i == 1 };
        places[i] = (struct place){ (uint64_t)i + 2, (uint64_t)i * 10, str_of(raws[i]) };
        at[i] = &places[i];
    }
    for (size_t k = 0; k < length; k++)
        buf_addc(&text, 'x');
    if (length)
        values[1] = (struct value){ .p = text.p, .n = (uint32_t)text.n };
    struct rows batch = { (uint32_t)rows, 2, values, at };
    snprintf(member, sizeof member, "m%d", b);
    CHECK_OK(hold_put(h, &batch, "o", b % 3 ? member : NULL, &err), err);
    memset(texts, 'y', sizeof texts); /* it keeps nothing of ours */
    memset(raws, 'y', sizeof raws);
}

static void take_batch(struct hold *h, int b, int rows, size_t length)
{
    struct rows got;
    const char *object, *member;
    char want[32];
    struct err err;
    CHECK_EQ(hold_take(h, &got, &object, &member, &err), 1);
    CHECK_EQ(got.n, rows);
    CHECK_EQ(got.cols, 2);
    CHECK_STR(object, "o");
    snprintf(want, sizeof want, "m%d", b);
    if (b % 3)
        CHECK_STR(member, want);
    else
        CHECK(!member);
    for (int i = 0; i < rows; i++) {
        const struct value *row = got.values + (size_t)i * 2;
        CHECK_EQ(row[0].i, b * 100 + i);
        CHECK_EQ(row[1].null, i == 1);
        snprintf(want, sizeof want, "text %d", i);
        if (i == 0 && length)
            CHECK_EQ(row[1].n, length);
        else if (i != 1)
            CHECK(str_eq((struct str){ row[1].p, row[1].n }, str_of(want)));
        snprintf(want, sizeof want, "row %d", i);
        CHECK(str_eq(got.places[i]->raw, str_of(want)));
        CHECK_EQ(got.places[i]->line, i + 2);
        CHECK_EQ(got.places[i]->offset, i * 10);
    }
}

static void there_and_back(int batches, size_t length)
{
    struct columns columns;
    struct hold *h;
    struct err err;
    struct rows rows;
    const char *object, *member;
    CHECK_OK(columns_parse(&columns, "id:integer, t", &err), err);
    CHECK_OK(hold_open(&h, &columns, &stage, 1 << 30, &err), err);
    for (int b = 0; b < batches; b++)
        put_batch(h, b, b % 17, b % 50 ? 0 : length);
    for (int b = 0; b < batches; b++)
        if (b % 17) /* of one without rows nothing is kept */
            take_batch(h, b, b % 17, b % 50 ? 0 : length);
    CHECK_EQ(hold_take(h, &rows, &object, &member, &err), 0);
    CHECK_EQ(hold_take(h, &rows, &object, &member, &err), 0);
    hold_close(h);
    columns_clear(&columns);
}

TEST(hold, a_few_rows_stay_in_memory)
{
    files = 0;
    there_and_back(0, 0);
    there_and_back(20, 0);
    CHECK_EQ(files, 0);
}

TEST(hold, many_rows_and_long_ones_go_through_one_file)
{
    files = 0;
    there_and_back(2000, 0);
    CHECK_EQ(files, 1);
    there_and_back(200, 3 << 20);
    CHECK_EQ(files, 2);
}

TEST(hold, it_has_a_limit)
{
    struct columns columns;
    struct hold *h;
    struct err err;
    struct value v = { .p = "text", .n = 4 };
    struct place place = { 1, 0, STR("row") };
    const struct place *places[] = { &place };
    struct rows rows = { 1, 1, &v, places };
    CHECK_OK(columns_parse(&columns, "t", &err), err);
    CHECK_OK(hold_open(&h, &columns, &stage, 200, &err), err);
    CHECK_OK(hold_put(h, &rows, "o", "m", &err), err);
    CHECK_EQ(hold_put(h, &rows, "o", "m", &err) | hold_put(h, &rows, "o", "m", &err) | hold_put(h, &rows, "o", "m", &err), -1);
    CHECK_EQ(err.code, ERR_LIMIT);
    CHECK_HAS(err.msg, "[limits] scratch");
    hold_close(h);
    hold_close(NULL);
    columns_clear(&columns);
}
