/*
 * The table below is the dialect, case by case. Each case is read whole and cut into pieces, with windows and chunks of many sizes and by
 * every scan that this machine can run; all must give the same text, the expected one.
 */
#include "base/text.h"
#include "csv_dump.h"
#include "test.h"

struct csv_case {
    const char *name;
    struct recipe recipe;
    const char *columns;
    struct str in;
    const char *out;
    int64_t row_max;
};

#define QUOTE_CSV(q) { .format = (char *)"csv", .quote = q, .header = true }
#define CSV(...) { .format = (char *)"csv", .quote = '"', .header = true, __VA_ARGS__ }
#define BARE_CSV(...) { .format = (char *)"csv", .quote = '"', __VA_ARGS__ }
#define AUTO_CSV(...) { .format = (char *)"auto", .quote = '"', .header = true, __VA_ARGS__ }
#define IN(literal) { literal, sizeof(literal) - 1 }

static const struct csv_case cases[] = {
    /* the plain ways */
    { "plain", CSV(), "a,b", IN("a,b\n1,2\n3,4\n"), "2@4 1|2\n3@8 3|4\n", 0 },
    { "no newline at the end", CSV(), "a,b", IN("a,b\n1,2"), "2@4 1|2\n", 0 },
    { "crlf", CSV(), "a,b", IN("a,b\r\n1,2\r\n\"x\",\"y\"\r\n"), "2@5 1|2\n3@10 'x'|'y'\n", 0 },
    { "crlf and lf mixed", CSV(), "a,b", IN("a,b\n1,2\r\n3,4\n"), "2@4 1|2\n3@9 3|4\n", 0 },
    { "crlf cut at the end", CSV(), "a,b", IN("a,b\r\n1,2\r"), "2@5 1|2\n", 0 },
    { "crlf cut behind a quote", CSV(), "a,b", IN("a,b\r\n1,\"2\"\r"), "2@5 1|'2'\n", 0 },
    { "lone cr", CSV(), "a,b", IN("a,b\r1,2\r\"3\",4\r"), "2@4 1|2\n3@8 '3'|4\n", 0 },
    { "lone cr, lf and crlf later", CSV(), "a,b", IN("a,b\r1,2\n3,4\r\n5,6\r\n\r7,\"x\r\ny\"\r\n8,9"),
      "2@4 1|2\n3@8 3|4\n4@13 5|6\n6@19 7|'x\\r\\ny'\n8@29 8|9\n", 0 },
    { "a cr inside a row of an lf file is data", CSV(), "a,b", IN("a,b\nx\ry,\"p\rq\"\n"),
      "2@4 x\\ry|'p\\rq'\n", 0 },
    { "empty", CSV(), "a,b", IN(""), "", 0 },
    { "only a newline", CSV(), "a", IN("\n"), "", 0 },
    { "only a header", CSV(), "a,b", IN("a,b"), "", 0 },
    { "only a header and newline", CSV(), "a,b", IN("a,b\r\n"), "", 0 },
    { "empty fields", CSV(), "a,b,c", IN("a,b,c\n,,\n\"\",,\"\"\n"), "2@6 ||\n3@9 ''||''\n", 0 },
    { "no header", BARE_CSV(), "a,b", IN("1,2\n\n3,4\n"), "1@0 1|2\n3@5 3|4\n", 0 },
    { "blank lines", CSV(), "a,b", IN("\n\r\na,b\n\n1,2\n\r\n\n3,4\n\n"), "5@8 1|2\n8@15 3|4\n", 0 },
    { "blank line of one column is a row", CSV(), "a", IN("a\n1\n\n2\n"), "2@2 1\n3@4 \n4@5 2\n", 0 },
    { "quoted blank line is a row", CSV(), "a", IN("a\n\"\"\n"), "2@2 ''\n", 0 },
    { "tsv", { .format = (char *)"tsv", .quote = '"', .header = true }, "a,b", IN("a\tb\n1,5\t\"x\ty\"\n"),
      "2@4 1,5|'x\\x09y'\n", 0 },
    { "a given delimiter", CSV(.delimiter = '\x1f'), "a,b", IN("a\x1f" "b\n1\x1f" "2,3\n"), "2@4 1|2,3\n", 0 },
    { "a delimiter above ASCII", CSV(.delimiter = '\xA6'), "a,b", IN("a\xA6" "b\n"), "error encoding: line 1: the header is not valid UTF-8\n", 0 },
    { "space as delimiter, trimmed", CSV(.delimiter = ' ', .trim = true), "a,b", IN("a b\n1 \t2\t\n"), "2@4 1|2\n", 0 },

    /* quotes */
    { "quoted", CSV(), "a,b,c", IN("a,b,c\n\"1\",2,\"3\"\n"), "2@6 '1'|2|'3'\n", 0 },
    { "delimiter and newlines in quotes", CSV(), "a,b", IN("a,b\n\"x,\ny\r\nz\",\"\n\"\n7,8\n"),
      "2@4 'x,\\ny\\r\\nz'|'\\n'\n6@18 7|8\n", 0 },
    { "doubled quotes", CSV(), "a,b", IN("a,b\n\"say \"\"hi\"\"\",\"\"\"\"\n"), "2@4 'say \"hi\"'|'\"'\n", 0 },
    { "quotes amid a bare field are bytes", CSV(), "a,b", IN("a,b\n5\" pipe,x\"y\"\nz,\"w\"\n"),
      "2@4 5\" pipe|x\"y\"\n3@17 z|'w'\n", 0 },
    { "no quote at all", QUOTE_CSV(0), "a,b", IN("a,b\n\"x,y\"\n"), "2@4 \"x|y\"\n", 0 },
    { "nul bytes when there is no quote", QUOTE_CSV(0), "a,b", IN("a,b\n\0,x\0\n"), "2@4 \\x00|x\\x00\n", 0 },
    { "another quote", QUOTE_CSV('\''), "a,b", IN("a,b\n'x,''y',\"z\"\n"), "2@4 'x,'y'|\"z\"\n", 0 },
    { "text behind a closing quote", CSV(), "a,b", IN("a,b\n\"x\"y,2\n\"x\" ,3\n5,6\n"),
      "2@4 !csv-quote col=0 value=\"x\"y,2 row=\"x\"y,2\n3@11 !csv-quote col=0 value=\"x\" ,3 row=\"x\" ,3\n4@18 5|6\n", 0 },
    { "behind such text the row goes on", CSV(), "a,b", IN("a,b\n\"x\"y,\"1\n2\"\n5,6\n"),
      "2@4 !csv-quote col=0 value=\"x\"y,\"1\\n2\" row=\"x\"y,\"1\\n2\"\n4@15 5|6\n", 0 },
    { "a quote closed badly on a later line costs its line only", CSV(), "a,b",
      IN("a,b\n1,\"oops\n2,x\n3,\"y\"\n4,z\n"),
      "2@4 !csv-quote col=1 value=\"oops row=1,\"oops\n3@12 2|x\n4@16 3|'y'\n5@22 4|z\n", 0 },
    { "the same with crlf", CSV(), "a,b", IN("a,b\r\n1,\"oops\r\n2,x\r\n3,\"y\"\r\n"),
      "2@5 !csv-quote col=1 value=\"oops row=1,\"oops\n3@14 2|x\n4@19 3|'y'\n", 0 },
    { "the line that opens it is not the row's first", CSV(), "a,b,c",
      IN("a,b,c\n1,\"x\ny\",\"oops\n4,5,6\n7,\"8\",9\n"),
      "2@6 !csv-quote col=2 value=\"oops row=1,\"x\\ny\",\"oops\n4@20 4|5|6\n5@26 7|'8'|9\n", 0 },
    { "a quote that is never closed", CSV(), "a,b", IN("a,b\n1,\"oops\n2,x\n3,y"),
      "2@4 !csv-quote col=1 value=\"oops row=1,\"oops\n3@12 2|x\n4@16 3|y\n", 0 },
    { "never closed at the very end", CSV(), "a,b", IN("a,b\n1,\""), "2@4 !csv-quote col=1 value=\" row=1,\"\n", 0 },
    { "never closed, with a newline at the end", CSV(), "a,b", IN("a,b\n1,\"x\r\n"), "2@4 !csv-quote col=1 value=\"x row=1,\"x\n", 0 },
    { "never closed, in a column that nobody wants", CSV(), "a", IN("a,b\n1,\"x\n2,3\n"),
      "2@4 !csv-quote col=-1 value=\"x row=1,\"x\n3@9 2\n", 0 },
    { "never closed within the longest row", CSV(), "a,b", IN("a,b\n1,\"oops\n22222,xxxx\n33333,yyyy\n44444,\"zzzz\"\n"),
      "2@4 !csv-quote col=1 value=\"oops row=1,\"oops\n3@12 22222|xxxx\n4@23 33333|yyyy\n5@34 44444|'zzzz'\n", 16 },

    { "never closed within the longest row, cr and crlf", BARE_CSV(), "a", IN("a\r\"x\r\ny\r"), "1@0 a\n2@2 !csv-quote col=0 value=\"x row=\"x\n3@6 y\n", 1 },

    /* escapes */
    { "backslash in quotes", CSV(.escape = '\\'), "a,b", IN("a,b\n\"x\\\"y\",\"p\\\\\"\n\"a\"\"b\",\"c\\\n\"\n"),
      "2@4 'x\"y'|'p\\'\n3@17 'a\"b'|'c\\n'\n", 0 },
    { "backslash in bare fields", CSV(.escape = '\\'), "a,b", IN("a,b\nx\\,y,p\\\nq\n\\\",\\N\n"),
      "2@4 x,y|p\\nq\n4@14 \"|\\N\n", 0 },
    { "backslash at the end", CSV(.escape = '\\'), "a,b", IN("a,b\n1,2\\"), "2@4 1|2\\\n", 0 },
    { "escaped newline at the end", CSV(.escape = '\\'), "a,b", IN("a,b\n1,2\\\n"), "2@4 1|2\\n\n", 0 },
    { "backslash before a closing quote at the end", CSV(.escape = '\\'), "a,b", IN("a,b\n1,\"2\\\""),
      "2@4 !csv-quote col=1 value=\"2\\\" row=1,\"2\\\"\n", 0 },
    { "the quote named as escape", CSV(.escape = '"'), "a", IN("a\n\"x\"\"y\"\n"), "2@2 'x\"y'\n", 0 },

    /* trim */
    { "spaces are kept", CSV(), "a,b", IN("a,b\n 1 ,\t2\n"), "2@4  1 |\\x092\n", 0 },
    { "trim", CSV(.trim = true), "a,b", IN("a,b\n 1 ,\t2\t\r\n \" x \" , \"y\"\t\n  \n,  \n"),
      "2@4 1|2\n3@13 ' x '|'y'\n5@30 |\n", 0 },

    /* lines before and between */
    { "skip_lines", CSV(.skip_lines = 2), "a,b", IN("report \"of\n\na,b\n1,2\n"), "4@16 1|2\n", 0 },
    { "skip_lines beyond the end", CSV(.skip_lines = 9), "a,b", IN("a,b\n1,2\n"), "", 0 },
    { "skip_lines in a cr file", CSV(.skip_lines = 1), "a,b", IN("x\ra,b\r1,2\r"), "3@6 1|2\n", 0 },
    { "comments", CSV(.comment = '#'), "a,b", IN("# \"what\na,b\n#x,\"\n1,#2\n\"#3\",4\n#"),
      "4@17 1|#2\n5@22 '#3'|4\n", 0 },
    { "a comment inside quotes is data", CSV(.comment = '#'), "a,b", IN("a,b\n1,\"\n#x\"\n"), "2@4 1|'\\n#x'\n", 0 },
    { "no comments unless asked", CSV(), "a", IN("a\n#x\n"), "2@2 #x\n", 0 },
    { "a comment longer than the longest row", CSV(.comment = '#'), "a,b", IN("a,b\n#0123456789012345678901234567890123456789\n1,2\n"),
      "3@46 1|2\n", 8 },
    { "a long comment in a cr file", CSV(.comment = '#'), "a", IN("a\r#,\r#,,\r#\r1\r"), "5@11 1\n", 1 },
    { "sep= names the delimiter", CSV(), "a,b", IN("sep=;\r\na;b\r\n1;2,5\r\n"), "3@12 1|2,5\n", 0 },

    /* which delimiter */
    { "auto comma", AUTO_CSV(), "a,b", IN("a,b\n1,x;y\n2,z\n"), "2@4 1|x;y\n3@10 2|z\n", 0 },
    { "auto semicolon with decimal commas", AUTO_CSV(), "a,b", IN("a;b\n1,5;2,5\n2,5;3,5\n"), "2@4 1,5|2,5\n3@12 2,5|3,5\n", 0 },
    { "auto comma, a semicolon in each row", AUTO_CSV(), "\"a;x\",b,c", IN("b,c,a;x\n1,Ann,a;b\n2,Bob,c;d\n"),
      "2@8 a;b|1|Ann\n3@18 c;d|2|Bob\n", 0 },
    { "auto semicolon, prose with commas", AUTO_CSV(), "b", IN("a, x;b\n1, 2, 3;4\n"), "2@7 4\n", 0 },
    { "auto semicolon, a comma more in each row, prose", AUTO_CSV(), "b", IN("a, x, y;b\n1, 2, 3;4\n"), "2@10 4\n", 0 },
    { "auto tab, more commas", AUTO_CSV(), "b", IN("a,x,y\tb\n1,2,3\t4\n"), "2@8 4\n", 0 },
    { "auto semicolon with decimal commas, no header", { .format = NULL, .quote = '"' }, "a,b", IN("1,5;2,5\n2,5;3,5\n"), "1@0 1,5|2,5\n2@8 2,5|3,5\n", 0 },
    { "auto tab", AUTO_CSV(), "a,b", IN("a\tb\n1\tx, y\n"), "2@4 1|x, y\n", 0 },
    { "auto pipe", AUTO_CSV(), "a,b", IN("a|b\n1|\"x,\n|y\"\n"), "2@4 1|'x,\\n|y'\n", 0 },
    { "auto with nothing to go by", AUTO_CSV(), "a", IN("a\n1\n"), "2@2 1\n", 0 },

    /* ragged */
    { "ragged reject", CSV(), "a,b", IN("a,b\n1\n1,2,3\n4,5\n1,2,\n"),
      "2@4 !field-count col=-1 value= row=1\n3@6 !field-count col=-1 value= row=1,2,3\n4@12 4|5\n5@16 !field-count col=-1 value= row=1,2,\n", 0 },
    { "ragged fill", CSV(.ragged = RAGGED_FILL), "b,a", IN("a,b\n1\n1,2,3\n4,5\n1,2,\"\",\n"),
      "2@4 ~|1\n3@6 !field-count col=-1 value= row=1,2,3\n4@12 5|4\n5@16 2|1\n", 0 },
    { "no header, optional columns at the end", BARE_CSV(), "a,b:text?,c:text?", IN("1\n1,2\n1,2,3\n1,2,3,4\n"),
      "1@0 1|~|~\n2@2 1|2|~\n3@6 1|2|3\n4@12 !field-count col=-1 value= row=1,2,3,4\n", 0 },

    /* long rows */
    { "a long row", CSV(), "a,b", IN("a,b\n1,2\n0123456789,0123456789\n3,4\n"),
      "2@4 1|2\n3@8 !row-too-long col=-1 value= row=01234567\n4@30 3|4\n", 8 },
    { "a row of just the longest length", CSV(), "a,b", IN("a,b\n0123,567\n0123,567\r\n0123,5678\n1,2\n"),
      "2@4 0123|567\n3@13 0123|567\n4@23 !row-too-long col=-1 value= row=0123,567\n5@33 1|2\n", 8 },
    { "a long row at the end", CSV(), "a,b", IN("a,b\n0123456789,1"), "2@4 !row-too-long col=-1 value= row=01234567\n", 8 },
    { "a long row in quotes", CSV(), "a,b", IN("a,b\n\"0123456789\",1\n1,2\n"),
      "2@4 !row-too-long col=-1 value= row=\"0123456\n3@19 1|2\n", 8 },
    { "a long row with lines in quotes", CSV(), "a,b", IN("a,b\n\"0\n1\",23456789\n1,2\n"),
      "2@4 !row-too-long col=-1 value= row=\"0\\n1\",23\n4@19 1|2\n", 8 },
    { "a long header", CSV(), "a", IN("a,bbbbbbbbbbbbbbbbbbb\n1,2\n"), "error header: line 1: the header is longer than 8 bytes\n", 8 },

    { "a header too long by one byte", CSV(), "a", IN("a,\r1\r"), "error header: line 1: the header is longer than 1 bytes\n", 1 },
    { "a row too long by one byte, lone cr", BARE_CSV(), "a", IN("ab\rc\r"), "1@0 !row-too-long col=-1 value= row=a\n2@3 c\n", 1 },

    /* encoding */
    { "utf-8", CSV(), "a,b", IN("a,b\n\xC3\xA4,\xF0\x9F\x98\x80\n"), "2@4 \\xC3\\xA4|\\xF0\\x9F\\x98\\x80\n", 0 },
    { "invalid utf-8 refuses its row", CSV(), "a", IN("a,b\nx,\xC3\xA4\nx,\xFFzz\nq\xC3,y\nz,\n"),
      "2@4 x\n3@9 !encoding col=-1 value=\\xFFzz row=x,\\xFFzz\n4@15 !encoding col=-1 value=\\xC3,y row=q\\xC3,y\n5@20 z\n", 0 },

    /* the header */
    { "columns by name, in any order, some left out", CSV(), "c,a", IN("a,b,c\n1,2,3\n"), "2@6 3|1\n", 0 },
    { "exact names win", CSV(), "ID", IN("id,ID\n1,2\n"), "2@6 2\n", 0 },
    { "then without case and blanks", CSV(), "net", IN("Id, NET \n1,2\n"), "2@9 2\n", 0 },
    { "quoted names", CSV(), "x:text from \"a,b\"", IN("\"a,b\",\"c\"\n1,2\n"), "2@10 1\n", 0 },
    { "one field for two columns", CSV(), "a:text from \"x\", b:text from \"x\"", IN("x,y\n1,2\n"), "2@4 1|1\n", 0 },
    { "an optional column is missing", CSV(), "a,z:text?,b", IN("a,b\n1,2\n"), "2@4 1|~|2\n", 0 },
    { "a column is missing", CSV(), "a,q,b", IN("a,b,\"c\n\"\n1,2,3\n"), "3@9 1|~|2\n", 0 },
    { "a wanted name twice", CSV(), "a", IN("A, a ,b\n"), "error header: the header has the column 'a' 2 times\n", 0 },
    { "an unwanted name twice", CSV(), "b", IN("a,a,b\n1,2,3\n"), "2@6 3\n", 0 },
    { "a header whose quote is never closed", CSV(), "a", IN("\"a\n1\n"),
      "error header: line 1: a quoted name of the header is never closed, or has text behind its closing quote\n", 0 },
    { "a header with text behind a quote", CSV(), "a", IN("\"a\"b\n1\n"),
      "error header: line 1: a quoted name of the header is never closed, or has text behind its closing quote\n", 0 },
    { "delimiter and quote the same", CSV(.delimiter = '"'), "a", IN("a\n"), "error config: delimiter must be a byte other than quote, escape and line ends\n", 0 },

    { "an empty last field before a row that opens with a quote", CSV(), "a,b", IN("a,b\n1,\n\",\",2\n"), "2@4 1|\n3@7 ','|2\n", 0 },

    /* all fields, for inference */
    { "all columns by the header", CSV(), NULL, IN("a,b\n1,2\n3\n"), "2@4 1|2\n3@8 !field-count col=-1 value= row=3\n", 0 },
    { "all columns by the first row", BARE_CSV(.comment = '#'), NULL, IN("#x\n\n1,2,\"3\"\n4,5,6\n"), "3@4 1|2|'3'\n4@12 4|5|6\n", 0 },
    { "all columns of nothing", BARE_CSV(), NULL, IN(""), "", 0 },
};

