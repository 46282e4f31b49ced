/*
 * A SQLite database file written from records; see the header. Sections are those of
 * https://www.sqlite.org/fileformat2.html.
 *
 * Invariants
 *   - A page gets its number when it is put into the write buffer: numbers and places in the file
 *     grow together. A leaf is put there when it is full, after the overflow pages of its rows.
 *   - Of each level above the leaves only the last page is kept. It always has a right-most child.
 *   - A page that is flushed has at least one cell: SQLite takes an interior page without cells
 *     for corrupt, unless it is page 1.
 */
#include "target/sqlite_pages.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "io/behind.h"
#include "io/row.h"
#include "target/sqlite_record.h"

enum {
    BUFFER_SIZE = 1 << 20, /* a run of pages: as fast as 4 MiB here */
    LOCK_PAGE = (1 << 30) / PAGE_SIZE + 1,
    LEAF_HEAD = 8,
    INTERIOR_HEAD = 12,
    FILE_HEAD = 100,
    LEVELS = 20, /* BTCURSOR_MAX_DEPTH of SQLite */
    LEAF = 13,
    INTERIOR = 5,
    LOCAL_MAX = PAGE_SIZE - 35,                   /* section 1.6, "X" */
    LOCAL_MIN = (PAGE_SIZE - 12) * 32 / 255 - 23, /* "M" */
    OVERFLOW_SIZE = PAGE_SIZE - 4,
};

static void put16(uint8_t *p, uint32_t v)
{
    memcpy(p, &(uint16_t){ htobe16((uint16_t)v) }, 2);
}
static void put32(uint8_t *p, uint32_t v)
{
    memcpy(p, &(uint32_t){ htobe32(v) }, 4);
}

/* ---- pages in memory ---- */

/* A page that fills up: cell pointers grow behind its head, cells grow down from its end. */
struct page {
    uint8_t bytes[PAGE_SIZE];
    uint32_t head, cells, content; /* head: offset of the first cell pointer */
};

static void page_reset(struct page *p, uint32_t head)
{
    memset(p, 0, sizeof *p);
    p->head = head;
    p->content = PAGE_SIZE;
}

static bool page_fits(const struct page *p, uint32_t cell)
{
    return p->head + 2 * (p->cells + 1) + cell <= p->content;
}

/* Room for a cell that fits. */
static uint8_t *page_cell(struct page *p, uint32_t cell)
{
    p->content -= cell;
    put16(p->bytes + p->head + 2 * p->cells++, p->content);
    return p->bytes + p->content;
}

static void page_seal(struct page *p, uint32_t start, uint8_t kind)
{
    uint8_t *h = p->bytes + start;
    h[0] = kind;
    put16(h + 3, p->cells);
    put16(h + 5, p->content);
}

/* The last page of a level of interior pages. */
struct level {
    struct page page;
    uint32_t right, last_size; /* right-most child; bytes of the last cell */
    int64_t right_key;         /* greatest rowid below it */
    bool used, flushed;
};

struct pages {
    struct behind file;
    uint32_t lock_page, interior_cells;
    uint32_t next;      /* number of the next page */
    uint8_t *buffer[2]; /* pages that are not written yet, up to page `next`, in that of `now`; the other one is being written */
    int now;
    size_t filled;
    int64_t rows;
    struct page leaf;
    struct level *level[LEVELS];
};

int pages_open(struct pages **out, int fd, const struct pages_limits *limits, struct err *err)
{
    struct pages *p = calloc(1, sizeof *p);
    if (!p || !(p->buffer[0] = aligned_alloc(PAGE_SIZE, BUFFER_SIZE))) {
        free(p);
        return err_nomem(err);
    }
    p->lock_page = limits && limits->lock_page ? limits->lock_page : LOCK_PAGE;
    p->interior_cells = limits && limits->interior_cells ? limits->interior_cells : PAGE_SIZE;
    assert(p->interior_cells >= 2);
    p->next = 2; /* page 1 is written last */
    behind_init(&p->file, fd, PAGE_SIZE, "the staged file");
    page_reset(&p->leaf, LEAF_HEAD);
    *out = p;
    return 0;
}

void pages_free(struct pages *p)
{
    if (!p)
        return;
    struct err ignored;
    (void)behind_wait(&p->file, &ignored);
    for (int i = 0; i < LEVELS; i++)
        free(p->level[i]);
    free(p->buffer[0]);
    free(p->buffer[1]);
    free(p);
}

/* ---- writing ---- */

