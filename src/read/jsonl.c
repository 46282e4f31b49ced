/*
 * JSON lines and JSON documents to batches.
 *
 * Lines: one value a line; a line that is wrong is one bad row, and the next line is read as if
 * nothing had been. Documents: an array of objects, objects one after the other, or an array
 * somewhere inside (records = path). An element is found by its brackets first, so that one with
 * bad grammar is one bad row too; where the brackets themselves do not match there is no next
 * element to find, and the whole member is refused. Around the records all but the grammar inside
 * of what is passed over is checked.
 *
 * Bytes lie in one window. A batch is made from what the window holds, with slices into it; the
 * next call moves the rest to the front and reads on. The window grows to the longest row that is
 * allowed and no further; a longer row is passed over piece by piece. Nothing is kept on disk.
 */
#include "read/jsonl.h"

#include <inttypes.h>
#include <stdlib.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/json.h"
#include "read/json_row.h"

enum {
    WINDOW = 256 * 1024,
    ROW_MAX_DEFAULT = 16 << 20,
    WINDOW_SLACK = 32,    /* readable and not part of the data: json_row.h asks for 16 */
    LONG_ROW_KEPT = 2048, /* bytes of a row that is too long, for the rejects */
};

static const int64_t ROW_MAX = INT32_MAX; /* a field's length has 32 bits */

/* Where we are in a member. The names of a document's states tell what comes next. */
enum state { AT_START, AT_LINE, AT_TOP, AT_FIRST, AT_ELEMENT, AT_COMMA, AT_AROUND };

struct reader {
    struct input *in;
    const struct recipe *recipe;
    struct json_row *row;
    struct arena mem;
    struct json_step records[JSON_STEPS]; /* way to the array of the rows */
    int nrecords;
    size_t row_max;

    char *window;
    size_t cap, from, to; /* window[from, to) is not read yet */
    bool eof;
    uint64_t offset, line; /* in the member, of window[from] */

    enum state state;
    bool begun;        /* a row was seen */
    uint64_t top_line; /* where the document began */
};

/* ---- the window ---- */

static bool batch_full(const struct batch *b)
{
    return b->rows == BATCH_ROWS || b->nbad == BATCH_ROWS;
}
static bool batch_has(const struct batch *b)
{
    return b->rows || b->nbad;
}

static const char *here(const struct reader *r)
{
    return r->window + r->from;
}
static const char *window_end(const struct reader *r)
{
    return r->window + r->to;
}

static uint64_t count_lines(const char *p, const char *end)
{
    uint64_t n = 0;
    while (p < end && (p = memchr(p, '\n', (size_t)(end - p)))) {
        n++;
        p++;
    }
    return n;
}

/* Step forward to p, which holds no newline before it that counts. */
static void advance_line(struct reader *r, const char *p, uint64_t lines)
{
    r->offset += (uint64_t)(p - here(r));
    r->from = (size_t)(p - r->window);
    r->line += lines;
}

static void advance(struct reader *r, const char *p)
{
    advance_line(r, p, count_lines(here(r), p));
}

static int window_grow(struct reader *r, struct err *err)
{
    size_t limit = r->row_max + 2 > WINDOW ? r->row_max + 2 : WINDOW; /* a CR and a newline */
    size_t cap = r->cap ? r->cap * 2 : WINDOW;
    if (cap > limit)
        cap = limit;
    char *p = realloc(r->window, cap + WINDOW_SLACK);
    if (!p)
        return err_nomem(err);
    memset(p + r->to, 0, cap + WINDOW_SLACK - r->to);
    r->window = p;
    r->cap = cap;
    return 0;
}

/* Could the window hold more of the row at its front? */
static bool window_can_grow(const struct reader *r)
{
    return r->cap < WINDOW || r->cap < r->row_max + 2;
}

/*
 * More bytes, until the window is full. No slice into the window may be alive. 1: there are more
 * than before, or the end was seen now; 0: nothing comes any more, or the row at the front is as
 * long as the window may become.
 */
