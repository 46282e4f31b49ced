/* What the loader must know of an output, written down and read again. */
#include "test.h"

#include "role/outputs.h"

static struct err err;

/* An output of rows with those columns. */
static struct output output(const char *table, const char *columns)
{
    struct output out = { .number = 3, .columns = strdup(columns) };
    snprintf(out.table, sizeof out.table, "%s", table);
    return out;
}

static struct recipe recipe(enum load_mode mode, char **key, int nkey)
{
    return (struct recipe){ .table_name = (char *)"main.t", .mode = mode, .key = key, .nkey = nkey };
}

TEST(outputs, come_back_as_they_were)
{
    char *key[] = { (char *)"Größe", (char *)"id" };
    static const char columns[] = "id:integer!, Größe:decimal(2) from \"Net, \"\"Amount\"\"\", note:text?";
    struct recipe r = recipe(MODE_UPSERT, key, 2);
    struct output out = output("w.main.t", columns);
    struct output_spec s;
    CHECK_OK(output_spec_set(&out, &r, NULL, NULL, &err), err);
    CHECK_OK(output_spec_get(&s, &out, &err), err);
    CHECK_STR(s.table.table, "w.main.t");
    CHECK_STR(s.table.name, "main.t");
    CHECK_EQ(s.table.mode, MODE_UPSERT);
    CHECK_EQ(s.columns.n, 3);
    CHECK_EQ(s.table.nkey, 2);
    CHECK_EQ(s.table.key[0], 1);
    CHECK_EQ(s.table.key[1], 0);
    AUTO(buf_clear) struct buf is = { 0 };
    columns_print(&s.columns, &is);
    CHECK_STR(is.p, columns);
    output_spec_clear(&s);
    output_clear(&out);
}

TEST(outputs, carry_how_a_row_meets_the_one_that_is_there)
{
    char *key[] = { (char *)"id" };
    struct recipe r = recipe(MODE_HISTORY, key, 1);
    r.version = (char *)"at";
    r.deleted = (char *)"gone";
    r.only_if_changed = true;
    r.missing = MISSING_DELETE;
    r.undo_ms = 86400000;
    r.after_load = (char *)"DELETE FROM \"x\" WHERE job = :job";
    struct output out = output("w.t", "id:integer!, at:timestamp, gone:boolean");
    struct output_spec s;
    CHECK_OK(output_spec_set(&out, &r, NULL, NULL, &err), err);
    CHECK_OK(output_spec_get(&s, &out, &err), err);
    CHECK_EQ(s.table.mode, MODE_HISTORY);
    CHECK_EQ(s.table.version, 1);
    CHECK_EQ(s.table.deleted, 2);
    CHECK_EQ(s.table.only_if_changed, true);
    CHECK_EQ(s.table.missing, MISSING_DELETE);
    CHECK_EQ(s.table.undo_ms, 86400000);
    CHECK_STR(s.after_load, r.after_load);
    output_spec_clear(&s);
    columns_clear(&r.columns);
    output_clear(&out);
}

TEST(outputs, that_cannot_be_read_are_damaged)
{
    static const char *const texts[] = {
        NULL,
        "",
        "[]",
        "{",
        "{}",
        "{\"columns\":\"a\",\"mode\":\"append\",\"table\":\"t\"}",
        "{\"columns\":\"a\",\"mode\":\"sideways\",\"table\":\"t\",\"key\":[]}",
        "{\"columns\":\"a:nothing\",\"mode\":\"append\",\"table\":\"t\",\"key\":[]}",
        "{\"columns\":\"a\",\"mode\":\"append\",\"table\":7,\"key\":[]}",
        "{\"columns\":\"a\",\"mode\":\"append\",\"table\":\"t\",\"key\":[\"b\"]}",
        "{\"columns\":\"a\",\"mode\":\"append\",\"table\":\"t\",\"key\":[1]}",
        "{\"columns\":\"a\",\"mode\":\"append\",\"table\":\"t\",\"key\":{}}",
        "{\"columns\":\"a\",\"mode\":\"append\",\"table\":\"t\",\"key\":[],\"version\":\"b\"}",
        "{\"columns\":\"a\",\"mode\":\"append\",\"table\":\"t\",\"key\":[],\"undo_ms\":\"x\"}",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct output out = { .number = 2, .spec = (char *)texts[i] };
        struct output_spec s;
        CHECK_EQ(output_spec_get(&s, &out, &err), -1);
        CHECK_EQ(err.code, ERR_STAGED_DAMAGED);
        CHECK_HAS(err.msg, "output 2");
    }
}
