/* How the columns of a member differ from those that were wanted, and from those of the last job. */
#include "test.h"

#include "pipeline/drift.h"

static struct err err;

struct desk {
    struct recipe recipe;
    struct columns columns;
    struct drift *drift;
    struct format_name names[64];
    bool present[64];
    struct buf said, header;
};

static void desk_open(struct desk *d, const char *columns, enum on_new on_new, enum on_missing on_missing, const char *header)
{
    *d = (struct desk){ .recipe = { .name = (char *)"p", .on_new = on_new, .on_missing = on_missing } };
    CHECK_OK(columns_parse(&d->columns, columns, &err), err);
    CHECK_OK(drift_open(&d->drift, &d->recipe, &d->columns, header, &err), err);
}

/* Names with commas between, as the reader would find them for the columns. */
static struct format_names names_of(struct desk *d, const char *list, bool ordered)
{
    static char text[64][40];
    struct format_names names = { d->names, 0, ordered, !ordered, d->present };
    memset(d->present, 0, sizeof d->present);
    for (const char *p = list; *p; p += *p == ',') {
        size_t n = strcspn(p, ",");
        snprintf(text[names.n], sizeof text[0], "%.*s", (int)n, p);
        struct format_name *f = &d->names[names.n++];
        *f = (struct format_name){ .name = str_of(text[names.n - 1]), .first = ordered ? 0 : '1' };
        for (int i = 0; i < d->columns.n; i++)
            if (!strcmp(d->columns.v[i].from, text[names.n - 1]))
                d->present[i] = f->taken = true;
        if (!ordered && f->taken) /* JSON tells of the others only */
            names.n--;
        p += n;
    }
    return names;
}

static int member(struct desk *d, const char *list, const char *name)
{
    struct format_names names = names_of(d, list, true);
    return drift_names(d->drift, &names, name, true, &err);
}

static int json_member_of(struct desk *d, const char *list, const char *name)
{
    struct format_names names = names_of(d, list, false);
    return drift_names(d->drift, &names, name, true, &err);
}

/* "kind column member: detail; ..." */
static const char *said(struct desk *d)
{
    AUTO(buf_clear) struct buf text = { 0 };
    AUTO(arena_clear) struct arena arena = { 0 };
    struct json_out o;
    struct json_value list, one, v;
    struct json_fault fault;
    struct str none;
    static const char *const keys[] = { "kind", "column", "member", "detail" };
    json_start(&o, &text);
    json_array(&o);
    drift_json(d->drift, &o);
    json_array_end(&o);
    buf_clear(&d->said);
    buf_adds(&d->said, "");
    CHECK(json_check(buf_str(&text), &list, &fault));
    for (size_t at = 0; json_next(&list, &at, &none, &one);)
        for (size_t i = 0; i < COUNT_OF(keys); i++) {
            struct str s = STR("-");
            CHECK_EQ(json_member(&one, keys[i], &v), 1);
            if (v.kind == JSON_TEXT)
                CHECK(json_unescape(&v, &arena, &s));
            buf_add(&d->said, s.p, s.n);
            buf_adds(&d->said, i == 3 ? "; " : i == 2 ? ": " : " ");
        }
    return d->said.p;
}

static const char *header(struct desk *d)
{
    buf_clear(&d->header);
    buf_adds(&d->header, "");
    drift_header(d->drift, &d->header);
    return d->header.p;
}

static void desk_close(struct desk *d)
{
    drift_free(d->drift);
    columns_clear(&d->columns);
    buf_clear(&d->said);
    buf_clear(&d->header);
}