static int window_fill(struct reader *r, struct err *err)
{
    if (r->eof)
        return 0;
    if (r->from) {
        memmove(r->window, here(r), r->to - r->from);
        r->to -= r->from;
        r->from = 0;
    }
    if (r->to == r->cap) {
        if (!window_can_grow(r))
            return 0;
        if (window_grow(r, err) < 0)
            return -1;
    }
    while (r->to < r->cap && !r->eof) {
        ssize_t n = r->in->read(r->in, r->window + r->to, r->cap - r->to, err);
        if (n < 0)
            return -1;
        r->to += (size_t)n;
        r->eof = n == 0;
    }
    return 1;
}

/* ---- rows ---- */

static void add_bad(struct batch *b, const struct place *place, enum reject_reason reason,
                    int column, struct str value)
{
    b->bad[b->nbad++] = (struct bad_row){
        .place = *place, .reason = reason, .column = column, .value = value
    };
}

static bool find_records(const struct json_value *object, int levels, char *path, size_t cap)
{
    struct json_value v, first;
    struct str key, none;
    for (size_t at = 0; json_next(object, &at, &key, &v);) {
        size_t inner = 0, n = key.n - 2;
        if (n == 0 || n + 2 > cap || strcspn(key.p + 1, ".[]\"\\ ,") != n)
            continue;
        memcpy(path, key.p + 1, n);
        path[n] = '\0';
        if (v.kind == JSON_ARRAY && json_next(&v, &inner, &none, &first) &&
            first.kind == JSON_OBJECT)
            return true;
        path[n] = '.';
        if (v.kind == JSON_OBJECT && levels > 1 &&
            find_records(&v, levels - 1, path + n + 1, cap - n - 1))
            return true;
    }
    return false;
}

bool jsonl_records(const struct json_value *object, char *path, size_t cap)
{
    return find_records(object, 3, path, cap);
}

/* A member that is one object without any of the columns, but with an array of objects inside:
 * records = was forgotten, and a row of nulls is not what was meant. */
static int check_lone_object(const struct reader *r, const struct field *fields, uint32_t cols,
                             struct str text, struct err *err)
{
    struct json_value v;
    struct json_fault fault;
    char path[200];
    if (!cols || !r->eof || r->recipe->row_alone ||
        json_skip_space(text.p + text.n, window_end(r)) != window_end(r))
        return 0;
    for (uint32_t i = 0; i < cols; i++)
        if (fields[i].kind != FIELD_ABSENT)
            return 0;
    if (!json_check(text, &v, &fault) || v.kind != JSON_OBJECT ||
        !jsonl_records(&v, path, sizeof path))
        return 0;
    return err_set(err, ERR_FORMAT,
                   "the file is one object that has none of the columns; records = %s would read "
                   "the objects in its array",
                   path);
}

static int add_row(struct reader *r, struct batch *b, struct str text, bool ascii, struct err *err)
{
    struct place place = { r->line, r->offset, text };
    struct json_refusal no;
    struct field *fields = &b->fields[(size_t)b->rows * b->cols];
    if (text.n > r->row_max) {
        add_bad(b, &place, REJECT_ROW_TOO_LONG, -1, (struct str){ text.p, 0 });
        return 0;
    }
    int rc = json_row_scan(r->row, text, ascii, fields, &b->arena, &no);
    if (rc < 0)
        return err_nomem(err);
    if (rc && !r->begun && check_lone_object(r, fields, b->cols, text, err) < 0)
        return -1;
    r->begun = true;
    if (rc && r->recipe->by_program && json_row_said_error(text, fields, b->cols, r->line, err) < 0)
        return -1;
    if (rc)
        b->places[b->rows++] = place;
    else
        add_bad(b, &place, no.reason, no.column, no.value);
    return 0;
}

/* The row at the front is longer than allowed: note it, with its first bytes. */
static int add_long(struct reader *r, struct batch *b, struct err *err)
{
    size_t n = r->to - r->from < LONG_ROW_KEPT ? r->to - r->from : LONG_ROW_KEPT;
    char *kept = arena_dup(&b->arena, (struct str){ here(r), n });
    if (!kept)
        return err_nomem(err);
    struct place place = { r->line, r->offset, { kept, n } };
    add_bad(b, &place, REJECT_ROW_TOO_LONG, -1, (struct str){ kept, 0 });
    return 0;
}

