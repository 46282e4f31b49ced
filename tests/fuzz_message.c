/* Any bytes as a submit message: an error or a job whose parts hold together, never a crash. */
#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"
#include "role/submission.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct submission s = { 0 };
    struct err err = { 0 };
    struct str line = { (const char *)data, size };
    if (submission_parse(&s, line, &err) == 0) {
        struct json_value v;
        struct json_fault fault;
        if (!s.job.pipeline || (s.job.params.n && !json_check(s.job.params, &v, &fault)) ||
            (s.job.objects.n && !json_check(s.job.objects, &v, &fault)))
            abort();
    } else if (err.code == ERR_NONE || !err.msg[0]) {
        abort();
    }
    submission_clear(&s);
    return 0;
}
