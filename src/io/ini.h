/*
 * Ini files as a list of keys: inih reads them, this module takes its limits away.
 *
 * inih's library is built with a buffer of 200 bytes a line, and of 50 a section name, and cuts in
 * silence. ini_read() therefore hands it every line in pieces that fit, cut where neither white
 * space nor a comment sign stands, and puts the values together again; section names never go
 * through it. Lines of any length come out whole.
 *
 * The language: `key = value` or `key: value`; [section]; a line that begins with white space goes
 * on with the value above (joined by a newline); # and ; begin a comment line, and ; behind white
 * space a comment at the end of a line. In values of keys that are verbatim a ; is a ;, also at the begin of a line that goes on
 * with one, so that none of it is lost without a word. In values
 * ${NAME} is the environment variable NAME, which must be set; ${NAME:-text} is text when it is
 * unset or empty; $$ is a dollar sign, and any other $ stands for itself. UTF-8, with or without
 * BOM.
 */
#ifndef QETL_IO_INI_H
#define QETL_IO_INI_H

#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"

struct ini_section {
    int file, line;
    char *text; /* between the brackets, trimmed; NULL: the heading was faulty, its keys are passed
                   over */
};

struct ini_entry {
    int file, line;
    int section; /* index into sections */
    char *name, *value;
};

struct ini_fault {
    int file, line;
    char *text;
};

struct ini {
    char **files;
    struct ini_section
        *sections; /* in the order of the files; a file's first one has no text but "" and line 0 */
    struct ini_entry *entries;
    struct ini_fault *faults;
    int nfiles, nsections, nentries, nfaults;
    struct arena arena; /* owns all text */
    bool failed;        /* out of memory somewhere */
    bool (*verbatim)(const char *key); /* in its value a semicolon is one and begins no comment; NULL: no key is so */
};

/* Add the sections and keys of one file. Faults of the language are added to faults. -1: the file
 * cannot be read, or no memory. */
int ini_read(struct ini *ini, const char *file, struct err *err);
/* Note a fault, once however often it is told. file: index; -1: not in a file. */
void ini_fault(struct ini *ini, int file, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Faults in the order of files and lines. */
void ini_sort_faults(struct ini *ini);
void ini_clear(struct ini *ini);

#endif