/* ---- lines ---- */

/* The newline at or behind p, or NULL. *ascii tells whether all bytes before it are below 128. */
static const char *find_newline(const char *p, const char *end, bool *ascii)
{
    unsigned high = 0;
#ifdef __SSE2__
    const __m128i newline = _mm_set1_epi8('\n');
    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        unsigned hit = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, newline));
        unsigned above = (unsigned)_mm_movemask_epi8(v);
        if (hit) {
            *ascii = !(high | (above & (hit - 1) & ~hit));
            return p + __builtin_ctz(hit);
        }
        high |= above;
    }
#endif
    for (; p < end && *p != '\n'; p++)
        high |= (unsigned char)*p & 0x80;
    *ascii = !high;
    return p < end ? p : NULL;
}

static int one_line(struct reader *r, struct batch *b, const char *end, bool ascii, struct err *err)
{
    const char *p = here(r);
    if (end > p && end[-1] == '\r')
        end--;
    if (json_skip_space(p, end) == end)
        return 0;
    return add_row(r, b, (struct str){ p, (size_t)(end - p) }, ascii, err);
}

/* Pass over the rest of a line that is too long, window by window. */
static int skip_line(struct reader *r, struct err *err)
{
    bool ascii;
    const char *end;
    int rc = 1;
    while (!(end = find_newline(here(r), window_end(r), &ascii)) && rc > 0) {
        advance_line(r, window_end(r), 0);
        rc = window_fill(r, err);
    }
    if (end)
        advance_line(r, end + 1, 1);
    return rc < 0 ? -1 : 0;
}

/* The lines that are whole in the window. */
static int lines_in_window(struct reader *r, struct batch *b, struct err *err)
{
    bool ascii;
    while (!batch_full(b) && r->from < r->to) {
        const char *end = find_newline(here(r), window_end(r), &ascii);
        if (!end && !r->eof)
            return 0;
        if (one_line(r, b, end ? end : window_end(r), ascii, err) < 0)
            return -1;
        advance_line(r, end ? end + 1 : window_end(r), end ? 1 : 0);
    }
    return 0;
}

static int next_lines(struct reader *r, struct batch *b, struct err *err)
{
    for (;;) {
        if (lines_in_window(r, b, err) < 0)
            return -1;
        if (batch_has(b))
            return 1;
        int rc = window_fill(r, err);
        if (rc < 0)
            return -1;
        if (rc == 0 && r->from == r->to)
            return 0;
        if (rc == 0 && (add_long(r, b, err) < 0 || skip_line(r, err) < 0))
            return -1;
    }
}

/* ---- documents ---- */

enum {
    NEEDS_BYTES = 2
}; /* of the steps below: not enough in the window to go on, or the batch must go first */

static int fault_at(const struct reader *r, enum err_code code, const char *p, const char *what,
                    struct err *err)
{
    uint64_t offset = r->offset + (uint64_t)(p - here(r)), line = r->line + count_lines(here(r), p);
    return err_set(err, code, "line %" PRIu64 ", byte %" PRIu64 ": %s", line, offset, what);
}

static int broken(const struct reader *r, const char *what, struct err *err)
{
    return fault_at(r, ERR_FORMAT, here(r), what, err);
}

static int cut_off(const struct reader *r, struct err *err)
{
    return err_set(err, ERR_TRUNCATED,
                   "the JSON that begins on line %" PRIu64
                   " is not closed when the file ends, on line %" PRIu64,
                   r->top_line, r->line + count_lines(here(r), window_end(r)));
}

static int wrong_bracket(const struct reader *r, const char *p, struct err *err)
{
    return fault_at(r, ERR_FORMAT, p, "this bracket does not close what was opened last", err);
}

/* The next byte that is no white space, or -1: the window ends before it. */
static int peek_byte(struct reader *r)
{
    advance(r, json_skip_space(here(r), window_end(r)));
    return r->from < r->to ? (unsigned char)*here(r) : -1;
}

