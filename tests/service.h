/* Start and stop the servers of tests/services from C, and the S3 store's keys. */
#ifndef QETL_TESTS_SERVICE_H
#define QETL_TESTS_SERVICE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "io/config.h"

/* A line NAME=VALUE of what a server says when it starts. */
struct service_fact {
    const char *name;
    char *value;
    size_t cap;
};

/* Its exit status: 0, 77 where the server is not installed; -1: it could not be run. */
__attribute__((unused)) static int service_run(const char *name, const char *verb, const char *place, const struct service_fact *facts, size_t nfacts)
{
    char command[2000], line[700];
    const char *srcdir = getenv("srcdir");
    snprintf(command, sizeof command, "'%s/tests/services/%s' %s '%s'", srcdir ? srcdir : ".", name, verb, place);
    FILE *f = popen(command, "r");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        for (size_t i = 0, n; i < nfacts; i++)
            if (!strncmp(line, facts[i].name, n = strlen(facts[i].name)) && line[n] == '=')
                snprintf(facts[i].value, facts[i].cap, "%s", line + n + 1);
    }
    return f ? WEXITSTATUS(pclose(f)) : -1;
}

/* ---- the store that checks signatures (tests/services/s3) ---- */

static struct {
    char place[600], endpoint[700], faults[700], requests[700];
} s3_service;

__attribute__((unused)) static struct remote s3_service_remote(void)
{
    static char store[] = "store", region[] = "eu-test-1", access_key[] = "AKIDTEST/1", secret_key[] = "top+secret/key==";
    return (struct remote){ .name = store,
                            .endpoint = s3_service.endpoint,
                            .region = region,
                            .access_key = access_key,
                            .secret_key = secret_key };
}

__attribute__((unused)) static int s3_service_run(const char *verb)
{
    const struct service_fact facts[] = { { "S3", s3_service.endpoint, sizeof s3_service.endpoint },
                                          { "S3_FAULTS", s3_service.faults, sizeof s3_service.faults },
                                          { "S3_LOG", s3_service.requests, sizeof s3_service.requests } };
    return service_run("s3", verb, s3_service.place, facts, sizeof facts / sizeof facts[0]);
}

/* What the store shall do wrong from now on: see tests/services/s3. */
__attribute__((unused)) static void s3_service_fault(const char *text)
{
    FILE *f = fopen(s3_service.faults, "w");
    fputs(text, f);
    fclose(f);
}

#endif
