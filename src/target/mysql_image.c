/* Rows as texts; see the header. */
#include "target/mysql_image.h"

#include <string.h>
#include <strings.h>

#include "base/json.h"

void my_image_clear(struct my_image *image)
{
    arena_clear(&image->arena);
    *image = (struct my_image){ 0 };
}

static bool add(struct my_image *image, int room, struct str name, enum my_form form)
{
    if (!image->v)
        image->v = arena_alloc(&image->arena, ((size_t)room + 1) * sizeof *image->v);
    const char *copy = image->v ? arena_dup(&image->arena, name) : NULL;
    if (copy)
        image->v[image->n++] = (struct my_image_column){ copy, form };
    return copy != NULL;
}

/* A double has all digits of a float, and a text of its own; bytes are in hex; whatever else is text has some character set. */
static enum my_form form_of(const char *type, bool is_text)
{
    static const struct {
        const char *name;
        enum my_form form;
    } forms[] = { { "float", FORM_NUMBER }, { "double", FORM_NUMBER }, { "bit", FORM_BITS }, { "binary", FORM_BYTES },
                  { "varbinary", FORM_BYTES }, { "tinyblob", FORM_BYTES }, { "blob", FORM_BYTES }, { "mediumblob", FORM_BYTES },
                  { "longblob", FORM_BYTES }, { "geometry", FORM_BYTES }, { "point", FORM_BYTES }, { "linestring", FORM_BYTES },
                  { "polygon", FORM_BYTES }, { "multipoint", FORM_BYTES }, { "multilinestring", FORM_BYTES },
                  { "multipolygon", FORM_BYTES }, { "geometrycollection", FORM_BYTES }, { "geomcollection", FORM_BYTES } };
    for (size_t i = 0; i < COUNT_OF(forms); i++)
        if (!strcasecmp(type, forms[i].name))
            return forms[i].form;
    return is_text ? FORM_TEXT : FORM_PLAIN;
}

/* One name of `schema`.`table` without its quotes, behind out as a literal; gives what is behind it. */
static const char *unquoted(struct buf *out, MYSQL *my, const char *quoted)
{
    AUTO(buf_clear) struct buf name = { 0 };
    const char *p = quoted + (*quoted == '`');
    for (; *p && !(*p == '`' && p[1] != '`'); p++) {
        p += *p == '`';
        buf_addc(&name, *p);
    }
    my_literal(out, my, name.failed || !name.n ? "" : name.p);
    out->failed |= name.failed;
    return *p ? p + 1 : p;
}

int my_image_look(MYSQL *my, const char *table, struct my_image *image, struct err *err)
{
    AUTO(buf_clear) struct buf hold = { 0 }, sql = { 0 };
    buf_addf(&hold, "SELECT 1 FROM %s LIMIT 0", table); /* nobody changes its columns from here on */
    buf_adds(&sql, "SELECT column_name, data_type, character_set_name IS NOT NULL FROM information_schema.columns WHERE table_schema = ");
    const char *name = unquoted(&sql, my, table);
    buf_adds(&sql, " AND table_name = ");
    (void)unquoted(&sql, my, name + (*name == '.'));
    buf_adds(&sql, " AND extra NOT REGEXP 'VIRTUAL|STORED|PERSISTENT' ORDER BY ordinal_position");
    if (hold.failed || sql.failed)
        return err_nomem(err);
    if (my_run(my, hold.p, "look at the table", err) < 0)
        return -1;
    AUTO(result_clearp) MYSQL_RES *r = my_select(my, sql.p, "look at the table", err);
    if (!r)
        return -1;
    for (MYSQL_ROW row; (row = mysql_fetch_row(r));)
        if (!add(image, (int)mysql_num_rows(r), str_of(row[0]), form_of(row[1], *row[2] == '1')))
            return err_nomem(err);
    return 0;
}

static int find(const struct my_image *image, struct str name)
{
    for (int i = 0; i < image->n; i++)
        if (strlen(image->v[i].name) == name.n && !strncasecmp(image->v[i].name, name.p, name.n))
            return i;
    return -1;
}