static bool has_end(char c)
{
    return c == '{' || c == '[' || c == '"';
}

/* The end of the value at the front. 1: *end is it; NEEDS_BYTES; -1. */
static int value_end(struct reader *r, const char **end, struct err *err)
{
    const char *p = here(r), *stop = window_end(r), *wrong;
    if (has_end(*p)) {
        struct json_brackets b = { 0 };
        *end = json_brackets_end(&b, p, stop, &wrong);
        if (wrong)
            return wrong_bracket(r, wrong, err);
        if (!*end && r->eof)
            return cut_off(r, err);
        return *end ? 1 : NEEDS_BYTES;
    }
    while (p < stop && (unsigned char)*p > ' ' && !strchr(",:[]{}\"", *p))
        p++;
    if (p == here(r))
        return broken(r, "a value was expected here", err);
    *end = p;
    return p < stop || r->eof ? 1 : NEEDS_BYTES;
}

/* More bytes, or the reason why there are none. No slice into the window may be alive. */
static int need(struct reader *r, struct err *err)
{
    int rc = window_fill(r, err);
    if (rc == 0)
        return r->eof ? cut_off(r, err)
                      : broken(r, "a number, word or key is longer than [limits] row_bytes", err);
    return rc < 0 ? -1 : 0;
}

static int need_byte(struct reader *r, struct err *err)
{
    int c;
    while ((c = peek_byte(r)) < 0)
        if (need(r, err) < 0)
            return -1;
    return c;
}

static int need_value(struct reader *r, const char **end, struct err *err)
{
    int rc;
    while ((rc = value_end(r, end, err)) == NEEDS_BYTES)
        if (need(r, err) < 0)
            return -1;
    return rc < 0 ? -1 : 0;
}

/* The whole number, word or text at the front, checked. */
static int need_scalar(struct reader *r, struct json_value *v, const char **end, struct err *err)
{
    struct json_fault fault;
    if (need_value(r, end, err) < 0)
        return -1;
    if (json_check((struct str){ here(r), (size_t)(*end - here(r)) }, v, &fault))
        return 0;
    return fault_at(r, ERR_FORMAT, here(r) + fault.at, fault.what, err);
}

/* Pass over the value at the front, however long it is. */
static int pass_value(struct reader *r, struct err *err)
{
    struct json_brackets b = { 0 };
    const char *end, *wrong;
    struct json_value v;
    if (!has_end(*here(r))) {
        if (need_scalar(r, &v, &end, err) < 0)
            return -1;
        advance(r, end);
        return 0;
    }
    for (;;) {
        end = json_brackets_end(&b, here(r), window_end(r), &wrong);
        if (wrong)
            return wrong_bracket(r, wrong, err);
        advance(r, end ? end : window_end(r));
        if (end)
            return 0;
        if (need(r, err) < 0)
            return -1;
    }
}

/* Pass over a key and its colon. 1: it is this one, 0: another. */
static int pass_key(struct reader *r, struct str name, struct err *err)
{
    const char *end;
    struct json_value v;
    if (*here(r) != '"')
        return broken(r, "a key in quotes was expected here", err);
    if (need_scalar(r, &v, &end, err) < 0)
        return -1;
    bool same = json_text_is(v.raw, name);
    advance(r, end);
    int c = need_byte(r, err);
    if (c < 0)
        return -1;
    if (c != ':')
        return broken(r, "a colon was expected here", err);
    advance(r, here(r) + 1);
    return need_byte(r, err) < 0 ? -1 : same;
}

/* The comma or bracket behind a value: 1 another follows, 0 the container is closed. */
static int pass_comma(struct reader *r, char close, struct err *err)
{
    int c = need_byte(r, err);
    if (c < 0)
        return -1;
    if (c != ',' && c != close)
        return broken(
            r, close == '}' ? "a comma or } was expected here" : "a comma or ] was expected here",
            err);
    advance(r, here(r) + 1);
    return c == ',' && need_byte(r, err) < 0 ? -1 : c == ',';
}

