/*
 * CSV: a window of bytes, an index of the bytes that matter, rows of slices.
 *
 * The window holds the bytes from the open row on. Fields are slices of it, so it moves only when a
 * batch is begun: a batch ends where the window does, and the row that is cut there starts again at
 * the front of the next window. Only fields that lose bytes (doubled quotes, escapes) are copied,
 * into the batch's arena. One row may grow the window up to row_bytes_max; it shrinks back.
 *
 * Invariants: what a row means does not depend on where windows or reads end; no byte is walked
 * more than a few times, for any input (a quoted field that ends badly is read again from its
 * second line, and between its quotes no line can open another). Nothing is written anywhere: a
 * reader that dies leaves nothing behind.
 *
 * RFC 4180 is the ground; where files leave it, csv.h and doc/csv.md say what happens.
 */
#include "read/csv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "read/csv_dialect.h"
#include "read/csv_map.h"

enum {
    WINDOW = 256 * 1024,
    CHUNK = 16 * 1024,
    HEAD = 64 * 1024,
    PAD = 2, /* behind the window: the line end that we add to the last row, and a byte to look
                ahead at */
    ROW_MAX_DEFAULT = 16 << 20,
    ROW_MAX_MOST = 1 << 30, /* positions are 32 bits, and so are the lengths of fields */
};

/* A row as it is walked. */
struct row {
    size_t
        end; /* behind its last byte; its line end follows. SPLIT_QUOTE: the last byte looked at */
    size_t next; /* where the next row begins */
    int fields;
    uint64_t lines;      /* line ends inside it */
    bool quote;          /* text behind a closing quote */
    bool extra;          /* a field behind the last column is not empty */
    bool in_quotes;      /* the walk ended inside quotes */
    size_t open;         /* where the last quoted field begins, */
    uint64_t open_lines; /* how many line ends before it, */
    int open_col;        /* and its number */
    size_t fault;        /* with quote: the field at fault, the first of them */
    int fault_col;
};

enum split { SPLIT_ROW, SPLIT_MORE, SPLIT_QUOTE, SPLIT_NO_MEMORY };

struct reader {
    struct input *in;
    char *head; /* what was read to look at, until it is used up */
    size_t head_at, head_n;

    csv_scan_fn *scan;
    struct csv_set set;
    struct csv_dialect d;
    bool slow; /* bare fields need more than a look for their end */
    size_t row_max;

    char *win;
    size_t cap, window, chunk;
    size_t len;      /* bytes to walk; at the end of the input one line end more than there is */
    size_t end;      /* bytes of the input */
    uint64_t offset; /* of win[0] in the member */
    bool eof, starved;

    uint32_t *pos;
    uint32_t npos, ipos;
    size_t chunk_at, scanned; /* pos has what is between them */
    size_t clip;
    size_t checked;         /* up to here chunks were looked at as UTF-8 */
    bool doubt, row_doubt; /* this chunk, this row, may be other than UTF-8 */

    size_t at; /* the open row */
    uint64_t line;
    bool discard; /* stepping over the rest of a long row or comment */

    struct csv_map map;
    struct str header; /* the row with the names, as it stands there; in the arena of the map */
};

/* ---- the window ---- */

static ssize_t pull(struct reader *r, char *buf, size_t cap, struct err *err)
{
    if (!r->head)
        return r->in->read(r->in, buf, cap, err);
    size_t n = r->head_n - r->head_at < cap ? r->head_n - r->head_at : cap;
    memcpy(buf, r->head + r->head_at, n);
    r->head_at += n;
    if (r->head_at == r->head_n) {
        free(r->head);
        r->head = NULL;
    }
    return n ? (ssize_t)n : r->in->read(r->in, buf, cap, err);
}

static void index_reset(struct reader *r, size_t at)
{
    r->chunk_at = r->scanned = at;
    r->npos = r->ipos = 0;
    r->checked = at;
    r->doubt = false;
}

/* Walk on from here. A piece that is indexed is not scanned again: else each bad row would cost a
 * whole one. */
static void walk_from(struct reader *r, size_t at)
{
    if (at < r->chunk_at || at > r->scanned) {
        index_reset(r, at);
        return;
    }
    while (r->ipos > 0 && r->pos[r->ipos - 1] >= at)
        r->ipos--;
    while (r->ipos < r->npos && r->pos[r->ipos] < at)
        r->ipos++;
}

/* Let no position at or behind clip be walked; SIZE_MAX: no such bound any more. */
static void clip_at(struct reader *r, size_t clip)
{
    r->clip = clip;
    while (r->npos && r->pos[r->npos - 1] >= clip)
        r->npos--;
    if (r->scanned > clip)
        r->scanned = clip;
    if (r->checked > clip)
        r->checked = clip;
}

/* The bytes from the start of a row among which its end must be: those it may have, CR and LF. */
static inline size_t row_reach(const struct reader *r)
{
    return r->row_max + 2;
}

