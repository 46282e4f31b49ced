/*
 * A row of any table of MariaDB and MySQL as one text: a JSON array of its values in the order of the columns, each a text that its type
 * reads back as it was. Generated columns are left out.
 */
#ifndef QETL_TARGET_MYSQL_IMAGE_H
#define QETL_TARGET_MYSQL_IMAGE_H

#include "base/err.h"
#include "base/mem.h"
#include "target/mysql_conn.h"

enum my_form { FORM_PLAIN, FORM_TEXT, FORM_NUMBER, FORM_BITS, FORM_BYTES };
struct my_image_column {
    const char *name;
    enum my_form form;
};
/* The columns of rows of one table, in the order of their texts. {0} is an empty one. */
struct my_image {
    struct arena arena;
    struct my_image_column *v;
    int n;
};
void my_image_clear(struct my_image *image);

/* The columns that the table `schema`.`table` (so, in quotes) has now, and keeps until the transaction ends. */
int my_image_look(MYSQL *my, const char *table, struct my_image *image, struct err *err);
/* Those of them whose names are in `names`, a JSON array, in that order. *lost, which the caller clears: names, with commas between, that the
 * table does not have, or that do not have the form that they have in `forms`, which may be NULL. */
int my_image_pick(struct my_image *image, const struct my_image *all, const char *names, const char *forms, struct buf *lost, struct err *err);

/* SQL: the names, a JSON array; and the forms, for my_image_pick(). */
void my_image_names(struct buf *out, const struct my_image *image);
void my_image_forms(struct buf *out, const struct my_image *image);
/* SQL: the text of the row of which `before` says whose columns it has: "t." */
void my_image_sql(struct buf *out, const struct my_image *image, const char *before);
/* SQL: the value of column i in the text that the SQL `text` gives. */
void my_image_value(struct buf *out, const struct my_image *image, int i, const char *text);

#endif