TEST(drift, a_new_column_is_news_once)
{
    struct desk d;
    desk_open(&d, "id:integer!, name", ON_NEW_IGNORE, ON_MISSING_AUTO, NULL);
    CHECK_OK(member(&d, "id,name,,x", "a.csv"), err);
    CHECK_STR(said(&d), "new x a.csv: ignored; ");
    CHECK_OK(member(&d, "id,name,,x", "b.csv"), err);
    CHECK_STR(said(&d), "new x a.csv: ignored; ");
    char *kept = strdup(header(&d));
    CHECK_STR(kept, "{\"ordered\":true,\"names\":[\"id\",\"name\",\"\",\"x\"]}");
    desk_close(&d);
    desk_open(&d, "id:integer!, name", ON_NEW_IGNORE, ON_MISSING_AUTO, kept);
    CHECK_OK(member(&d, "id,name,X ,y", "c.csv"), err); /* as columns are matched: of either case, blanks around */
    CHECK_STR(said(&d), "new y c.csv: ignored; ");
    free(kept);
    desk_close(&d);
}

TEST(drift, a_column_that_an_earlier_job_had_is_not_new_again)
{
    static const char *const jobs[][2] = { { "id,x,y", "new x 0: ignored; new y 0: ignored; " },
                                           { "id,y", "" },
                                           { "id,z", "new z 2: ignored; " },
                                           { "id,X,y,z", "" } };
    struct desk d;
    char *kept = NULL, name[8];
    for (size_t i = 0; i < COUNT_OF(jobs); i++) {
        desk_open(&d, "id:integer!", ON_NEW_IGNORE, ON_MISSING_AUTO, kept);
        free(kept);
        snprintf(name, sizeof name, "%zu", i);
        CHECK_OK(member(&d, jobs[i][0], name), err);
        CHECK_STR(said(&d), jobs[i][1]);
        kept = strdup(header(&d));
        desk_close(&d);
    }
    CHECK_STR(kept, "{\"ordered\":true,\"names\":[\"id\",\"X\",\"y\",\"z\"],\"known\":[\"x\",\"y\"]}");
    free(kept);
}

TEST(drift, so_is_one_that_an_earlier_member_had)
{
    struct desk d;
    desk_open(&d, "id:integer!", ON_NEW_IGNORE, ON_MISSING_AUTO, NULL);
    CHECK_OK(member(&d, "id,x", "a"), err);
    CHECK_OK(member(&d, "id", "b"), err);
    CHECK_STR(header(&d), "{\"ordered\":true,\"names\":[\"id\"],\"known\":[\"x\"]}");
    desk_close(&d);
}

TEST(drift, of_the_known_names_the_newest_are_kept)
{
    struct desk d;
    AUTO(buf_clear) struct buf first = { 0 };
    char *kept;
    buf_adds(&first, "{\"ordered\":true,\"names\":[\"id\"],\"known\":[");
    for (int i = 0; i < 6000; i++)
        buf_addf(&first, "%s\"name%06d\"", i ? "," : "", i);
    buf_adds(&first, "]}");
    desk_open(&d, "id:integer!", ON_NEW_IGNORE, ON_MISSING_AUTO, first.p);
    CHECK_OK(member(&d, "id,newest", "a"), err);
    CHECK_OK(member(&d, "id", "b"), err);
    kept = strdup(header(&d));
    desk_close(&d);
    CHECK(strlen(kept) < 66000 && strstr(kept, "newest") && strstr(kept, "name005999") && !strstr(kept, "name000000"));
    free(kept);
}

TEST(drift, a_new_column_that_is_to_fail_always_does)
{
    struct desk d;
    desk_open(&d, "id", ON_NEW_FAIL, ON_MISSING_AUTO, "{\"ordered\":true,\"names\":[\"id\",\"x\",\"y\"]}");
    CHECK_EQ(member(&d, "id,x,y", "a.csv"), -1);
    CHECK_EQ(err.code, ERR_DRIFT);
    CHECK_STR(err.msg, "the header has 'x', 'y', which no column takes (on_new_column = fail)");
    CHECK_STR(said(&d), "new x a.csv: the job fails; new y a.csv: the job fails; ");
    CHECK_STR(header(&d), ""); /* of no job that was staged */
    desk_close(&d);
}