/* The size of the window for a row of which `tail` bytes are there. */
static size_t window_size(const struct reader *r, size_t tail)
{
    size_t most = row_reach(r) > r->window ? row_reach(r) : r->window;
    if (tail > r->cap / 2)
        return r->cap * 2 < most ? r->cap * 2 : most;
    return r->cap > r->window && tail <= r->window / 2 ? r->window : r->cap;
}

static int window_move(struct reader *r, size_t tail, struct err *err)
{
    size_t cap = window_size(r, tail);
    if (cap == r->cap) {
        memmove(r->win, r->win + r->at, tail);
    } else {
        char *win = malloc(cap + PAD);
        if (!win)
            return err_nomem(err);
        memcpy(win, r->win + r->at, tail);
        free(r->win);
        r->win = win;
        r->cap = cap;
    }
    r->offset += r->at;
    r->at = 0;
    return 0;
}

/* Fill the window from the open row on, to its brim or to the end of the input. No slice of it is
 * in use. */
static int fill(struct reader *r, struct err *err)
{
    size_t tail = r->len - r->at;
    if (window_move(r, tail, err) < 0)
        return -1;
    r->len = tail;
    while (r->len < r->cap && !r->eof) {
        ssize_t n = pull(r, r->win + r->len, r->cap - r->len, err);
        if (n < 0)
            return -1;
        r->eof = n == 0;
        r->len += (size_t)n;
    }
    r->end = r->len;
    if (r->eof)
        r->win[r->len++] = '\n';
    r->win[r->len] = '\0';
    r->starved = false;
    index_reset(r, 0);
    return 0;
}

/* Behind the last byte that may be walked. */
static inline size_t walk_limit(const struct reader *r)
{
    return r->clip < r->len ? r->clip : r->len;
}

/*
 * Is what was scanned, from `checked` on, UTF-8? A sequence that the end cuts is left for the next
 * chunk: a row cannot end in it. So a row of chunks without doubt needs no look of its own.
 */
static bool chunk_valid(struct reader *r)
{
    size_t end = r->scanned;
    for (int back = 1; back <= 3 && end - r->checked >= (size_t)back; back++) {
        unsigned char c = (unsigned char)r->win[end - (size_t)back];
        if (c >= 0xc0)
            end -= (size_t)back;
        if (c >= 0xc0 || c < 0x80)
            break;
    }
    struct str s = { r->win + r->checked, end - r->checked };
    r->checked = end;
    return text_utf8_valid(s) == s.n;
}

/* Index the next piece of the window; false: there is none before clip. */
static bool more(struct reader *r)
{
    size_t limit = walk_limit(r);
    while (r->scanned < limit) {
        size_t n = limit - r->scanned < r->chunk ? limit - r->scanned : r->chunk;
        bool high;
        r->npos = (uint32_t)r->scan(&r->set, r->win + r->scanned, n, (uint32_t)r->scanned, r->pos,
                                    &high);
        r->ipos = 0;
        r->chunk_at = r->scanned;
        r->scanned += n;
        high |= r->checked < r->chunk_at; /* a sequence that the last chunk cut */
        r->doubt = high && !chunk_valid(r);
        if (!high)
            r->checked = r->scanned;
        r->row_doubt |= r->doubt;
        if (r->npos)
            return true;
    }
    return false;
}

static inline bool next_pos(struct reader *r, size_t *p)
{
    if (r->ipos == r->npos && !more(r))
        return false;
    *p = r->pos[r->ipos++];
    return true;
}

/* ---- fields ---- */

static inline int byte_at(const struct reader *r, size_t p)
{
    return (unsigned char)r->win[p];
}

static inline bool is_end(const struct reader *r, size_t p)
{
    return r->win[p] == '\n' || (r->d.cr && r->win[p] == '\r');
}

static inline bool is_blank(const struct reader *r, size_t p)
{
    return (r->win[p] == ' ' || r->win[p] == '\t') && byte_at(r, p) != r->d.delimiter;
}

/* Does the line end at p end a line, or is it the first half of CRLF? */
static inline bool ends_line(const struct reader *r, size_t p)
{
    return is_end(r, p) && !(r->win[p] == '\r' && r->win[p + 1] == '\n');
}

static inline bool wanted(const struct reader *r, int col)
{
    return col < r->map.width && r->map.slot[col] >= 0;
}

/* The bytes from..to without their doubling quotes (when quoted) and escapes. -1: no memory. */
static int unescape(const struct reader *r, size_t from, size_t to, bool quoted, struct field *f,
                    struct arena *arena)
{
    char *out = arena_alloc(arena, to - from);
    if (!out)
        return -1;
    size_t n = 0;
    for (size_t i = from; i < to; i++) {
        int c = byte_at(r, i);
        if (i + 1 < to &&
            (c == r->d.escape || (quoted && c == r->d.quote && byte_at(r, i + 1) == r->d.quote)))
            i++;
        out[n++] = r->win[i];
    }
    f->p = out;
    f->n = (uint32_t)n;
    return 0;
}

