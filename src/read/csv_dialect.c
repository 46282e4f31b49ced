/*
 * What a recipe leaves open about a CSV member, found in its first bytes: the delimiter, and how
 * lines end. Pure: looks at bytes, holds nothing.
 */
#include "read/csv_dialect.h"

#include <string.h>

static int byte_or_none(char c)
{
    return c ? (unsigned char)c : CSV_NONE;
}

/* Behind skip_lines and comments: where the rows of a head begin; *lines counts what was stepped
 * over. */
static size_t head_rows(struct str head, const struct recipe *recipe, int64_t *lines)
{
    size_t at = 0;
    *lines = 0;
    while (at < head.n &&
           (*lines < recipe->skip_lines || (recipe->comment && head.p[at] == recipe->comment))) {
        while (at < head.n && head.p[at] != '\n' && head.p[at] != '\r')
            at++;
        if (at + 1 < head.n && head.p[at] == '\r' && head.p[at + 1] == '\n')
            at++;
        if (at < head.n)
            at++;
        ++*lines;
    }
    return at;
}

/* Do lines end in a lone CR? By the first line end outside quotes. */
static bool lone_cr(struct str rows, int quote)
{
    bool in_quotes = false;
    for (size_t i = 0; i < rows.n; i++) {
        if ((unsigned char)rows.p[i] == quote)
            in_quotes = !in_quotes;
        else if (!in_quotes && rows.p[i] == '\n')
            return false;
        else if (!in_quotes && rows.p[i] == '\r')
            return i + 1 < rows.n && rows.p[i + 1] != '\n';
    }
    return false;
}

enum { SNIFF_ROWS = 100 };

struct tally {
    int rows, first, same; /* rows; fields of the first; rows that have as many */
};

static void tally_row(struct tally *t, int fields)
{
    if (t->rows++ == 0)
        t->first = fields;
    t->same += fields == t->first;
}

/* Count the fields of each row by this delimiter. The last line counts only when it is the only one
 * or ends. */
static struct tally tally(struct str s, unsigned char delimiter, int quote, int escape)
{
    struct tally t = { 0 };
    bool in_quotes = false, any = false, field_begins = true;
    int fields = 1;
    for (size_t i = 0; i < s.n && t.rows < SNIFF_ROWS; i++) {
        int c = (unsigned char)s.p[i];
        bool begins = field_begins;
        field_begins = false;
        if (c == escape && i + 1 < s.n) {
            i++;
        } else if (in_quotes) {
            if (c == quote && i + 1 < s.n && (unsigned char)s.p[i + 1] == quote)
                i++;
            else if (c == quote)
                in_quotes = false;
        } else if (c == quote && begins) {
            in_quotes = true;
        } else if (c == delimiter) {
            fields++;
            field_begins = true;
        } else if (c == '\n' || c == '\r') {
            if (any)
                tally_row(&t, fields);
            fields = 1;
            any = false;
            field_begins = true;
            continue;
        }
        any = true;
    }
    if (t.rows == 0 && any)
        tally_row(&t, fields);
    return t;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Do the commas of the first line look as if they divided it? Neither decimal points nor prose. */
static bool commas_divide(struct str rows)
{
    for (size_t i = 0; i < rows.n && rows.p[i] != '\n' && rows.p[i] != '\r'; i++) {
        char before = i ? rows.p[i - 1] : 0, behind = i + 1 < rows.n ? rows.p[i + 1] : 0;
        if (rows.p[i] == ',' && (behind == ' ' || (is_digit(before) && is_digit(behind))))
            return false;
    }
    return true;
}

char csv_sniff(struct str head, const struct recipe *recipe, double *share)
{
    static const char candidates[] = { '\t', ';', '|', ',' }; /* a comma may be a decimal point */
    int64_t lines;
    size_t at = head_rows(head, recipe, &lines);
    struct str rows = { head.p + at, head.n - at };
    char best = 0;
    double high = 0;
    int fields = 0;
    for (size_t i = 0; i < COUNT_OF(candidates); i++) {
        struct tally t = tally(rows, (unsigned char)candidates[i], byte_or_none(recipe->quote),
                               byte_or_none(recipe->escape));
        double agree = t.rows && t.first > 1 ? (double)t.same / t.rows : 0;
        bool more = agree > 0 && agree == high && best != '\t' && t.first > fields &&
                    (candidates[i] != ',' || commas_divide(rows));
        if (agree > high || more) {
            high = agree;
            best = candidates[i];
            fields = t.first;
        }
    }
    if (share)
        *share = high;
    return best;
}

/* The line "sep=;" with which Excel is told of a delimiter; 0: there is none. */
static char sep_line(struct str rows)
{
    bool is =
        rows.n >= 6 && memcmp(rows.p, "sep=", 4) == 0 && (rows.p[5] == '\r' || rows.p[5] == '\n');
    return is ? rows.p[4] : 0;
}

/* Not set by the format: the line "sep=;", then the text itself, then the usual byte. */
static char find_delimiter(struct csv_dialect *d, const struct recipe *recipe, struct str head)
{
    const char *format = recipe->format ? recipe->format : "auto";
    int64_t lines;
    size_t at = head_rows(head, recipe, &lines);
    char found = recipe->delimiter;
    if (!found && !recipe->row_alone && lines == recipe->skip_lines) {
        found = sep_line((struct str){ head.p + at, head.n - at });
        d->sep_line = found;
    }
    if (!found && strcmp(format, "auto") == 0)
        found = csv_sniff(head, recipe, NULL);
    return found ? found : strcmp(format, "tsv") == 0 ? '\t' : ',';
}

int csv_dialect_find(struct csv_dialect *d, const struct recipe *recipe, struct str head,
                     struct err *err)
{
    int64_t lines;
    size_t at = head_rows(head, recipe, &lines);
    *d = (struct csv_dialect){
        .quote = byte_or_none(recipe->quote),
        .escape = recipe->escape == recipe->quote ? CSV_NONE : byte_or_none(recipe->escape),
        .comment = byte_or_none(recipe->comment),
        .trim = recipe->trim,
        .fill = recipe->ragged == RAGGED_FILL,
    };
    d->delimiter = (unsigned char)find_delimiter(d, recipe, head);
    d->cr = !recipe->row_alone && lone_cr((struct str){ head.p + at, head.n - at }, d->quote);
    if (d->delimiter == '\n' || d->delimiter == '\r' || d->delimiter == d->quote ||
        d->delimiter == d->escape)
        return err_set(err, ERR_CONFIG,
                       "delimiter must be a byte other than quote, escape and line ends");
    return 0;
}