static const size_t cuts[] = { 0, 1, 2, 3, 7, 64 };
static const size_t sizes[] = { 0, 1, 16, 64 }; /* of window and chunk; 0: as ever */

/* false, and says so: something else came out. */
static bool case_holds(const struct csv_case *c, size_t cut, const struct csv_tuning *tuning)
{
    struct columns columns = { 0 };
    struct err err = { 0 };
    struct buf out = { 0 };
    if (c->columns)
        CHECK_OK(columns_parse(&columns, c->columns, &err), err);
    struct cut_input in = cut_of(c->in, cut);
    dump_csv(&out, &c->recipe, c->columns ? &columns : NULL, &in.in, c->row_max, tuning);
    bool same = strcmp(out.p ? out.p : "", c->out) == 0;
    if (!same)
        print_error("%s (cut %zu, window %zu, chunk %zu):\n%s--- expected:\n%s", c->name, cut,
                    tuning->window, tuning->chunk, out.p ? out.p : "", c->out);
    buf_clear(&out);
    columns_clear(&columns);
    return same;
}

static bool holds_however_cut(const struct csv_case *c)
{
    for (size_t k = 0; k < COUNT_OF(cuts); k++)
        for (size_t w = 0; w < COUNT_OF(sizes); w++)
            for (size_t n = 0; n < COUNT_OF(sizes); n++)
                for (int s = 0; s < SIMD_KINDS; s++) {
                    csv_scan_fn *scan = csv_scan_get((enum simd)s);
                    struct csv_tuning tuning = { sizes[w], sizes[n], scan };
                    if (scan && !case_holds(c, cuts[k], &tuning))
                        return false;
                }
    return true;
}

