/*
 * CSV and TSV: what inference and tests need beside format_csv (format.h).
 *
 * The dialect, in full in doc/csv.md:
 * - A field is quoted when its first byte is the quote. Quotes in the middle of a bare field are
 * bytes like any other. Text behind a closing quote refuses the row (csv-quote).
 * - Rows end at LF or CRLF; where the member's first line ends in a lone CR, at CR, LF and CRLF.
 * - A quote that is not closed within row_bytes_max or before the end, or is closed on a later line
 * with text behind it, refuses its row (csv-quote); reading goes on behind the line that opened it.
 * No byte is walked more than a few times.
 * - A row longer than row_bytes_max is refused (row-too-long); reading goes on behind the next line
 * end.
 * - Blank lines are no rows; but in a member of one column each is a row with one empty field, for
 * it may mean a null.
 * - Field counts: that of the header, else that of the columns. RAGGED_FILL: what is missing is
 * FIELD_ABSENT, what is too much must be empty. Without a header "?" columns at the end may be
 * missing in either mode.
 */
#ifndef QETL_READ_CSV_H
#define QETL_READ_CSV_H

#include "read/csv_scan.h"
#include "read/format.h"

/* Sizes that tests make small; {0} is the default of each. */
struct csv_tuning {
    size_t window; /* bytes read at a time */
    size_t chunk;  /* bytes scanned at a time */
    csv_scan_fn *scan;
};

/*
 * format_csv.open with tuning (NULL: none) and one more case: columns NULL takes every field of the
 * file by position, width (and names) by the header, or by the first row where the recipe has no
 * header. The caller asks csv_names() for the width, then makes the batch.
 */
int csv_open(struct reader **out, const struct recipe *recipe, const struct columns *columns,
             struct input *in, int64_t row_bytes_max, const struct csv_tuning *tuning,
             struct err *err);

/* The fields of the header as written, *n of them; NULL where the recipe has no header or the
 * member is empty (*n is the width then too; 0: the member has no row). They live until close. */
const struct str *csv_names(const struct reader *r, int *n);
char csv_delimiter(const struct reader *r);

/* A program ends each row that it writes, or nobody knows whether the last one is whole. last: the last byte of its CSV, in UTF-8. 0, or
 * -1: program-cut. */
int csv_ended(char last, struct err *err);

#endif
