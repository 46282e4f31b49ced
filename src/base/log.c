/* One event a line, whole lines by one write(2) each. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/sys.h"
#include "base/text.h"

enum { TOLD_AGAIN_MS = 3600000 };

static struct {
    enum log_level level;
    enum log_form form;
    bool journal;
    const char *who;
} cfg = { LOG_INFO, LOG_TEXT, false, "qetl" };

static const struct {
    const char *name;
    int priority; /* sd-daemon(3) */
} levels[] = { { "error", 3 }, { "warn", 4 }, { "info", 6 }, { "debug", 7 } };

void log_init(enum log_level level, enum log_form form, const char *who)
{
    cfg.level = level;
    cfg.form = form;
    cfg.who = who;
    cfg.journal = getenv("JOURNAL_STREAM") != NULL;
}

int log_level_by_name(const char *name)
{
    for (int i = 0; i < (int)COUNT_OF(levels); i++)
        if (!strcmp(levels[i].name, name))
            return i;
    return -1;
}

const char *log_num(long long n)
{
    static char text[16][24];
    static unsigned next;
    char *t = text[__atomic_fetch_add(&next, 1, __ATOMIC_RELAXED) % COUNT_OF(text)];
    snprintf(t, sizeof text[0], "%lld", n);
    return t;
}

/* In quotes and escaped as JSON has it, in both forms: no byte of a value can end the line or the object. */
static void add_quoted(struct buf *b, const char *v)
{
    struct json_out o;
    json_start(&o, b);
    json_text(&o, str_of(v));
}

static void add_pair(struct buf *b, const char *key, const char *value)
{
    if (cfg.form == LOG_JSON) {
        buf_addc(b, ',');
        add_quoted(b, key);
        buf_addc(b, ':');
        add_quoted(b, value);
        return;
    }
    buf_addf(b, " %s=", key);
    bool plain = *value;
    for (const char *v = value; *v && plain; v++)
        plain = (unsigned char)*v > 0x20 && *v != '"' && *v != '\\' && *v != 0x7f;
    if (plain && text_utf8_valid(str_of(value)) == strlen(value))
        buf_adds(b, value);
    else
        add_quoted(b, value);
}

void log_event(enum log_level level, const char *sentence, ...)
{
    if ((int)level > (int)cfg.level)
        return;
    AUTO(buf_clear) struct buf b = { 0 };
    char when[40];
    int64_t ms = sys_now_ms();
    time_t sec = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&sec, &tm);
    size_t n = strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(when + n, sizeof when - n, ".%03dZ", (int)(ms % 1000));

    if (cfg.journal)
        buf_addf(&b, "<%d>", levels[level].priority);
    if (cfg.form == LOG_JSON) {
        buf_addf(&b, "{\"time\":\"%s\",\"level\":\"%s\",\"role\":", when, levels[level].name);
        add_quoted(&b, cfg.who);
        buf_adds(&b, ",\"event\":");
        add_quoted(&b, sentence);
    } else {
        if (!cfg.journal)
            buf_addf(&b, "%s %-5s ", when, levels[level].name);
        buf_addf(&b, "%s: %s", cfg.who, sentence);
    }
    va_list ap;
    va_start(ap, sentence);
    for (const char *key; (key = va_arg(ap, const char *));) {
        const char *value = va_arg(ap, const char *);
        if (value)
            add_pair(&b, key, value);
    }
    va_end(ap);
    buf_adds(&b, cfg.form == LOG_JSON ? "}\n" : "\n");
    if (!b.failed) {
        struct err ignored; /* a log that cannot be written has nowhere to say so */
        (void)sys_write_all(STDERR_FILENO, b.p, b.n, "standard error", &ignored);
    }
}

void log_error(const char *sentence, const struct err *err, const char *key, const char *value)
{
    const char *hint = err_hint(err->code);
    if (!key) /* a NULL would end the list of pairs */
        key = "job", value = NULL;
    log_event(LOG_ERROR, sentence, key, value, "code", err_name(err->code), "error", err->msg, "hint",
              *hint ? hint : NULL, NULL);
}

bool log_again_fails(struct log_again *a, const struct err *why, int64_t mono_ms)
{
    bool tell = !a->failures || a->code != why->code || !text_same_but_numbers(a->message, why->msg) || mono_ms - a->told_mono_ms >= TOLD_AGAIN_MS;
    a->failures++;
    if (!tell)
        return false;
    a->told_mono_ms = mono_ms;
    a->code = why->code;
    memcpy(a->message, why->msg, sizeof a->message);
    return true;
}

int64_t log_again_well(struct log_again *a)
{
    int64_t failures = a->failures;
    a->failures = 0;
    return failures;
}