TEST(csv, the_dialect_is_read_the_same_however_it_is_cut)
{
    size_t failed = 0;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        failed += !holds_however_cut(&cases[i]);
    CHECK_EQ(failed, 0);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

TEST(csv, every_scan_finds_what_the_plain_one_finds)
{
    static const unsigned char bytes[] = { '\n', ',', '"', '\\', '\r' };
    static const char alphabet[] = "a,\"\n\r\\\xC3 b";
    uint32_t seed = 7;
    for (size_t round = 0; round < 64 * 200; round++) {
        size_t n = round % 200, off = round / 200; /* every length at every alignment */
        struct csv_set set;
        csv_set_init(&set, bytes, 1 + (int)(next_random(&seed) % CSV_SET_MAX));
        char *block = malloc(off + n + 1); /* it ends there, so that a sanitizer sees a byte read too far */
        uint32_t want[200 + CSV_SCAN_SLACK], got[200 + CSV_SCAN_SLACK];
        bool want_high, got_high;
        uint32_t rare = 1 + next_random(&seed) % 12;
        assert_non_null(block);
        for (size_t i = off; i < off + n; i++)
            block[i] = next_random(&seed) % rare ? 'x' : alphabet[next_random(&seed) % 9];
        block = realloc(block, off + n ? off + n : 1);
        size_t count = csv_scan_get(SIMD_PLAIN)(&set, block + off, n, 1000, want, &want_high);
        for (int s = 1; s < SIMD_KINDS; s++) {
            csv_scan_fn *scan = csv_scan_get((enum simd)s);
            if (!scan)
                continue;
            CHECK_EQ(scan(&set, block + off, n, 1000, got, &got_high), count);
            assert_memory_equal(got, want, count * sizeof *got);
            CHECK_EQ(got_high, want_high);
        }
        free(block);
    }
}

/* The rows of text, read as RFC 4180 has it without any quotes, one field a row: what must come out. */
static struct buf rows_of(struct str text)
{
    struct buf out = { 0 };
    size_t at = 0;
    for (int line = 1; at < text.n; line++) {
        const char *end = memchr(text.p + at, '\n', text.n - at);
        struct str row = { text.p + at, (size_t)(end - text.p) - at };
        size_t good = text_utf8_valid_plain(row);
        if (good < row.n) {
            buf_addf(&out, "%d@%zu !encoding col=-1 value=", line, at);
            dump_bytes(&out, (struct str){ row.p + good, row.n - good < 16 ? row.n - good : 16 });
            buf_adds(&out, " row=");
        } else {
            buf_addf(&out, "%d@%zu ", line, at);
        }
        dump_bytes(&out, row);
        buf_addc(&out, '\n');
        at += row.n + 1;
    }
    return out;
}

TEST(csv, bad_utf8_is_found_wherever_the_text_is_cut)
{
    static const char *const pieces[] = { "ab", "ä", "€", "😀", "\n", "\n", "\x80", "\xC3", "\xE2\x82", "\xF0\x9F", "\xED\xA0\x80" };
    const struct recipe recipe = { .delimiter = ',', .quote = '"' };
    uint32_t seed = 11;
    struct columns columns;
    struct err err;
    CHECK_OK(columns_parse(&columns, "a", &err), err);
    for (int round = 0; round < 3000; round++) {
        struct buf text = { 0 }, out = { 0 };
        for (uint32_t parts = next_random(&seed) % 80; parts; parts--) {
            const char *piece = pieces[next_random(&seed) % (round % 2 ? 6 : COUNT_OF(pieces))];
            buf_adds(&text, *piece == '\n' ? "x\n" : piece); /* no row is empty */
        }
        buf_adds(&text, "x\n");
        struct buf want = rows_of(buf_str(&text));
        struct csv_tuning tuning = { .window = next_random(&seed) % 100, .chunk = next_random(&seed) % 70 };
        struct cut_input in = cut_of(buf_str(&text), 0);
        dump_csv(&out, &recipe, &columns, &in.in, 0, &tuning);
        buf_addc(&want, '\0');
        if (strcmp(out.p ? out.p : "", want.p))
            fail_msg("round %d, window %zu, chunk %zu: %s--- expected:\n%s", round, tuning.window, tuning.chunk, out.p, want.p);
        buf_clear(&text);
        buf_clear(&out);
        buf_clear(&want);
    }
    columns_clear(&columns);
}

/* Rows made as they are read: `first`, then `line` again and again, `bytes` in all. */
struct endless {
    struct input in;
    struct str first, line;
    size_t at, bytes;
};

static ssize_t endless_read(struct input *in, void *buf, size_t cap, struct err *err)
{
    struct endless *e = (struct endless *)in;
    char *out = buf;
    (void)err;
    size_t n = e->bytes - e->at < cap ? e->bytes - e->at : cap;
    for (size_t end = e->at + n; e->at < end; e->at++)
        *out++ = e->at < e->first.n ? e->first.p[e->at]
                                    : e->line.p[(e->at - e->first.n) % e->line.n];
    return (ssize_t)n;
}

struct totals {
    uint64_t rows, last_line, bad[REJECT_REASONS];
    size_t arena;
};

static struct totals read_endless(struct endless in, int64_t row_max, const char *names)
{
    struct recipe recipe = { .format = (char *)"csv", .quote = '"' };
    struct columns columns = { 0 };
    struct reader *r = NULL;
    struct batch b = { 0 };
    struct totals t = { 0 };
    struct err err = { 0 };
    int rc;
    in.in = (struct input){ endless_read, NULL, -1 };
    CHECK_OK(columns_parse(&columns, names, &err), err);
    CHECK_OK(format_csv.open(&r, &recipe, &columns, &in.in, row_max, &err), err);
    CHECK_OK(batch_init(&b, (uint32_t)columns.n, &err), err);
    while ((rc = format_csv.next(r, &b, &err)) > 0) {
        t.rows += b.rows;
        if (b.rows)
            t.last_line = b.places[b.rows - 1].line;
        for (uint32_t i = 0; i < b.nbad; i++)
            t.bad[b.bad[i].reason]++;
    }
    CHECK_OK(rc, err);
    t.arena = b.arena.total;
    batch_clear(&b);
    format_csv.close(r);
    columns_clear(&columns);
    return t;
}

enum { MB = 1000 * 1000, FLAT = 8 * MB };

static void check_flat(int64_t before)
{
#ifdef __SANITIZE_ADDRESS__
    (void)before; /* freed memory is kept there, to find who uses it */
#else
    CHECK(sys_peak_rss() - before < FLAT);
#endif
}

TEST(csv, a_line_without_end_is_one_reject_and_memory_stays_flat)
{
    int64_t before = sys_peak_rss();
    struct totals t = read_endless(
        (struct endless){ .line = STR("0123456789,"), .bytes = 40 * MB }, MB, "a,b");
    CHECK_EQ(t.rows, 0);
    CHECK_EQ(t.bad[REJECT_ROW_TOO_LONG], 1);
    check_flat(before);
}

TEST(csv, a_quote_without_end_costs_its_line_only_and_memory_stays_flat)
{
    int64_t before = sys_peak_rss();
    struct totals t = read_endless(
        (struct endless){ .first = STR("1,\"oops\n"), .line = STR("x\"\"y,1\n"), .bytes = 8 + 35 * MB },
        MB, "a,b");
    CHECK_EQ(t.bad[REJECT_CSV_QUOTE], 1);
    CHECK_EQ(t.rows, 5 * MB);
    CHECK_EQ(t.last_line, 5 * MB + 1);
    check_flat(before);
}

static size_t scanned; /* by scan_counting */

static size_t scan_counting(const struct csv_set *set, const char *p, size_t n, uint32_t at,
                            uint32_t *out, bool *high)
{
    scanned += n;
    return csv_scan_best()(set, p, n, at, out, high);
}

static size_t bytes_scanned(struct str line, struct recipe recipe, int64_t row_max)
{
    struct endless in = { .in = { endless_read, NULL, -1 }, .line = line, .bytes = MB };
    struct csv_tuning tuning = { .scan = scan_counting };
    struct columns columns = { 0 };
    struct reader *r = NULL;
    struct batch b;
    struct err err = { 0 };
    scanned = 0;
    CHECK_OK(columns_parse(&columns, "a,b", &err), err);
    CHECK_OK(csv_open(&r, &recipe, &columns, &in.in, row_max, &tuning, &err), err);
    CHECK_OK(batch_init(&b, 2, &err), err);
    while (format_csv.next(r, &b, &err) > 0)
        ;
    batch_clear(&b);
    format_csv.close(r);
    columns_clear(&columns);
    return scanned;
}

TEST(csv, no_hostile_lines_make_it_read_them_over_and_over)
{
    static const char *const lines[] = {
        "\"\n",       "\"a\n",   "\"\"\"\n",   ",\"x\n",  "\"a\"b,\"c\n", "\\\"\n",      "\"\\\"\n", "#\"\n",
        " \"\n\n",   "\"\"\n\"", "\"\r\n",   "a\"\n\"", "\"a\"b\n\"",  "x,\"\"\"\n", "\"x\\\n", "\"a\"b\r",
    };
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        for (int knobs = 0; knobs < 8; knobs++) {
            struct recipe recipe = { .format = (char *)"csv",
                                     .quote = '"',
                                     .escape = knobs & 1 ? '\\' : 0,
                                     .comment = knobs & 2 ? '#' : 0,
                                     .trim = knobs & 2 };
            size_t n = bytes_scanned(str_of(lines[i]), recipe, knobs & 4 ? 1000 : MB);
            if (n > 4 * MB)
                fail_msg("lines %zu, knobs %d: %zu bytes scanned for %d", i, knobs, n, MB);
        }
}

TEST(csv, a_header_of_millions_of_fields_is_an_error_and_not_a_gigabyte)
{
    int64_t before = sys_peak_rss();
    struct recipe recipe = { .format = (char *)"csv", .quote = '"', .header = true };
    struct columns columns = { 0 };
    struct reader *r = NULL;
    struct err err = { 0 };
    struct endless in = { .in = { endless_read, NULL, -1 }, .line = STR("a,"), .bytes = 3 * MB };
    CHECK_OK(columns_parse(&columns, "a", &err), err);
    CHECK_EQ(format_csv.open(&r, &recipe, &columns, &in.in, 4 * MB, &err), -1);
    CHECK_EQ(err.code, ERR_HEADER);
    CHECK_HAS(err.msg, "1500001 fields");
    check_flat(before);
    columns_clear(&columns);
}

TEST(csv, rows_of_a_thousand_batches_are_all_there_once)
{
    struct totals t = read_endless((struct endless){ .line = STR("a,\"b \"\"c\"\"\",\xC3\xA4\n"), .bytes = 15 * MB },
                                   MB, "a,b,c");
    CHECK_EQ(t.rows, MB);
    CHECK_EQ(t.last_line, MB);
    CHECK(t.arena < MB);
}

static ssize_t failing_read(struct input *in __attribute__((unused)),
                            void *buf __attribute__((unused)), size_t cap __attribute__((unused)),
                            struct err *err)
{
    return err_set(err, ERR_TRUNCATED, "the archive ends too early");
}

/* A letter for each field of the header: taken by a column, unwanted, without a name, or that with a value in some row. */
static void fields_are(struct str in, bool trim, const char *want)
{
    for (size_t piece = 1; piece <= in.n; piece++) {
        struct recipe recipe = CSV(.trim = trim);
        struct csv_tuning tuning = { .window = 16 + piece, .chunk = 8 };
        struct cut_input cut = cut_of(in, piece);
        struct columns columns = { 0 };
        struct format_names names;
        struct batch batch;
        struct reader *r;
        struct err err;
        char is[16] = "";
        CHECK_OK(columns_parse(&columns, "a", &err), err);
        CHECK_OK(batch_init(&batch, 1, &err), err);
        CHECK_OK(csv_open(&r, &recipe, &columns, &cut.in, 1000, &tuning, &err), err);
        CHECK_EQ(format_csv.names(r, &names, &err), 1);
        bool grows = names.grows;
        for (int i = 0; i < names.n; i++)
            CHECK(!names.v[i].filled);
        while (format_csv.next(r, &batch, &err) == 1)
            ;
        CHECK_EQ(format_csv.names(r, &names, &err), 1);
        for (int i = 0; i < names.n; i++) {
            const struct format_name *f = &names.v[i];
            strcat(is, f->taken ? "t" : f->filled ? "F" : f->name.n ? "u" : "-");
        }
        CHECK_STR(is, want);
        CHECK_EQ(grows, strpbrk(want, "-F") != NULL);
        format_csv.close(r);
        batch_clear(&batch);
        columns_clear(&columns);
    }
}

TEST(csv, values_of_fields_without_a_name_are_seen)
{
    for (int trim = 0; trim <= 1; trim++) { /* both ways through a row */
        fields_are(STR("b,a\n1,2\n"), trim, "ut");
        fields_are(STR("a,,b,\n1,,2,\n3,\"\",4,\"\"\r\n"), trim, "t-u-");
        fields_are(STR("a,,b,\n1,,2,\n3,,4,zz\n5,,6,\n"), trim, "t-uF");
        fields_are(STR("a,,b,\r\n1,\"z,\n\"\"z\",2,\r\n"), trim, "tFu-");
        fields_are(STR(",a,\n0,1,2\n"), trim, "FtF");
    }
    fields_are(STR("a,\n1, \n"), true, "t-");
    fields_are(STR("a,\n1, \n"), false, "tF");
}

TEST(csv, an_error_of_the_input_is_the_readers_error)
{
    struct err err = { 0 };
    struct reader *r = NULL;
    struct columns columns = { 0 };
    struct recipe recipe = { .format = (char *)"csv", .quote = '"' };
    struct input in = { failing_read, NULL, -1 };
    CHECK_OK(columns_parse(&columns, "a", &err), err);
    CHECK_EQ(format_csv.open(&r, &recipe, &columns, &in, MB, &err), -1);
    CHECK_EQ(err.code, ERR_TRUNCATED);
    format_csv.close(NULL);
    columns_clear(&columns);
}