/* An escape at p: the byte behind it has no meaning. false: that byte is not there yet. At the end
 * of the input an escape is a byte like any other. */
static bool step_escape(struct reader *r, size_t p, size_t *min, struct row *row, bool *plain)
{
    if (r->eof && p + 1 >= r->end)
        return true;
    if (p + 1 >= walk_limit(r))
        return false;
    *plain = false;
    *min = p + 2;
    if (ends_line(r, p + 1))
        row->lines++;
    return true;
}

/* Behind a closing quote at `close`: *end is where the delimiter or line end stands, or else
 * (*text) the first byte of other text. false: that is not there yet. */
static bool behind_quote(const struct reader *r, size_t close, size_t *end, bool *text)
{
    size_t limit = walk_limit(r), e = close + 1;
    while (r->d.trim && e < limit && is_blank(r, e))
        e++;
    if (e + 1 < limit && !r->d.cr && r->win[e] == '\r' && r->win[e + 1] == '\n')
        e++;
    if (e >= limit || (!r->d.cr && r->win[e] == '\r' && e + 1 >= limit))
        return false;
    *text = byte_at(r, e) != r->d.delimiter && !is_end(r, e);
    *end = e;
    return true;
}

/* The quoted field that was opened last ends badly. The first such of a row is the one to tell of.
 */
static void set_fault(struct row *row)
{
    if (row->quote)
        return;
    row->quote = true;
    row->fault = row->open;
    row->fault_col = row->open_col;
}

/* Text stands behind a closing quote of this line: the row is refused, and the field goes on, bare,
 * to its end. */
static enum split bad_field(struct reader *r, size_t close, struct row *row, size_t *end)
{
    set_fault(row);
    size_t p, min = close + 1;
    bool plain;
    do {
        if (!next_pos(r, &p))
            return SPLIT_MORE;
        if (p >= min && byte_at(r, p) == r->d.escape && !step_escape(r, p, &min, row, &plain))
            return SPLIT_MORE;
    } while (p < min || (byte_at(r, p) != r->d.delimiter && !is_end(r, p)));
    *end = p;
    return SPLIT_ROW;
}

/*
 * A field whose quote opens at `open`. SPLIT_ROW: *f is it, and *end the delimiter or line end
 * behind it, the last position taken. SPLIT_QUOTE: it ends badly on a later line.
 */
static __attribute__((noinline)) enum split quoted(struct reader *r, size_t open, int col,
                                                   struct field *f, size_t *end, struct row *row,
                                                   struct arena *arena)
{
    size_t limit = walk_limit(r), p, min = open + 1;
    if (open >= limit)
        return SPLIT_MORE;
    row->open = open;
    row->open_lines = row->lines;
    row->open_col = col;
    row->in_quotes = true;
    uint64_t lines = row->lines;
    bool plain = true, text;
    for (;;) {
        if (!next_pos(r, &p))
            return SPLIT_MORE;
        if (p < min)
            continue;
        int c = byte_at(r, p);
        if (c == r->d.escape) {
            if (!step_escape(r, p, &min, row, &plain))
                return SPLIT_MORE;
        } else if (c == r->d.quote) {
            if (p + 1 >= limit)
                return SPLIT_MORE;
            if (byte_at(r, p + 1) != r->d.quote)
                break;
            plain = false;
            min = p + 2;
        } else if (ends_line(r, p)) {
            row->lines++;
        }
    }
    size_t close = p;
    if (!behind_quote(r, close, end, &text))
        return SPLIT_MORE;
    row->in_quotes = false;
    row->end = *end; /* what SPLIT_QUOTE is judged by */
    if (text)
        return row->lines > lines ? SPLIT_QUOTE : bad_field(r, close, row, end);
    while (p < *end)
        if (!next_pos(r, &p))
            return SPLIT_MORE;
    *f = (struct field){ r->win + open + 1, (uint32_t)(close - open - 1), FIELD_QUOTED };
    if (!plain && wanted(r, col) && unescape(r, open + 1, close, true, f, arena) < 0)
        return SPLIT_NO_MEMORY;
    return SPLIT_ROW;
}