/* A letter each: which texts are of one kind. */
static char letter_of(enum my_form form) { return form == FORM_BYTES ? 'h' : form == FORM_BITS ? 'b' : 't'; }

int my_image_pick(struct my_image *image, const struct my_image *all, const char *names, const char *forms, struct buf *lost, struct err *err)
{
    struct json_value list, v;
    struct json_fault fault;
    struct str key, name;
    if (!names || !json_check(str_of(names), &list, &fault) || list.kind != JSON_ARRAY)
        return err_set(err, ERR_STATE, "the note of the job in qetl_undo has no names of columns: it was changed");
    for (size_t at = 0; json_next(&list, &at, &key, &v);) {
        if (v.kind != JSON_TEXT || !json_unescape(&v, &image->arena, &name))
            return err_nomem(err);
        int i = find(all, name);
        char form = forms && *forms ? *forms++ : '\0';
        if (i < 0 || (form && form != letter_of(all->v[i].form))) {
            buf_adds(lost, lost->n ? ", " : "");
            buf_add(lost, name.p, name.n);
        } else if (image->n == all->n) {
            return err_set(err, ERR_STATE, "the note of the job in qetl_undo has a column twice: it was changed");
        } else if (!add(image, all->n, name, all->v[i].form)) {
            return err_nomem(err);
        }
    }
    return lost->failed ? err_nomem(err) : 0;
}

/* In hex, so that no name can be taken for a word of the SQL around it. */
void my_image_names(struct buf *out, const struct my_image *image)
{
    buf_adds(out, "JSON_ARRAY(");
    for (int i = 0; i < image->n; i++) {
        buf_adds(out, i ? ", CONVERT(X'" : "CONVERT(X'");
        buf_add_hex(out, str_of(image->v[i].name));
        buf_adds(out, "' USING utf8mb4)");
    }
    buf_addc(out, ')');
}

void my_image_forms(struct buf *out, const struct my_image *image)
{
    buf_addc(out, '\'');
    for (int i = 0; i < image->n; i++)
        buf_addc(out, letter_of(image->v[i].form));
    buf_addc(out, '\'');
}

void my_image_sql(struct buf *out, const struct my_image *image, const char *before)
{
    static const char *const ways[][2] = { [FORM_PLAIN] = { "CAST(", " AS CHAR)" }, [FORM_TEXT] = { "CONCAT(CONVERT(", " USING utf8mb4), '')" } /* JSON would come as such, which MariaDB sees through the CONVERT */,
                                           [FORM_NUMBER] = { "CAST(", " + 0e0 AS CHAR)" }, [FORM_BITS] = { "CAST(", " + 0 AS CHAR)" },
                                           [FORM_BYTES] = { "HEX(", ")" } };
    buf_adds(out, "JSON_ARRAY(");
    for (int i = 0; i < image->n; i++) {
        buf_addf(out, "%s%s%s", i ? ", " : "", ways[image->v[i].form][0], before);
        my_name(out, image->v[i].name);
        buf_adds(out, ways[image->v[i].form][1]);
    }
    buf_addc(out, ')');
}

void my_image_value(struct buf *out, const struct my_image *image, int i, const char *text)
{
    static const char *const ways[][2] = { [FORM_PLAIN] = { "", "" }, [FORM_TEXT] = { "", "" }, [FORM_NUMBER] = { "", "" },
                                           [FORM_BITS] = { "CAST(", " AS UNSIGNED)" }, [FORM_BYTES] = { "UNHEX(", ")" } };
    const char *const *way = ways[image->v[i].form];
    buf_addf(out, "IF(JSON_TYPE(JSON_EXTRACT(%s, '$[%d]')) = 'NULL', NULL, %sJSON_UNQUOTE(JSON_EXTRACT(%s, '$[%d]'))%s)", text, i, way[0], text, i,
             way[1]);
}