/*
 * Go on in one container on the way to the records: from its opening bracket, or from behind the
 * value that was wanted. 1: at the value that the step names; 0: the container is closed; -1.
 */
static int follow(struct reader *r, const struct json_step *step, bool from_start, struct err *err)
{
    const char close = step->index < 0 ? '}' : ']';
    int rc = 1;
    if (from_start) {
        if (*here(r) != (close == '}' ? '{' : '['))
            return broken(r,
                          "records = does not lead through here: it takes an object for a key, an "
                          "array for [0]",
                          err);
        advance(r, here(r) + 1);
        int c = need_byte(r, err);
        if (c < 0)
            return -1;
        if (c == close) {
            advance(r, here(r) + 1);
            return 0;
        }
    } else {
        rc = pass_comma(r, close, err);
    }
    for (int64_t i = 0; rc > 0; i++) {
        int found = step->index < 0 ? pass_key(r, step->key, err) : from_start && i == step->index;
        if (found)
            return found;
        if (pass_value(r, err) < 0)
            return -1;
        rc = pass_comma(r, close, err);
    }
    return rc;
}

/* From the opening bracket of a document to behind the one of its array of records. */
static int enter_records(struct reader *r, struct err *err)
{
    for (int i = 0; i < r->nrecords; i++) {
        int rc = follow(r, &r->records[i], true, err);
        if (rc < 0)
            return -1;
        if (rc == 0)
            return broken(r, "the document has no value where records = leads to", err);
    }
    if (*here(r) != '[')
        return broken(r, "records = leads here, and this is no array", err);
    advance(r, here(r) + 1);
    r->state = AT_FIRST;
    return 1;
}

/* From behind the array of records to the end of its document. */
static int leave_records(struct reader *r, struct err *err)
{
    for (int i = r->nrecords - 1; i >= 0; i--) {
        int rc = follow(r, &r->records[i], false, err);
        if (rc < 0)
            return -1;
        if (rc > 0)
            return broken(r, "a key of records = is there twice", err);
    }
    r->state = AT_TOP;
    return 1;
}

static int element(struct reader *r, struct batch *b, enum state behind, struct err *err)
{
    const char *end;
    int rc = value_end(r, &end, err);
    if (rc != 1)
        return rc;
    if (add_row(r, b, (struct str){ here(r), (size_t)(end - here(r)) }, false, err) < 0)
        return -1;
    advance(r, end);
    r->state = behind;
    return 1;
}

static int at_top(struct reader *r, struct batch *b, int c, struct err *err)
{
    r->top_line = r->line;
    if (c != '{' && c != '[')
        return broken(r, "an object or an array was expected here", err);
    if (r->nrecords)
        return batch_has(b) ? NEEDS_BYTES : enter_records(r, err);
    if (c == '{')
        return element(r, b, AT_TOP, err);
    advance(r, here(r) + 1);
    r->state = AT_FIRST;
    return 1;
}

/* One step in a document: 1 a step was done, NEEDS_BYTES, 0 the end, -1. */
static int document_step(struct reader *r, struct batch *b, struct err *err)
{
    if (r->state == AT_AROUND)
        return batch_has(b) ? NEEDS_BYTES : leave_records(r, err);
    int c = peek_byte(r);
    if (c < 0 && r->eof)
        return r->state == AT_TOP ? 0 : cut_off(r, err);
    if (c < 0)
        return NEEDS_BYTES;
    if (r->state == AT_TOP)
        return at_top(r, b, c, err);
    if (c == ']' && r->state != AT_ELEMENT) {
        advance(r, here(r) + 1);
        r->state = AT_AROUND;
        return 1;
    }
    if (r->state != AT_COMMA)
        return element(r, b, AT_COMMA, err);
    if (c != ',')
        return broken(r, "a comma or ] was expected here", err);
    advance(r, here(r) + 1);
    r->state = AT_ELEMENT;
    return 1;
}