/* A field that may need trimming or unescaping, or a file whose lines end in CR. As quoted(). */
static __attribute__((noinline)) enum split bare(struct reader *r, size_t from, int col,
                                                 struct field *f, size_t *end, struct row *row,
                                                 struct arena *arena)
{
    while (r->d.trim && from < walk_limit(r) && is_blank(r, from))
        from++;
    if (byte_at(r, from) == r->d.quote)
        return quoted(r, from, col, f, end, row, arena);
    size_t p, min = from;
    bool plain = true;
    for (;;) {
        if (!next_pos(r, &p))
            return SPLIT_MORE;
        if (p < min || byte_at(r, p) == r->d.quote)
            continue;
        if (byte_at(r, p) != r->d.escape)
            break;
        if (!step_escape(r, p, &min, row, &plain))
            return SPLIT_MORE;
    }
    *end = p;
    size_t to = p;
    if (r->win[p] == '\n' && to > from && r->win[to - 1] == '\r')
        to--;
    while (r->d.trim && to > from && is_blank(r, to - 1))
        to--;
    *f = (struct field){ r->win + from, (uint32_t)(to - from), FIELD_BARE };
    bool mark = to - from == 2 && byte_at(r, from) == r->d.escape && r->win[from + 1] == 'N';
    if (!plain && !mark && wanted(r, col) && unescape(r, from, to, false, f, arena) < 0)
        return SPLIT_NO_MEMORY;
    return SPLIT_ROW;
}

/* ---- rows ---- */

/* A field in quotes that the index shows whole: "…" with its delimiter or LF right behind. */
static inline bool quoted_whole(const struct reader *r, const uint32_t *at, uint32_t left,
                                size_t from)
{
    return left >= 3 && at[0] == from && at[2] == at[1] + 1 && byte_at(r, from) == r->d.quote &&
           byte_at(r, at[1]) == r->d.quote &&
           (byte_at(r, at[2]) == r->d.delimiter || r->win[at[2]] == '\n');
}

/* Part by part: a struct that was put together in memory costs half of the walk. */
static inline void put_field(struct field *to, const char *p, size_t n, uint8_t kind)
{
    to->p = p;
    to->n = (uint32_t)n;
    to->kind = kind;
}

/*
 * The fields from `from` on, of number *col and more, that the index shows whole with a delimiter
 * behind them, bare ones or quoted; gives where the next field begins. A field that opens with a
 * quote is never taken for a bare one: its quote is the next position. Only where bare fields need
 * no more than a look for their end.
 */
static inline size_t field_run(struct reader *r, size_t from, int *col, struct field *out)
{
    const char *win = r->win;
    const int delimiter = r->d.delimiter, width = r->map.width;
    const int *slot = r->map.slot;
    const uint32_t *at = r->pos + r->ipos, *stop = r->pos + r->npos;
    int c = *col;
    for (; at < stop && c < width; c++) {
        size_t begin = from, end = *at, behind = end;
        uint8_t kind = FIELD_BARE;
        if ((unsigned char)win[end] != delimiter) {
            if (!quoted_whole(r, at, (uint32_t)(stop - at), from) || win[at[2]] == '\n')
                break;
            begin++;
            end = at[1];
            behind = at[2];
            kind = FIELD_QUOTED;
            at += 2;
        }
        at++;
        if (slot[c] >= 0)
            put_field(&out[slot[c]], win + begin, end - begin, kind);
        else if (slot[c] == CSV_UNNAMED && end > begin)
            r->map.slot[c] = CSV_FILLED;
        from = behind + 1;
    }
    r->ipos = (uint32_t)(at - r->pos);
    *col = c;
    return from;
}

/*
 * Walk the row at r->at; out takes the fields that are wanted. SPLIT_ROW: *row is whole.
 * SPLIT_MORE: the window (or clip) ends in it. SPLIT_QUOTE: a quoted field ends badly on a later
 * line than it began.
 */
static enum split split_row(struct reader *r, struct field *out, struct row *row,
                            struct arena *arena)
{
    const char *win = r->win;
    const int delimiter = r->d.delimiter, quote = r->d.quote, width = r->map.width;
    const int *slot = r->map.slot;
    const bool slow = r->slow;
    size_t from = r->at, p;
    int col = 0;

    for (;; from = p + 1, col++) {
        if (!slow)
            from = field_run(r, from, &col, out);
        const uint32_t *at = r->pos + r->ipos;
        size_t begin = from, n;
        uint8_t kind = FIELD_BARE;
        struct field f = { 0 };
        bool opens = (unsigned char)win[from] == quote;
        if (quoted_whole(r, at, r->npos - r->ipos, from)) {
            begin = from + 1;
            n = at[1] - begin;
            kind = FIELD_QUOTED;
            p = at[2];
            r->ipos += 3;
        } else if (opens || slow) {
            enum split s = opens ? quoted(r, from, col, &f, &p, row, arena)
                                 : bare(r, from, col, &f, &p, row, arena);
            if (s != SPLIT_ROW)
                return s;
            n = f.n;
            kind = f.kind;
        } else {
            do {
                if (!next_pos(r, &p))
                    return SPLIT_MORE;
            } while ((unsigned char)win[p] == quote);
            n = p - from - (win[p] == '\n' && p > from && win[p - 1] == '\r');
        }
        if (__builtin_expect(col >= width, 0)) {
            row->extra |= n > 0;
        } else if (slot[col] >= 0) {
            put_field(&out[slot[col]], f.p ? f.p : win + begin, n, kind);
        } else if (slot[col] == CSV_UNNAMED && n > 0) {
            r->map.slot[col] = CSV_FILLED;
        }
        if ((unsigned char)win[p] != delimiter)
            break;
    }
    if (win[p] == '\r' && p + 1 >= r->len)
        return SPLIT_MORE; /* an LF may follow */
    row->next = p + 1 + (win[p] == '\r' && win[p + 1] == '\n');
    row->end = p - (win[p] == '\n' && p > r->at && win[p - 1] == '\r');
    row->fields = col + 1;
    return SPLIT_ROW;
}