/* The second buffer is made when the first one is full: most files are smaller. */
static int flush_buffer(struct pages *p, struct err *err)
{
    int other = !p->now;
    if (!p->buffer[other] && !(p->buffer[other] = aligned_alloc(PAGE_SIZE, BUFFER_SIZE)))
        return err_nomem(err);
    if (behind_write(&p->file, p->buffer[p->now], p->filled, err) < 0)
        return -1;
    p->now = other;
    p->filled = 0;
    return 0;
}

/* A place in the buffer for the next page, NULL on error; the caller fills all of it. */
static uint8_t *next_slot(struct pages *p, struct err *err)
{
    if (p->filled == BUFFER_SIZE && flush_buffer(p, err) < 0)
        return NULL;
    if (p->next == UINT32_MAX - 1) {
        (void)err_set(err, ERR_LIMIT, "the staged file is full: %u pages", UINT32_MAX - 2);
        return NULL;
    }
    uint8_t *slot = p->buffer[p->now] + p->filled;
    p->filled += PAGE_SIZE;
    p->next++;
    return slot;
}

/* The same, and its number; over the lock page, which stays empty. */
static uint8_t *page_slot(struct pages *p, uint32_t *number, struct err *err)
{
    if (p->next == p->lock_page) {
        uint8_t *unused = next_slot(p, err);
        if (!unused)
            return NULL;
        memset(unused, 0, PAGE_SIZE);
    }
    *number = p->next;
    return next_slot(p, err);
}

static uint32_t page_after(const struct pages *p, uint32_t number)
{
    return number + 1 == p->lock_page ? number + 2 : number + 1;
}

static int page_flush(struct pages *p, const struct page *page, uint32_t *number, struct err *err)
{
    uint8_t *slot = page_slot(p, number, err);
    if (!slot)
        return -1;
    memcpy(slot, page->bytes, PAGE_SIZE);
    return 0;
}

/* A chain of overflow pages. *first is its first page. */
static int put_overflow(struct pages *p, struct str rest, uint32_t *first, struct err *err)
{
    for (bool begin = true; rest.n; begin = false) {
        uint32_t number;
        uint8_t *slot = page_slot(p, &number, err);
        if (!slot)
            return -1;
        if (begin)
            *first = number;
        size_t n = rest.n < OVERFLOW_SIZE ? rest.n : OVERFLOW_SIZE;
        put32(slot, n < rest.n ? page_after(p, number) : 0);
        memcpy(slot + 4, rest.p, n);
        memset(slot + 4 + n, 0, OVERFLOW_SIZE - n);
        rest.p += n;
        rest.n -= n;
    }
    return 0;
}

/* ---- the tree ---- */

/* How much of a record lies in the leaf itself (section 1.6, "payload spill"). */
static uint32_t local_size(size_t payload)
{
    if (payload <= LOCAL_MAX)
        return (uint32_t)payload;
    uint32_t k = LOCAL_MIN + (uint32_t)((payload - LOCAL_MIN) % OVERFLOW_SIZE);
    return k <= LOCAL_MAX ? k : LOCAL_MIN;
}

struct cell {
    uint8_t head[2 * VARINT_MAX];
    uint32_t nhead, local, size; /* size: of the whole cell in the leaf */
};

static struct cell cell_of(struct str record, int64_t rowid)
{
    struct cell c;
    c.nhead = (uint32_t)varint_put(c.head, record.n);
    c.nhead += (uint32_t)varint_put(c.head + c.nhead, (uint64_t)rowid);
    c.local = local_size(record.n);
    c.size = c.nhead + c.local + (c.local < record.n ? 4 : 0);
    return c;
}

/* Put a cell that fits into the leaf, and its rest into overflow pages. */
static int leaf_put(struct pages *p, struct page *leaf, const struct cell *c, struct str record,
                    struct err *err)
{
    uint32_t first = 0;
    if (c->local < record.n &&
        put_overflow(p, (struct str){ record.p + c->local, record.n - c->local }, &first, err) < 0)
        return -1;
    uint8_t *at = page_cell(leaf, c->size);
    memcpy(at, c->head, c->nhead);
    memcpy(at + c->nhead, record.p, c->local);
    if (c->local < record.n)
        put32(at + c->nhead + c->local, first);
    return 0;
}

static void level_put_cell(struct level *l, uint32_t child, int64_t key)
{
    uint8_t cell[4 + VARINT_MAX];
    put32(cell, child);
    l->last_size = 4 + (uint32_t)varint_put(cell + 4, (uint64_t)key);
    memcpy(page_cell(&l->page, l->last_size), cell, l->last_size);
}

static int level_flush(struct pages *p, struct level *l, uint32_t right, uint32_t *number,
                       struct err *err)
{
    page_seal(&l->page, 0, INTERIOR);
    put32(l->page.bytes + 8, right);
    l->flushed = true;
    return page_flush(p, &l->page, number, err);
}