static int next_of_document(struct reader *r, struct batch *b, struct err *err)
{
    for (;;) {
        int rc = 1;
        while (rc == 1 && !batch_full(b))
            rc = document_step(r, b, err);
        if (batch_has(b))
            return 1; /* an error too: the next call finds it again, at the same place */
        if (rc <= 0)
            return rc;
        rc = window_fill(r, err);
        if (rc < 0)
            return -1;
        if (rc == 0) { /* the element fills the window and goes on */
            if (add_long(r, b, err) < 0 || pass_value(r, err) < 0)
                return -1;
            if (r->state != AT_TOP)
                r->state = AT_COMMA;
        }
    }
}

/* ---- the format ---- */

/* Does the object at the front end on the line it begins on? */
static bool is_line(struct reader *r)
{
    bool ascii;
    struct json_brackets b = { 0 };
    const char *wrong, *end = find_newline(here(r), window_end(r), &ascii);
    return json_brackets_end(&b, here(r), end ? end : window_end(r), &wrong) || wrong;
}

static int choose_state(struct reader *r, const struct recipe *recipe, struct err *err)
{
    if (window_fill(r, err) < 0)
        return -1;
    if (recipe->format && !strcmp(recipe->format, "jsonl") && !r->nrecords) {
        r->state = AT_LINE;
    } else if (r->nrecords || (recipe->format && !strcmp(recipe->format, "json"))) {
        r->state = AT_TOP;
    } else {
        int c = peek_byte(r);
        r->state = c == '[' || (c == '{' && !is_line(r)) ? AT_TOP : AT_LINE;
    }
    return 0;
}

static int jsonl_bid(struct str head)
{
    const char *end = head.p + head.n, *p = json_skip_space(head.p, end);
    if (p == end || (*p != '{' && *p != '['))
        return 0;
    char open = *p;
    p = json_skip_space(p + 1, end);
    if (p == end)
        return 30;
    if (open == '{')
        return *p == '"' || *p == '}' ? 95 : 0;
    return *p == '{' || *p == ']' ? 95 : 20;
}

static void jsonl_close(struct reader *r)
{
    if (!r)
        return;
    json_row_close(r->row);
    arena_clear(&r->mem);
    free(r->window);
    free(r);
}

static int reader_init(struct reader *r, const struct recipe *recipe, const struct columns *columns,
                       struct err *err)
{
    if (recipe->records) {
        r->nrecords = json_path_parse(recipe->records, r->records, &r->mem, err);
        if (r->nrecords < 0)
            return err_in(err, "records");
    }
    return json_row_open(&r->row, columns, recipe->grammar, err) < 0 || window_grow(r, err) < 0 ? -1
                                                                                                : 0;
}

static int jsonl_open(struct reader **out, const struct recipe *recipe,
                      const struct columns *columns, struct input *in, int64_t row_bytes_max,
                      struct err *err)
{
    struct reader *r = calloc(1, sizeof *r);
    if (!r)
        return err_nomem(err);
    r->in = in;
    r->recipe = recipe;
    int64_t row_max = row_bytes_max <= 0 ? ROW_MAX_DEFAULT : row_bytes_max;
    r->row_max = (size_t)(row_max < ROW_MAX ? row_max : ROW_MAX);
    r->line = 1;
    if (reader_init(r, recipe, columns, err) < 0) {
        jsonl_close(r);
        return -1;
    }
    *out = r;
    return 0;
}

static int jsonl_next(struct reader *r, struct batch *b, struct err *err)
{
    batch_reset(b);
    if (r->state == AT_START && choose_state(r, r->recipe, err) < 0)
        return -1;
    return r->state == AT_LINE ? next_lines(r, b, err) : next_of_document(r, b, err);
}

static int jsonl_names(struct reader *r, struct format_names *out, struct err *err)
{
    (void)err;
    json_row_names(r->row, out);
    return 1;
}

const char *jsonl_form(const struct reader *r)
{
    return r->state == AT_LINE ? "jsonl" : "json";
}

static void jsonl_about(const struct reader *r, struct reject_context *c)
{
    c->format = jsonl_form(r);
}

const struct format format_jsonl = { "jsonl", jsonl_bid, jsonl_open, jsonl_next, jsonl_close, jsonl_names, jsonl_about };