static void begin_row(struct reader *r, struct row *row)
{
    *row = (struct row){ .next = 0 };
    r->row_doubt = r->doubt;
}

/*
 * Walk the row at r->at within row_max: SPLIT_MORE with row->end set means that it is longer than
 * that (and row->in_quotes whether that is for want of a closing quote); with row->end 0, that the
 * window ends in it.
 */
static enum split bounded_row(struct reader *r, struct field *out, struct row *row,
                              struct arena *arena)
{
    begin_row(r, row);
    enum split s = split_row(r, out, row, arena);
    size_t bytes = (s == SPLIT_MORE ? r->end : row->end) - r->at;
    if (s == SPLIT_NO_MEMORY || bytes <= r->row_max + (s == SPLIT_MORE)) {
        if (s == SPLIT_MORE)
            row->end = 0;
        return s;
    }
    walk_from(r, r->at);
    clip_at(r, r->at + row_reach(r));
    begin_row(r, row);
    s = split_row(r, out, row, arena);
    clip_at(r, SIZE_MAX);
    row->end = r->at + r->row_max;
    row->fields = 0;
    return s == SPLIT_ROW ? SPLIT_MORE : s; /* a row: its LF stands where only that of CRLF may */
}

/* ---- what is no row, or no good one ---- */

static void bad_row(struct reader *r, struct batch *b, enum reject_reason reason, size_t end,
                    int column, struct str value)
{
    if (end > r->end)
        end = r->end;
    b->bad[b->nbad++] = (struct bad_row){
        .place = { r->line, r->offset + r->at, { r->win + r->at, end - r->at } },
        .reason = reason,
        .column = column,
        .value = value,
    };
}

/* The first line end at or behind p, or len. */
static size_t line_end(const struct reader *r, size_t p)
{
    while (p < r->len && !is_end(r, p))
        p++;
    return p;
}

static size_t behind_line_end(const struct reader *r, size_t p)
{
    return p + 1 + (r->win[p] == '\r' && p + 1 < r->len && r->win[p + 1] == '\n');
}

static void bad_quote(struct reader *r, struct batch *b, const struct row *row, size_t end)
{
    struct str value = { r->win + row->fault, (end < r->end ? end : r->end) - row->fault };
    int column = wanted(r, row->fault_col) ? r->map.slot[row->fault_col] : CSV_NONE;
    bad_row(r, b, REJECT_CSV_QUOTE, end, column, value);
}

/* Go on behind the line on which the quote opened that ends badly. The line end is in the window,
 * or the row is too long. */
static void after_bad_quote(struct reader *r, struct batch *b, struct row *row)
{
    set_fault(row);
    size_t e = line_end(r, row->open);
    bad_quote(r, b, row, e - (r->win[e] == '\n' && r->win[e - 1] == '\r'));
    r->line += row->open_lines;
    r->at = e;
    r->discard = true;
}

/* The row is longer than row_max: its first bytes are in the window. */
static void too_long(struct reader *r, struct batch *b, struct row *row)
{
    if (row->in_quotes && line_end(r, row->open) < r->at + row_reach(r)) {
        after_bad_quote(r, b, row);
        return;
    }
    bad_row(r, b, REJECT_ROW_TOO_LONG, row->end, CSV_NONE, (struct str){ 0 });
    for (size_t end = r->at + r->row_max + 1; r->at < end; r->at++)
        r->line += ends_line(r, r->at);
    r->discard = true;
}

/* Step to behind the next line end. false: it is not in the window. */
static bool discard(struct reader *r)
{
    size_t p = line_end(r, r->at);
    bool cut = p >= r->len || (r->win[p] == '\r' && p + 1 >= r->len);
    r->at = cut ? p : behind_line_end(r, p);
    walk_from(r, r->at);
    r->line += !cut;
    r->discard = cut;
    return !cut;
}

/* A comment line, at r->at. false: its end is not in the window. */
static bool skip_comment(struct reader *r)
{
    size_t p;
    bool whole;
    do
        whole = next_pos(r, &p);
    while (whole && (p < r->at || !is_end(r, p)));
    if (!whole || (r->win[p] == '\r' && p + 1 >= r->len)) {
        r->discard = r->len - r->at > r->row_max;
        return false;
    }
    r->at = behind_line_end(r, p);
    r->line++;
    return true;
}