static int level_add(struct pages *p, int depth, uint32_t child, int64_t key, struct err *err);

/* The page is full, and its right-most child needs a cell: the last cell's child becomes the
 * right-most one, the page goes out, and the next page begins with a cell for the old one. */
static int level_split(struct pages *p, int depth, struct err *err)
{
    struct level *l = p->level[depth];
    struct page *page = &l->page;
    uint8_t *last = page->bytes + page->content;
    uint32_t child, number;
    uint64_t key;
    memcpy(&child, last, 4);
    varint_get(last + 4, last + l->last_size, &key);
    memset(last, 0, l->last_size);
    page->content += l->last_size;
    put16(page->bytes + page->head + 2 * --page->cells, 0);
    if (level_flush(p, l, be32toh(child), &number, err) < 0 ||
        level_add(p, depth + 1, number, (int64_t)key, err) < 0)
        return -1;
    page_reset(page, INTERIOR_HEAD);
    return 0;
}

/* A finished page `child`, whose greatest rowid is `key`, becomes the right-most child of level
 * `depth` (0: above the leaves). */
static int level_add(struct pages *p, int depth, uint32_t child, int64_t key, struct err *err)
{
    if (depth == LEVELS)
        return err_set(err, ERR_LIMIT, "the staged file is full: %d levels of pages", LEVELS);
    struct level *l = p->level[depth];
    if (!l) {
        if (!(l = p->level[depth] = calloc(1, sizeof *l)))
            return err_nomem(err);
        page_reset(&l->page, INTERIOR_HEAD);
    }
    if (l->used) {
        bool full = l->page.cells == p->interior_cells || !page_fits(&l->page, 4 + VARINT_MAX);
        if (full && level_split(p, depth, err) < 0)
            return -1;
        level_put_cell(l, l->right, l->right_key);
    }
    l->used = true;
    l->right = child;
    l->right_key = key;
    return 0;
}

static int leaf_flush(struct pages *p, uint32_t *number, struct err *err)
{
    page_seal(&p->leaf, 0, LEAF);
    if (page_flush(p, &p->leaf, number, err) < 0)
        return -1;
    page_reset(&p->leaf, LEAF_HEAD);
    return 0;
}

int pages_add(struct pages *p, struct str record, struct err *err)
{
    struct cell c = cell_of(record, p->rows + 1);
    if (!page_fits(&p->leaf, c.size)) {
        uint32_t number;
        if (leaf_flush(p, &number, err) < 0 || level_add(p, 0, number, p->rows, err) < 0)
            return -1;
    }
    if (leaf_put(p, &p->leaf, &c, record, err) < 0)
        return -1;
    p->rows++;
    return 0;
}

/* All pages of the tree that are still in memory go out; *root is the tree's root. */
static int tree_finish(struct pages *p, uint32_t *root, struct err *err)
{
    uint32_t number;
    if (leaf_flush(p, &number, err) < 0)
        return -1;
    if (!p->level[0]) {
        *root = number;
        return 0;
    }
    if (level_add(p, 0, number, p->rows, err) < 0)
        return -1;
    for (int depth = 0;; depth++) {
        struct level *l = p->level[depth];
        bool top = !l->flushed;
        if (level_flush(p, l, l->right, &number, err) < 0)
            return -1;
        if (top)
            break;
        if (level_add(p, depth + 1, number, l->right_key, err) < 0)
            return -1;
    }
    *root = number;
    return 0;
}

/* ---- page 1 ---- */

/* The row of sqlite_schema (section 2.6) for the table. */
static enum record_result schema_record(struct record_buf *b, const char *table, const char *sql,
                                        uint32_t root, struct str *out)
{
    static const struct record_column columns[] = { { TYPE_TEXT, 0, true },
                                                    { TYPE_TEXT, 0, true },
                                                    { TYPE_TEXT, 0, true },
                                                    { TYPE_INTEGER, 0, true },
                                                    { TYPE_TEXT, 0, true } };
    struct value row[] = { { .p = "table", .n = 5 },
                           { .p = table, .n = (uint32_t)strlen(table) },
                           { .p = table, .n = (uint32_t)strlen(table) },
                           { .i = root },
                           { .p = sql, .n = (uint32_t)strlen(sql) } };
    struct row_fault fault;
    return record_encode(b, columns, COUNT_OF(columns), row, out, &fault);
}