TEST(drift, a_missing_column_fails_or_is_null)
{
    static const struct {
        const char *columns, *last;
        enum on_missing what;
        const char *names, *error, *said;
    } rows[] = {
        { "a, b, c", NULL, ON_MISSING_AUTO, "a,z", "the header lacks 'b', 'c'; it has: 'a', 'z'",
          "new z m: ignored; missing b m: the job fails; missing c m: the job fails; " },
        { "a, b, c", NULL, ON_MISSING_FAIL, "a,b", "the header lacks 'c'; it has: 'a', 'b'", "missing c m: the job fails; " },
        { "a, b, c", NULL, ON_MISSING_NULL, "a", "", "missing b m: null; missing c m: null; " },
        { "a, b!", NULL, ON_MISSING_NULL, "a", "the header lacks 'b'; it has: 'a'", "missing b m: the job fails; " },
        { "a, b?", NULL, ON_MISSING_AUTO, "a", "", "" }, /* the ini says so */
        { "a, b?", "{\"ordered\":true,\"names\":[\"a\",\"b\"]}", ON_MISSING_AUTO, "a", "", "missing b m: null; " },
        { "a, b", "{\"ordered\":true,\"names\":[\"a\"]}", ON_MISSING_NULL, "a", "", "" }, /* no news */
        { "a, _line:integer, u from _source", NULL, ON_MISSING_FAIL, "a", "", "" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct desk d;
        desk_open(&d, rows[i].columns, ON_NEW_IGNORE, rows[i].what, rows[i].last);
        int rc = member(&d, rows[i].names, "m");
        CHECK_EQ(rc, *rows[i].error ? -1 : 0);
        if (rc < 0) {
            CHECK_STR(err.msg, rows[i].error);
            CHECK_EQ(err.code, ERR_HEADER);
        }
        CHECK_STR(said(&d), rows[i].said);
        desk_close(&d);
    }
}

TEST(drift, the_fewest_names_that_explain_the_order_have_moved)
{
    static const struct {
        const char *last, *now, *said;
    } rows[] = {
        { "\"a\",\"b\",\"c\",\"d\"", "a,b,c,d", "" },
        { "\"a\",\"b\",\"c\",\"d\"", "d,a,b,c", "moved d m: field 1, was 4; " },
        { "\"a\",\"b\",\"c\",\"d\"", "b,c,d,a", "moved a m: field 4, was 1; " },
        { "\"a\",\"b\",\"c\",\"d\"", "d,c,b,a", "moved d m: field 1, was 4; moved c m: field 2, was 3; moved b m: field 3, was 2; " },
        { "\"a\",\"b\",\"c\",\"d\"", "b,d", "missing a m: null; missing c m: null; " }, /* what went moves nothing */
        { "\"b\",\"d\"", "a,b,c,d", "" },                                               /* nor does what came */
        { "\"c\",\"x\",\"a\",\"b\",\"d\"", "a,b,c,d", "moved c m: field 3, was 1; " },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct desk d;
        AUTO(buf_clear) struct buf last = { 0 };
        buf_addf(&last, "{\"ordered\":true,\"names\":[%s]}", rows[i].last);
        desk_open(&d, "a, b, c, d", ON_NEW_IGNORE, ON_MISSING_NULL, last.p);
        CHECK_OK(member(&d, rows[i].now, "m"), err);
        CHECK_STR(said(&d), rows[i].said);
        desk_close(&d);
    }
}

TEST(drift, a_member_is_compared_with_the_one_before)
{
    struct desk d;
    desk_open(&d, "a, b?", ON_NEW_IGNORE, ON_MISSING_AUTO, NULL);
    CHECK_OK(member(&d, "a,b", "1.csv"), err);
    CHECK_OK(member(&d, "b,a", "2.csv"), err);
    CHECK_OK(member(&d, "a", "3.csv"), err);
    CHECK_STR(said(&d), "moved b 2.csv: field 1, was 2; missing b 3.csv: null; ");
    CHECK_STR(header(&d), "{\"ordered\":true,\"names\":[\"a\"],\"known\":[\"b\"]}");
    desk_close(&d);
}

TEST(drift, values_without_a_name_are_told_or_fail)
{
    static const enum on_new whats[] = { ON_NEW_IGNORE, ON_NEW_FAIL, ON_NEW_ADD };
    for (size_t i = 0; i < COUNT_OF(whats); i++) {
        enum on_new what = whats[i];
        struct desk d;
        desk_open(&d, "id", what, ON_MISSING_AUTO, "{\"ordered\":true,\"names\":[\"id\",\"\",\"\"]}");
        struct format_names names = names_of(&d, "id,,,", true);
        CHECK_OK(drift_names(d.drift, &names, "m", true, &err), err);
        CHECK_STR(said(&d), ""); /* as spreadsheets write them */
        d.names[2].filled = true;
        CHECK_EQ(drift_names(d.drift, &names, "m", true, &err), what == ON_NEW_IGNORE ? 0 : -1);
        CHECK_STR(said(&d), what == ON_NEW_IGNORE ? "new (field 3) m: values without a name in the header: ignored; "
                                                  : "new (field 3) m: values without a name in the header: the job fails; ");
        if (what != ON_NEW_IGNORE) {
            CHECK_EQ(err.code, ERR_DRIFT);
            CHECK_HAS(err.msg, "field 3 has no name in the header, and rows have values in it");
            CHECK(!drift_adds(d.drift));
        } else {
            CHECK_STR(header(&d), "{\"ordered\":true,\"names\":[\"id\",\"\",\"\"],\"known\":[\"(field 3)\"]}"); /* news once */
        }
        desk_close(&d);
    }
    struct desk d;
    desk_open(&d, "id", ON_NEW_IGNORE, ON_MISSING_AUTO, "{\"ordered\":true,\"names\":[\"id\",\"\",\"\"],\"known\":[\"(field 3)\"]}");
    struct format_names names = names_of(&d, "id,,,", true);
    CHECK_OK(drift_names(d.drift, &names, "m", true, &err), err);
    d.names[1].filled = d.names[2].filled = true;
    CHECK_OK(drift_names(d.drift, &names, "m", true, &err), err);
    CHECK_STR(said(&d), "new (field 2) m: values without a name in the header: ignored; ");
    desk_close(&d);
}

TEST(drift, keys_of_json_have_no_order_and_stay_known)
{
    struct desk d;
    desk_open(&d, "id, name, at.day", ON_NEW_IGNORE, ON_MISSING_AUTO, NULL);
    CHECK_OK(json_member_of(&d, "x,id", "a"), err);
    CHECK_STR(said(&d), "new x a: ignored; missing name a: null; missing at.day a: null; ");
    char *kept = strdup(header(&d));
    CHECK_STR(kept, "{\"ordered\":false,\"names\":[\"x\",\"id\"]}");
    desk_close(&d);
    desk_open(&d, "id, name, at.day", ON_NEW_IGNORE, ON_MISSING_AUTO, kept);
    CHECK_OK(json_member_of(&d, "name,at.day", "b"), err);
    CHECK_STR(said(&d), "missing id b: null; ");
    CHECK_STR(header(&d), "{\"ordered\":false,\"names\":[\"x\",\"id\",\"name\",\"at.day\"]}");
    CHECK_OK(json_member_of(&d, "", "c"), err); /* no row: nothing is missing */
    CHECK_OK(json_member_of(&d, "X,id", "c"), err); /* letters count */
    CHECK_STR(said(&d), "missing id b: null; new X c: ignored; missing name c: null; missing at.day c: null; ");
    free(kept);
    desk_close(&d);
}

TEST(drift, json_without_a_key_fails_only_where_it_is_said)
{
    struct desk d;
    desk_open(&d, "id, name!", ON_NEW_IGNORE, ON_MISSING_FAIL, NULL);
    CHECK_EQ(json_member_of(&d, "id", "a"), -1);
    CHECK_STR(err.msg, "no row has the key 'name', and on_missing_column = fail");
    desk_close(&d);
    desk_open(&d, "id, name!", ON_NEW_IGNORE, ON_MISSING_NULL, NULL);
    CHECK_OK(json_member_of(&d, "id", "a"), err); /* its rows are rejects */
    desk_close(&d);
}

TEST(drift, a_column_is_retyped_where_a_tenth_of_the_rows_is_refused)
{
    struct desk d;
    desk_open(&d, "id:integer, at:date(%d.%m.%Y), f:decimal(1)", ON_NEW_IGNORE, ON_MISSING_AUTO, NULL);
    CHECK_OK(drift_refused(d.drift, 0, (struct misfits){ 9, 1ull << REJECT_NOT_INTEGER }, 100, "a", &err), err);
    CHECK_STR(said(&d), "");
    CHECK_OK(drift_refused(d.drift, 0, (struct misfits){ 0 }, 1, "b", &err), err);
    CHECK_OK(drift_refused(d.drift, 1, (struct misfits){ 10, 1ull << REJECT_NOT_DATE }, 100, "b", &err), err);
    CHECK_OK(drift_refused(d.drift, 2, (struct misfits){ 100, 1ull << REJECT_SCALE | 1ull << REJECT_RANGE }, 100, "b", &err), err);
    CHECK_STR(said(&d), "retyped at b: 10 of 100 rows refused as date(%d.%m.%Y): not-date; "
                        "retyped f b: 100 of 100 rows refused as decimal(1): range, scale; ");
    desk_close(&d);
}

static const char *added(struct desk *d)
{
    buf_clear(&d->said);
    buf_adds(&d->said, "");
    drift_added(d->drift, &d->said);
    return d->said.p;
}

TEST(drift, columns_to_be_added_take_their_types_from_a_sample)
{
    struct desk d;
    struct columns sample = { 0 };
    desk_open(&d, "id, Net_Amount", ON_NEW_ADD, ON_MISSING_AUTO, NULL);
    CHECK_OK(columns_parse(&sample, "id, n:integer!, price:decimal(2), \"Net Amount\":real", &err), err);
    CHECK_OK(member(&d, "id,Net_Amount,n,Net Amount,price,other", "m"), err);
    CHECK(drift_adds(d.drift) && drift_wants_types(d.drift));
    CHECK_OK(drift_types(d.drift, &sample, &err), err);
    CHECK(!drift_wants_types(d.drift));
    CHECK_STR(added(&d), "n:integer?, Net_Amount_2:real? from \"Net Amount\", price:decimal(2)?, other:text?");
    CHECK_STR(said(&d), ""); /* noted by the run that has them */
    columns_clear(&sample);
    desk_close(&d);
}

TEST(drift, a_key_of_json_may_be_several_columns)
{
    struct desk d;
    struct columns sample = { 0 };
    desk_open(&d, "id", ON_NEW_ADD, ON_MISSING_AUTO, NULL);
    CHECK_OK(columns_parse(&sample, "id, at.day:date!, at.hour:integer, atlas:boolean", &err), err);
    struct format_names names = names_of(&d, "id,at,atlas,late", false);
    d.names[0].first = '{';
    d.names[2].first = '[';
    CHECK_OK(drift_names(d.drift, &names, "m", false, &err), err);
    CHECK_OK(drift_types(d.drift, &sample, &err), err);
    CHECK_STR(added(&d), "atlas:boolean?, late:json?, at.day:date?, at.hour:integer?");
    columns_clear(&sample);
    desk_close(&d);
}

TEST(drift, what_was_added_is_told_by_the_run_that_has_it)
{
    struct desk d = { .recipe = { .name = (char *)"p", .on_new = ON_NEW_ADD } };
    CHECK_OK(columns_parse(&d.columns, "id", &err), err);
    CHECK_OK(columns_extend(&d.columns, "n:integer, \"odd name\" from \"Odd Name\", d:decimal(1)", &err), err);
    CHECK_EQ(d.columns.n, 4);
    CHECK(d.columns.v[1].added && d.columns.v[1].optional && !d.columns.v[0].added);
    CHECK_OK(drift_open(&d.drift, &d.recipe, &d.columns, "{\"ordered\":true,\"names\":[\"id\",\"n\"]}", &err), err);
    CHECK_OK(member(&d, "id,n,Odd Name,d", "m"), err);
    CHECK(!drift_adds(d.drift));
    CHECK_STR(said(&d), "new Odd Name m: added as odd name text; new d m: added as d decimal(1); ");
    desk_close(&d);
}

TEST(drift, a_name_that_no_column_can_have_is_not_added)
{
    struct desk d;
    desk_open(&d, "id", ON_NEW_ADD, ON_MISSING_AUTO, NULL);
    CHECK_EQ(member(&d, "id,a\nb", "m"), -1);
    CHECK_EQ(err.code, ERR_DRIFT);
    desk_close(&d);
}

TEST(drift, names_that_are_taken_and_too_many_columns_are_seen_before_anything_is_kept)
{
    struct desk d;
    AUTO(buf_clear) struct buf many = { 0 };
    desk_open(&d, "id", ON_NEW_ADD, ON_MISSING_AUTO, NULL);
    CHECK_OK(member(&d, "id,_JOB,rowid,Valid_From", "m"), err);
    CHECK_STR(added(&d), "_job_2:text? from _JOB, rowid_2:text? from rowid, valid_from_2:text? from Valid_From");
    desk_close(&d);
    desk_open(&d, "id, source?", ON_NEW_ADD, ON_MISSING_AUTO, NULL);
    CHECK_OK(member(&d, "id,_source,_job,_param.x", "m"), err); /* names of the file, not qetl's own */
    CHECK_STR(added(&d), "source_2:text? from \"_source\", job:text? from \"_job\", param_x:text? from \"_param.x\"");
    desk_close(&d);
    for (int i = 0; i < 1000; i++)
        buf_addf(&many, "%sc%d", i ? "," : "", i);
    desk_open(&d, many.p, ON_NEW_ADD, ON_MISSING_AUTO, NULL);
    struct format_name one = { .name = STR("x") };
    bool present[1000] = { false };
    CHECK_EQ(drift_names(d.drift, &(struct format_names){ &one, 1, true, false, present }, "m", true, &err), -1);
    CHECK_EQ(err.code, ERR_DRIFT);
    CHECK_HAS(err.msg, "more than 1000 columns");
    desk_close(&d);
}

TEST(drift, a_name_is_told_with_its_first_bytes_whatever_its_length)
{
    enum { LONG = 1 << 20, KEPT = 255 };
    struct desk d;
    AUTO(buf_clear) struct buf name = { 0 };
    while (name.n < LONG)
        buf_adds(&name, "\xc3\xa9"); /* 255 bytes end in the middle of one */
    desk_open(&d, "id", ON_NEW_IGNORE, ON_MISSING_AUTO, NULL);
    struct format_name names[] = { { .name = STR("id"), .taken = true }, { .name = buf_str(&name) } };
    bool present[] = { true };
    CHECK_OK(drift_names(d.drift, &(struct format_names){ names, 2, true, false, present }, "m", true, &err), err);
    CHECK_HAS(said(&d), "new \xc3\xa9");
    CHECK(strlen(said(&d)) < KEPT + 40);
    desk_close(&d);
}

TEST(drift, a_header_of_the_queue_that_cannot_be_read_is_none)
{
    static const char *const texts[] = { "", "[]", "{}", "{\"names\":[1],\"ordered\":true}", "{\"ordered\":true,\"names\":{}}", "{" };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct desk d;
        desk_open(&d, "id", ON_NEW_IGNORE, ON_MISSING_AUTO, texts[i]);
        CHECK_OK(member(&d, "id,x", "m"), err);
        CHECK_STR(said(&d), "new x m: ignored; ");
        desk_close(&d);
    }
}

TEST(drift, more_findings_than_are_kept_are_counted)
{
    struct desk d;
    desk_open(&d, "id", ON_NEW_IGNORE, ON_MISSING_AUTO, NULL);
    for (int i = 0; i < 600; i++) {
        char list[40];
        snprintf(list, sizeof list, "id,x%d", i);
        CHECK_OK(member(&d, list, "m"), err);
    }
    CHECK_HAS(said(&d), "new - -: and 100 more findings; ");
    desk_close(&d);
}