static bool is_blank_row(const struct reader *r, const struct row *row)
{
    size_t p = r->at;
    while (r->d.trim && p < row->end && is_blank(r, p))
        p++;
    return row->fields == 1 && p >= row->end;
}

/* ---- a row into the batch ---- */

static bool count_fits(const struct reader *r, const struct row *row)
{
    if (row->fields < r->map.width)
        return r->d.fill || row->fields >= r->map.width_min;
    return r->d.fill && !row->extra;
}

static void set_absent(struct reader *r, struct field *out, int fields)
{
    for (int i = 0; i < r->map.nabsent; i++)
        out[r->map.absent[i]] = (struct field){ "", 0, FIELD_ABSENT };
    for (int col = fields; col < r->map.width; col++)
        if (r->map.slot[col] >= 0)
            out[r->map.slot[col]] = (struct field){ "", 0, FIELD_ABSENT };
    for (int i = 0; i < r->map.ncopies; i++)
        out[r->map.copies[i].to] = out[r->map.copies[i].from];
}

/* Is the row not valid UTF-8? Then it is among the bad rows. */
static bool refuse_encoding(struct reader *r, struct batch *b, struct str raw)
{
    size_t good = text_utf8_valid(raw), left = raw.n - good;
    if (left)
        bad_row(r, b, REJECT_ENCODING, r->at + raw.n, CSV_NONE,
                (struct str){ raw.p + good, left < 16 ? left : 16 });
    return left;
}

static void bad_count(struct reader *r, struct batch *b, const struct row *row)
{
    bad_row(r, b, REJECT_FIELD_COUNT, row->end, CSV_NONE, (struct str){ 0 });
    struct bad_row *bad = &b->bad[b->nbad - 1];
    bad->found = row->fields;
    bad->expected = row->fields < r->map.width ? r->map.width_min : r->map.width;
}

static bool refuse(struct reader *r, struct batch *b, const struct row *row, struct str raw)
{
    if (row->quote)
        bad_quote(r, b, row, row->end);
    else if (r->row_doubt && refuse_encoding(r, b, raw))
        return true;
    else if (row->fields != r->map.width && !count_fits(r, row))
        bad_count(r, b, row);
    else
        return false;
    return true;
}

/* A whole row: into the batch, or to its bad rows. Then step to the next. */
static inline void take_row(struct reader *r, struct batch *b, struct field *out,
                            const struct row *row)
{
    size_t end = row->end < r->end ? row->end : r->end;
    struct str raw = { r->win + r->at, end - r->at };
    bool good = !row->quote && !r->row_doubt && row->fields == r->map.width;
    if (__builtin_expect(good, 1) || !refuse(r, b, row, raw)) {
        if (row->fields < r->map.width || r->map.nabsent || r->map.ncopies)
            set_absent(r, out, row->fields);
        b->places[b->rows++] = (struct place){ r->line, r->offset + r->at, raw };
    }
    r->line += row->lines + 1;
    r->at = row->next;
}

/* One step through the window: 1 go on, 0 the window is used up, -1 no memory. */
static int step(struct reader *r, struct batch *b)
{
    if (r->discard && !discard(r))
        return 0;
    if (r->at >= r->end)
        return 0;
    if (byte_at(r, r->at) == r->d.comment)
        return skip_comment(r);
    struct field *out = b->fields + (size_t)b->rows * b->cols;
    struct row row;
    switch (bounded_row(r, out, &row, &b->arena)) {
    case SPLIT_ROW:
        if (__builtin_expect(row.fields == 1 && r->map.width != 1, 0) && is_blank_row(r, &row)) {
            r->line++;
            r->at = row.next;
        } else {
            take_row(r, b, out, &row);
        }
        return 1;
    case SPLIT_QUOTE:
        after_bad_quote(r, b, &row);
        return 1;
    case SPLIT_NO_MEMORY:
        return -1;
    case SPLIT_MORE:
        break;
    }
    if (row.end)
        too_long(r, b, &row);
    else if (r->eof)
        after_bad_quote(r, b, &row);
    else
        return 0;
    return 1;
}

static int csv_next(struct reader *r, struct batch *b, struct err *err)
{
    assert((int)b->cols == r->map.cols);
    batch_reset(b);
    for (;;) {
        int go = r->starved ? 0 : 1;
        while (go == 1 && b->rows < BATCH_ROWS && b->nbad < BATCH_ROWS)
            go = step(r, b);
        if (go < 0)
            return err_nomem(err);
        r->starved = go == 0;
        if (batch_read(b))
            return 1;
        if (r->eof)
            return 0;
        if (fill(r, err) < 0)
            return -1;
    }
}

/* ---- the header ---- */