/* Section 1.3. What is not named is 0: no free pages, no vacuum, no user version. */
static void file_head(uint8_t *h, uint32_t pages)
{
    memcpy(h, "SQLite format 3", 16);
    put16(h + 16, PAGE_SIZE);
    h[18] = h[19] = 1; /* rollback journal */
    h[21] = 64;
    h[22] = h[23] = 32;
    put32(h + 24, 1); /* change counter */
    put32(h + 28, pages);
    put32(h + 40, 1); /* schema cookie */
    put32(h + 44, 4); /* schema format: integers 0 and 1 without bytes */
    put32(h + 56, 1); /* UTF-8 */
    put32(h + 92, 1); /* the change counter for which the page count is right */
    put32(h + 96, 3040001);
}

/* Page 1 holds the schema row; where that is too long beside the file header, page 1 is an interior
 * page with the leaf as its only child, as SQLite does it. */
static int first_page(struct pages *p, struct page *first, struct str schema, struct err *err)
{
    struct cell c = cell_of(schema, 1);
    page_reset(first, FILE_HEAD + LEAF_HEAD);
    if (page_fits(first, c.size)) {
        if (leaf_put(p, first, &c, schema, err) < 0)
            return -1;
        page_seal(first, FILE_HEAD, LEAF);
        return 0;
    }
    uint32_t child;
    if (leaf_put(p, &p->leaf, &c, schema, err) < 0 || leaf_flush(p, &child, err) < 0)
        return -1;
    page_seal(first, FILE_HEAD, INTERIOR);
    put32(first->bytes + FILE_HEAD + 8, child);
    return 0;
}

int pages_finish(struct pages *p, const char *table, const char *sql, int64_t *bytes,
                 uint64_t *checksum, struct err *err)
{
    uint32_t root;
    if (tree_finish(p, &root, err) < 0)
        return -1;
    struct str schema;
    AUTO(record_buf_clear) struct record_buf b = { 0 };
    if (schema_record(&b, table, sql, root, &schema) != RECORD_DONE)
        return err_nomem(err);
    struct page first __attribute__((aligned(PAGE_SIZE)));
    if (first_page(p, &first, schema, err) < 0 || behind_write_now(&p->file, p->buffer[p->now], p->filled, err) < 0)
        return -1;
    *bytes = p->file.at;
    file_head(first.bytes, p->next - 1);
    p->file.at = 0;
    if (behind_write_now(&p->file, first.bytes, PAGE_SIZE, err) < 0)
        return -1;
    if (fdatasync(p->file.fd) < 0)
        return err_sys(err, "fdatasync the staged file");
    *checksum = hash_end(&p->file.hash);
    return 0;
}

/* ---- verify ---- */

/* Hash [from, to) of the file in the steps of `buffer`. */
static int hash_range(int fd, off_t from, off_t to, uint8_t *buffer, struct hash *h,
                      const char *path, struct err *err)
{
    while (from < to) {
        size_t want = to - from < BUFFER_SIZE ? (size_t)(to - from) : BUFFER_SIZE;
        for (size_t got = 0; got < want;) {
            ssize_t r = pread(fd, buffer + got, want - got, from + (off_t)got);
            if (r < 0 && errno == EINTR)
                continue;
            if (r < 0)
                return err_sys(err, "read '%s'", path);
            if (r == 0)
                return err_set(err, ERR_STAGED_DAMAGED, "'%s' shrank while it was read", path);
            got += (size_t)r;
        }
        hash_add(h, buffer, want);
        from += (off_t)want;
    }
    return 0;
}

int pages_verify(const char *path, int64_t bytes, uint64_t checksum, struct err *err)
{
    AUTO(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && (errno == ENOENT || errno == ELOOP))
        return err_set(err, ERR_STAGED_DAMAGED, "'%s' is not there", path);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_sys(err, "open '%s'", path);
    if (!S_ISREG(st.st_mode) || st.st_size != bytes || bytes < 2 * PAGE_SIZE || bytes % PAGE_SIZE)
        return err_set(err, ERR_STAGED_DAMAGED, "'%s' has %jd bytes, %" PRId64 " were staged", path,
                       (intmax_t)st.st_size, bytes);
    if (!checksum)
        return 0;
    AUTO(free_charp) char *buffer = malloc(BUFFER_SIZE);
    if (!buffer)
        return err_nomem(err);
    struct hash h;
    hash_init(&h);
    if (hash_range(fd, PAGE_SIZE, bytes, (uint8_t *)buffer, &h, path, err) < 0 ||
        hash_range(fd, 0, PAGE_SIZE, (uint8_t *)buffer, &h, path, err) < 0)
        return -1;
    if (hash_end(&h) != checksum)
        return err_set(err, ERR_STAGED_DAMAGED, "'%s' is not what was staged: its checksum differs",
                       path);
    return 0;
}
