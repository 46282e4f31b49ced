/* Programs of filter=. See filters.h. */
#include "role/filters.h"

#include <errno.h>
#include <stdlib.h>

int filters_start(struct filters *f, const struct program_call *call, int part, int ends[2], struct err *err)
{
    struct program_call own = *call;
    if (part < 0 || part >= call->pipeline->nparts || !call->pipeline->parts[part].filter.argv || f->of[part])
        return err_set(err, ERR_INTERNAL, "the reader asks for the filter of part %d, which has none to give", part);
    own.command = &call->pipeline->parts[part].filter;
    own.streams_in = true;
    if (program_start(&f->of[part], &own, err) < 0)
        return -1;
    ends[0] = program_in(f->of[part]);
    ends[1] = program_out(f->of[part]);
    return 0;
}

void filters_handed(struct filters *f, int part) { program_close_in(f->of[part]); }

int filters_look(struct filters *f, struct err *err)
{
    for (int i = 0; i < PIPELINE_PARTS_MAX; i++) {
        struct program *p = f->of[i];
        int over = p ? program_over(p, err) : 0;
        if (!over || program_lingers(p) < PROGRAM_LINGER_MAX_MS || program_hung_up(p))
            continue;
        f->failed = p;
        return over < 0 ? -1 : program_left_open(p, err);
    }
    return 0;
}

int filters_over(struct filters *f, struct err *err)
{
    int all = 1;
    for (int i = 0; i < PIPELINE_PARTS_MAX; i++) {
        int over = f->of[i] ? program_over(f->of[i], err) : 1;
        if (over < 0) {
            f->failed = f->of[i];
            return -1;
        }
        all &= over;
    }
    return all;
}

/* Can the reader have failed because of a program? What a program said itself, in its output, is said better there. */
static bool is_of_programs(const struct err *err)
{
    return err->code != ERR_READER_CRASHED && err->code != ERR_READER_MEMORY && (err->code != ERR_PROGRAM || err->sys == EPIPE);
}

int filters_blame(struct filters *f, struct err *err)
{
    struct err end;
    for (int i = 0; i < PIPELINE_PARTS_MAX && is_of_programs(err); i++) {
        int over = f->of[i] ? program_over(f->of[i], &end) : 1;
        if (over == 0 && program_hung_up(f->of[i]))
            return 0;
        if (over < 0) {
            f->failed = f->of[i];
            *err = end;
            return 1;
        }
    }
    return 1;
}

int filters_pollfds(const struct filters *f, struct pollfd *fds)
{
    int n = 0;
    for (int i = 0; i < PIPELINE_PARTS_MAX; i++)
        if (f->of[i])
            fds[n++] = (struct pollfd){ program_fd(f->of[i]), POLLIN, 0 };
    return n;
}

char *filters_talk(struct filters *f)
{
    char *talk = f->failed ? program_talk(f->failed) : NULL;
    for (int i = 0; i < PIPELINE_PARTS_MAX && !talk && !f->failed; i++)
        talk = f->of[i] ? program_talk(f->of[i]) : NULL;
    return talk;
}

void filters_said(struct filters *f, const struct pipeline *p, char **said)
{
    AUTO(buf_clear) struct buf all = { 0 };
    buf_adds(&all, *said ? *said : "");
    for (int i = 0; i < PIPELINE_PARTS_MAX; i++) {
        AUTO(free_charp) char *talk = f->of[i] ? program_talk(f->of[i]) : NULL;
        if (!talk)
            continue;
        buf_adds(&all, all.n ? "\n" : "");
        if (p->nparts > 1)
            buf_addf(&all, "%s:\n", p->parts[i].name);
        buf_adds(&all, program_said(talk));
    }
    if (!all.n || all.failed)
        return;
    free(*said);
    *said = all.p;
    all = (struct buf){ 0 };
}

void filters_clear(struct filters *f)
{
    for (int i = 0; i < PIPELINE_PARTS_MAX; i++)
        program_free(f->of[i]);
    *f = (struct filters){ 0 };
}