/* Find the first row: 1 it is whole in the window and *row tells of it, 0 there is none, -1 error.
 * The row is walked, not taken. */
static int first_row(struct reader *r, struct field *out, struct row *row, struct err *err)
{
    for (;;) {
        bool at_row = (!r->discard || discard(r)) && r->at < r->end;
        if (at_row && byte_at(r, r->at) == r->d.comment) {
            if (skip_comment(r))
                continue;
        } else if (at_row) {
            switch (bounded_row(r, out, row, &r->map.arena)) {
            case SPLIT_ROW:
                if (!is_blank_row(r, row))
                    return 1;
                r->line++;
                r->at = row->next;
                continue;
            case SPLIT_NO_MEMORY:
                return err_nomem(err);
            case SPLIT_QUOTE:
                row->quote = true;
                return 1;
            case SPLIT_MORE:
                row->quote = row->in_quotes;
                if (row->end || r->eof)
                    return 1;
            }
        }
        if (r->eof)
            return 0;
        if (fill(r, err) < 0)
            return -1;
    }
}

static int bad_header(const struct reader *r, const struct row *row, struct err *err)
{
    if (row->quote)
        return err_set(err, ERR_HEADER,
                       "line %llu: a quoted name of the header is never closed, or has text behind "
                       "its closing quote",
                       (unsigned long long)r->line);
    return err_set(err, ERR_HEADER, "line %llu: the header is longer than %zu bytes",
                   (unsigned long long)r->line, r->row_max);
}

/* Walk the header, at r->at, once more, now that there is room for its fields. */
static int take_names(struct reader *r, int n, struct err *err)
{
    struct row row;
    if (csv_map_positions(&r->map, n, NULL, err) < 0)
        return -1;
    struct field *names = calloc((size_t)n, sizeof *names);
    if (!names)
        return err_nomem(err);
    walk_from(r, r->at);
    begin_row(r, &row);
    int rc = split_row(r, names, &row, &r->map.arena) == SPLIT_ROW
                 ? csv_map_keep_names(&r->map, names, err)
                 : err_nomem(err);
    free(names);
    r->line += row.lines + 1;
    r->at = row.next;
    return rc;
}

static int open_header(struct reader *r, const struct columns *columns, struct err *err)
{
    struct row row;
    r->map.cols = columns ? columns->n : 0;
    int rc = first_row(r, NULL, &row, err); /* counts only: no field has a column yet */
    if (rc <= 0)
        return rc;
    if (row.quote || !row.fields)
        return bad_header(r, &row, err);
    struct str raw = { r->win + r->at, row.end - r->at };
    if (text_utf8_valid(raw) != raw.n)
        return err_set(err, ERR_ENCODING, "line %llu: the header is not valid UTF-8",
                       (unsigned long long)r->line);
    r->header = (struct str){ arena_dup(&r->map.arena, raw), raw.n };
    if (!r->header.p)
        return err_nomem(err);
    if (take_names(r, row.fields, err) < 0)
        return -1;
    return columns ? csv_map_names(&r->map, columns, err) : 0;
}

/* No header: the columns are the fields, in their order. */
static int open_bare(struct reader *r, const struct columns *columns, struct err *err)
{
    if (columns)
        return csv_map_positions(&r->map, columns->n, columns, err);
    struct row row;
    int rc = first_row(r, NULL, &row, err);
    if (rc <= 0)
        return rc;
    if (row.quote || !row.fields)
        return err_set(err, ERR_FORMAT, "line %llu: the first row ends badly",
                       (unsigned long long)r->line);
    walk_from(r, r->at);
    return csv_map_positions(&r->map, row.fields, NULL, err);
}

/* ---- open, close ---- */

static int read_head(struct reader *r, struct str *head, struct err *err)
{
    r->head = malloc(HEAD);
    if (!r->head)
        return err_nomem(err);
    while (r->head_n < HEAD) {
        ssize_t n = r->in->read(r->in, r->head + r->head_n, HEAD - r->head_n, err);
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        r->head_n += (size_t)n;
    }
    *head = (struct str){ r->head, r->head_n };
    return 0;
}

/* Step over whole lines, whatever is in them. */
static int skip_lines(struct reader *r, int64_t lines, struct err *err)
{
    while (lines > 0) {
        r->discard = true;
        if (discard(r))
            lines--;
        else if (r->eof)
            break;
        else if (fill(r, err) < 0)
            return -1;
    }
    r->discard = false;
    return 0;
}

static void choose_set(struct reader *r)
{
    const struct csv_dialect *d = &r->d;
    unsigned char set[CSV_SET_MAX] = { '\n', (unsigned char)d->delimiter };
    int n = 2;
    if (d->quote != CSV_NONE)
        set[n++] = (unsigned char)d->quote;
    if (d->escape != CSV_NONE)
        set[n++] = (unsigned char)d->escape;
    if (d->cr)
        set[n++] = '\r';
    csv_set_init(&r->set, set, n);
    r->slow = d->trim || d->cr || d->escape != CSV_NONE;
}

