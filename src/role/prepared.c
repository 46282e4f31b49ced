/* Outputs of a job as its target wants them. See prepared.h. */
#include "role/prepared.h"

#include "base/text.h"

int prepared_make(struct prepared *p, const struct spool *spool, const struct staged_job *job, struct err *err)
{
    *p = (struct prepared){ .job = { .uid = job->uid,
                                     .pipeline = job->pipeline,
                                     .id = job->id,
                                     .seq = job->order,
                                     .objects = job->objects,
                                     .outputs = p->outputs } };
    for (int i = 0; i < job->noutputs; i++) {
        const struct output *out = &job->outputs[i];
        if (out->kind != OUTPUT_ROWS)
            continue;
        int n = p->job.noutputs;
        if (n == PIPELINE_PARTS_MAX)
            return err_set(err, ERR_STAGED_DAMAGED, "more than %d outputs", PIPELINE_PARTS_MAX);
        if (output_spec_get(&p->specs[n], out, err) < 0)
            return -1;
        if (p->specs[n].after_load)
            p->job.after_load = p->specs[n].after_load;
        p->outputs[n] = (struct load_output){ .spec = p->specs[n].table, .output = out };
        p->outputs[n].spec.table = out->table;
        p->outputs[n].spec.columns = &p->specs[n].columns;
        if (out->in_file) {
            spool_staged_path(spool, job->uid, out->token, out->number, out->ext, p->paths[n], sizeof p->paths[n]);
            p->outputs[n].path = p->paths[n];
        }
        p->job.noutputs++;
    }
    return 0;
}

static const char *time_text(char out[32], int64_t us)
{
    if (us == EVENT_NONE)
        return NULL;
    out[text_put_timestamp(out, us, ' ')] = '\0';
    return out;
}

void prepared_watermarks(struct prepared *p, int64_t before, int64_t after)
{
    p->job.previous_watermark = time_text(p->previous, before);
    p->job.watermark = time_text(p->watermark, after);
}

void prepared_clear(struct prepared *p)
{
    for (int i = 0; i < p->job.noutputs; i++)
        output_spec_clear(&p->specs[i]);
    p->job.noutputs = 0;
}