static int reader_init(struct reader *r, struct err *err)
{
    r->win = malloc(r->cap + PAD);
    r->pos = malloc((r->chunk + CSV_SCAN_SLACK) * sizeof *r->pos);
    return r->win && r->pos ? fill(r, err) : err_nomem(err);
}

static int reader_start(struct reader *r, const struct recipe *recipe,
                        const struct columns *columns, struct err *err)
{
    struct str head = { 0 };
    if (read_head(r, &head, err) < 0)
        return -1;
    if (csv_dialect_find(&r->d, recipe, head, err) < 0)
        return -1;
    choose_set(r);
    if (reader_init(r, err) < 0 || skip_lines(r, recipe->skip_lines + r->d.sep_line, err) < 0)
        return -1;
    return recipe->header ? open_header(r, columns, err) : open_bare(r, columns, err);
}

static void csv_close(struct reader *r)
{
    if (!r)
        return;
    free(r->head);
    free(r->win);
    free(r->pos);
    csv_map_clear(&r->map);
    free(r);
}

int csv_open(struct reader **out, const struct recipe *recipe, const struct columns *columns,
             struct input *in, int64_t row_bytes_max, const struct csv_tuning *tuning,
             struct err *err)
{
    struct reader *r = calloc(1, sizeof *r);
    if (!r)
        return err_nomem(err);
    r->in = in;
    r->window = r->cap = tuning && tuning->window ? tuning->window : WINDOW;
    r->chunk = tuning && tuning->chunk ? tuning->chunk : CHUNK;
    r->scan = tuning && tuning->scan ? tuning->scan : csv_scan_best();
    r->row_max = row_bytes_max <= 0             ? ROW_MAX_DEFAULT
                 : row_bytes_max > ROW_MAX_MOST ? ROW_MAX_MOST
                                                : (size_t)row_bytes_max;
    r->clip = SIZE_MAX;
    r->line = 1;
    if (reader_start(r, recipe, columns, err) < 0) {
        csv_close(r);
        return -1;
    }
    *out = r;
    return 0;
}

static int csv_open_default(struct reader **out, const struct recipe *recipe,
                            const struct columns *columns, struct input *in, int64_t row_bytes_max,
                            struct err *err)
{
    return csv_open(out, recipe, columns, in, row_bytes_max, NULL, err);
}

const struct str *csv_names(const struct reader *r, int *n)
{
    *n = r->map.width;
    return r->map.nnames ? r->map.names : NULL;
}

static int csv_report(struct reader *r, struct format_names *out, struct err *err)
{
    if (!r->map.nnames)
        return 0;
    return csv_map_report(&r->map, out, err) < 0 ? -1 : 1;
}

char csv_delimiter(const struct reader *r)
{
    return (char)r->d.delimiter;
}

int csv_ended(char last, struct err *err)
{
    if (last == '\n' || last == '\r')
        return 0;
    return err_set(err, ERR_PROGRAM_CUT, "the CSV ends without a line end: nobody knows whether its last row is whole");
}

static void csv_about(const struct reader *r, struct reject_context *c)
{
    c->format = "csv";
    c->delimiter = (char)r->d.delimiter;
    c->has_header = r->header.p != NULL;
    c->header = r->header;
}

/* Text has no NUL byte; one that is damaged has few of them, none in its first line, and no other byte that no text has. So UTF-16
 * is none here, and neither are files of programs. */
static bool is_text(struct str head)
{
    size_t nuls = 0;
    if (!memchr(head.p, '\0', head.n))
        return true;
    const char *line = memchr(head.p, '\n', head.n);
    for (size_t i = 0; i < head.n; i++) {
        nuls += !head.p[i];
        if ((unsigned char)head.p[i] < ' ' && head.p[i] && !strchr("\t\n\v\f\r", head.p[i]))
            return false;
    }
    return line && !memchr(head.p, '\0', (size_t)(line - head.p)) && nuls * 8 <= head.n;
}

/* Text that divides evenly is ours; other text only where nobody bids more. */
static int csv_bid(struct str head)
{
    static const struct recipe plain = { .quote = '"' };
    double share;
    if (!head.n || !is_text(head))
        return 0;
    size_t at = 0;
    while (at < head.n && head.p[at] && strchr(" \t\r\n", head.p[at]))
        at++;
    if (at < head.n && (head.p[at] == '{' || head.p[at] == '['))
        return 5;
    return csv_sniff(head, &plain, &share) && share > 0.8 ? 80 : 20;
}

const struct format format_csv = {
    .name = "csv",
    .bid = csv_bid,
    .open = csv_open_default,
    .next = csv_next,
    .close = csv_close,
    .names = csv_report,
    .about = csv_about,
};
