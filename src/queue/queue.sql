-- Every statement on queue.db, each under its name. Times are ms since 1970 UTC.

-- ---- transactions ----

-- name: begin
BEGIN IMMEDIATE;

-- name: commit
COMMIT;

-- name: rollback
ROLLBACK;

-- name: read_begin
-- Several reads of one moment.
BEGIN;

-- name: data_version
-- Grows when another connection committed.
PRAGMA data_version;

-- name: tally
INSERT INTO tally (pipeline, state, jobs, rows) VALUES (:pipeline, :state, :jobs, :rows)
ON CONFLICT (pipeline, state) DO UPDATE SET jobs = jobs + excluded.jobs, rows = rows + excluded.rows;

-- ---- submit ----

-- name: submit_open_twin
-- An open job of the same pipeline and key, for --unique.
SELECT id, uid FROM job WHERE pipeline = :pipeline AND unique_key = :key
    AND state IN ('ready', 'running', 'staged', 'loading', 'dead') AND unique_key IS NOT NULL;

-- name: submit
-- A job that is due takes its own id as its place (seq): the number behind the last one given.
INSERT INTO job (uid, pipeline, target, remote, due, priority, run_at, seq, attempts_max, created, unique_key, lanes, lane_replace)
VALUES (:uid, :pipeline, :target, :remote, :due, :priority, :run_at,
        CASE WHEN :due THEN (SELECT seq + 1 FROM sqlite_sequence WHERE name = 'job') END,
        :attempts_max, :now, :key, :lanes, :lane_replace);

-- name: submit_text
INSERT INTO job_text (job, objects, params, scanned) VALUES (:job, :objects, :params, :scanned);

-- ---- lanes ----

-- name: lane_enter
INSERT OR IGNORE INTO lane (lane, seq, job) SELECT value, :seq, :job FROM json_each(:lanes);

-- name: lane_leave
DELETE FROM lane WHERE seq = :seq AND lane IN (SELECT value FROM json_each(:lanes));

-- name: lane_done
-- A job was loaded: remember the newest of each lane.
INSERT INTO lane_done (lane, loaded_seq, replaced_seq)
SELECT value, :seq, CASE WHEN :replace THEN :seq ELSE 0 END FROM json_each(:lanes) WHERE true
ON CONFLICT (lane) DO UPDATE SET loaded_seq = max(loaded_seq, excluded.loaded_seq),
                                 replaced_seq = max(replaced_seq, excluded.replaced_seq);

-- name: lane_overtaken
-- Was a newer job of one of these lanes loaded already, and was each of them replaced by a newer one? In the lane of a pipeline's events
-- (role/submission.c) nothing is overtaken: a job that is tried again after it died has rows late by what was loaded meanwhile.
SELECT max(coalesce(d.loaded_seq, 0) > :seq), min(coalesce(d.replaced_seq, 0) > :seq)
FROM json_each(:lanes) AS l LEFT JOIN lane_done AS d ON d.lane = l.value WHERE l.value NOT GLOB 'events of *';

-- name: lane_overtaker
-- A lane that a newer job was loaded into (:replace: that replaced it), and that job, where the queue still knows it by its place.
SELECT l.value, (SELECT id FROM job WHERE id = d.done AND seq = d.done)
FROM json_each(:lanes) AS l
    JOIN (SELECT lane, CASE WHEN :replace THEN replaced_seq ELSE loaded_seq END AS done FROM lane_done) AS d ON d.lane = l.value
WHERE d.done > :seq LIMIT 1;

-- name: lane_replaces_later
-- Unfinished jobs, not further than staged, that are newer than this one and replace one of its tables, the newest first, below a place.
SELECT later.seq, j.uid FROM job AS me, json_each(me.lanes) AS l JOIN lane AS later ON later.lane = l.value AND later.seq > me.seq AND later.seq < :below
    JOIN job AS j ON j.id = later.job
WHERE me.id = :id AND j.lane_replace AND j.state IN ('staged', 'loading') ORDER BY later.seq DESC LIMIT 1;

-- name: lane_names
SELECT value FROM json_each(:lanes);

-- name: lane_before
-- The next older unfinished job in a lane. What stands before a replace that is loaded will be superseded: nobody waits for it.
SELECT lane.seq, lane.job FROM lane
WHERE lane.lane = :lane AND lane.seq < :seq
    AND lane.seq > coalesce((SELECT replaced_seq FROM lane_done WHERE lane_done.lane = :lane), 0)
ORDER BY lane.seq DESC LIMIT 1;

-- name: lane_behind
-- Is an older job to come in one of these lanes?
SELECT EXISTS (SELECT 1 FROM json_each(:lanes) AS ours CROSS JOIN lane ON lane.lane = ours.value AND lane.seq < :seq
    LEFT JOIN lane_done AS d ON d.lane = ours.value WHERE lane.seq > coalesce(d.replaced_seq, 0));

-- name: lanes_loading
-- The lanes that somebody is loading into now.
SELECT DISTINCT l.value FROM job AS j INDEXED BY job_loading, json_each(j.lanes) AS l
WHERE j.state = 'loading' AND j.target = :target;

-- ---- any change ----

-- name: change_read
-- What the next state of a job depends on.
SELECT token, state, worker, claimed, attempts, attempts_max, crashes, seq, lane_replace, lanes, pipeline, unsure,
       forsake_at IS NOT NULL FROM job WHERE id = :id;

-- ---- claim ----

-- name: run_next
-- The next run of ready jobs, behind that of a pipeline and remote: its first job, and what its gates depend on.
SELECT j.pipeline, j.remote, j.priority, j.seq, p.paused, coalesce(p.weight, 1), coalesce(p.pass, 0), coalesce(p.need, 0),
       r.connections, r.interval, r.next_at, r.held_until,
       CASE WHEN r.connections > 0 THEN
           (SELECT count(*) FROM job AS busy INDEXED BY job_running WHERE busy.state = 'running' AND busy.remote = j.remote) END,
       r.listing,
       (SELECT 1 FROM enriched AS e JOIN enrich_hold AS h ON h.enrich = e.enrich WHERE e.pipeline = j.pipeline)
FROM job AS j LEFT JOIN pipeline AS p ON p.name = j.pipeline LEFT JOIN remote AS r ON r.name = j.remote
WHERE j.id = coalesce(
    -- (not as one comparison of rows: SQLite would walk over all jobs of the run before)
    (SELECT id FROM job INDEXED BY job_claim WHERE state = 'ready' AND due = 1 AND pipeline = :pipeline AND remote > :remote
     ORDER BY pipeline, remote, priority DESC, seq LIMIT 1),
    (SELECT id FROM job INDEXED BY job_claim WHERE state = 'ready' AND due = 1 AND pipeline > :pipeline
     ORDER BY pipeline, remote, priority DESC, seq LIMIT 1));

-- name: run_count
SELECT count(*) FROM job INDEXED BY job_claim
WHERE state = 'ready' AND due = 1 AND pipeline = :pipeline AND remote = :remote;

-- name: run_jobs
SELECT j.id, j.uid, j.token + 1, j.attempts + 1, j.attempts_max, j.crashes, j.priority, j.seq, t.objects, t.params
FROM job AS j INDEXED BY job_claim LEFT JOIN job_text AS t ON t.job = j.id
WHERE j.state = 'ready' AND j.due = 1 AND j.pipeline = :pipeline AND j.remote = :remote
ORDER BY j.priority DESC, j.seq LIMIT :max;

-- name: claim_one
-- The same for one job, with its run.
SELECT j.id, j.uid, j.token + 1, j.attempts + 1, j.attempts_max, j.crashes, j.priority, j.seq, t.objects, t.params, j.pipeline, j.remote
FROM job AS j LEFT JOIN job_text AS t ON t.job = j.id
WHERE j.id = :id AND j.state = 'ready' AND j.due = 1;

-- name: pipeline_passed
INSERT INTO pipeline (name, pass) VALUES (:pipeline, :pass) ON CONFLICT (name) DO UPDATE SET pass = excluded.pass;

-- name: pipeline_need
INSERT INTO pipeline (name, need) VALUES (:pipeline, :need)
ON CONFLICT (name) DO UPDATE SET need = max(excluded.need, need - need / 8) WHERE need <> excluded.need;

-- name: spool_taken
SELECT coalesce(sum(spool), 0) FROM job INDEXED BY job_spool WHERE spool > 0;

-- name: remote_asked
UPDATE remote SET next_at = max(next_at, :now) + interval * :requests WHERE name = :remote AND interval > 0;

-- name: remote_hold
-- A server asked to be left alone: that goes for all jobs of its remote.
INSERT INTO remote (name, held_until, held_why) SELECT remote, :until, :why FROM job WHERE id = :job AND remote <> ''
ON CONFLICT (name) DO UPDATE SET held_until = excluded.held_until, held_why = excluded.held_why
    WHERE excluded.held_until > held_until;

-- name: held
-- Is the remote of the job left alone now?
SELECT 1 FROM job JOIN remote ON remote.name = job.remote WHERE job.id = :job AND remote.held_until > :now;

-- name: enrich_hold_put
INSERT INTO enrich_hold (enrich, at, until, server, why) VALUES (:enrich, :now, :until, :server, :why)
ON CONFLICT (enrich) DO UPDATE SET at = excluded.at, until = excluded.until, server = excluded.server, why = excluded.why;

-- name: enrich_probe
-- A job of that pipeline tries whether its holds that are over are: the others wait for it, until then at most.
UPDATE enrich_hold SET at = :now, until = :until
WHERE until <= :now AND enrich IN (SELECT enrich FROM enriched WHERE pipeline = :pipeline);

-- name: enrich_probed
-- It was staged.
DELETE FROM enrich_hold WHERE enrich IN (SELECT enrich FROM enriched WHERE pipeline = :pipeline);

-- name: enrich_unprobed
-- It came to nothing that says so: another one tries.
UPDATE enrich_hold SET until = :now WHERE enrich IN (SELECT enrich FROM enriched WHERE pipeline = :pipeline) AND enrich IS NOT :but;

-- name: enrich_hold_of
-- The hold of a pipeline that ends last.
SELECT h.why, h.until, iif(h.server, h.enrich, NULL) FROM enriched AS e JOIN enrich_hold AS h ON h.enrich = e.enrich
WHERE e.pipeline = :pipeline AND h.at <= :now ORDER BY h.until DESC LIMIT 1;

-- name: enrich_holds
SELECT h.enrich, h.until, h.why, h.server,
       (SELECT count(*) FROM enriched AS e CROSS JOIN job AS j INDEXED BY job_claim
        WHERE e.enrich = h.enrich AND j.state = 'ready' AND j.due = 1 AND j.pipeline = e.pipeline)
FROM enrich_hold AS h WHERE h.until > :now AND h.at <= :now ORDER BY h.enrich;

-- name: enrich_release
-- 0 rows: nothing holds it. As behind every hold one job goes first.
UPDATE enrich_hold SET until = :now WHERE enrich = :enrich AND until > :now;

-- name: enriched_same
-- Is it what the ini says: [[pipeline, enrich, rule], ...]?
SELECT (SELECT group_concat(x) FROM (SELECT json_array(pipeline, enrich, rule) AS x FROM enriched ORDER BY x))
    IS (SELECT group_concat(x) FROM (SELECT json_array(value ->> 0, value ->> 1, value ->> 2) AS x FROM json_each(:list) ORDER BY x));

-- name: enrich_hold_void
-- What holds an [enrich] that is another one now, or none.
DELETE FROM enrich_hold WHERE enrich NOT IN
    (SELECT e.enrich FROM enriched AS e JOIN json_each(:list) AS l
     ON l.value ->> 0 = e.pipeline AND l.value ->> 1 = e.enrich AND l.value ->> 2 = e.rule);

-- name: enriched_forget
DELETE FROM enriched;

-- name: enriched_put
INSERT OR IGNORE INTO enriched (pipeline, enrich, rule) SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(:list);

-- name: remote_read
SELECT connections, interval, next_at, held_until, held_why,
       CASE WHEN connections > 0 THEN
           (SELECT count(*) FROM job INDEXED BY job_running WHERE state = 'running' AND job.remote = remote.name) END
FROM remote WHERE name = :name;

-- name: remote_listing
UPDATE remote SET listing = :until WHERE name = :name AND connections > 0;

-- name: remote_hold_named
INSERT INTO remote (name, held_until, held_why) VALUES (:name, :until, :why)
ON CONFLICT (name) DO UPDATE SET held_until = excluded.held_until, held_why = excluded.held_why
    WHERE excluded.held_until > held_until;

-- name: remote_release
-- 0 rows: nothing holds it.
UPDATE remote SET held_until = 0, held_why = '' WHERE name = :name AND held_until > :now;

-- name: remote_list
SELECT name, connections, interval, held_until, held_why,
       (SELECT count(*) FROM job INDEXED BY job_running WHERE state = 'running' AND job.remote = remote.name)
FROM remote ORDER BY name;

-- name: remote_limits_forget
UPDATE remote SET connections = 0, interval = 0 WHERE connections <> 0 OR interval <> 0;

-- name: remote_set
INSERT INTO remote (name, connections, interval) VALUES (:name, :connections, :interval)
ON CONFLICT (name) DO UPDATE SET connections = excluded.connections, interval = excluded.interval;

-- name: remote_sweep
DELETE FROM remote WHERE connections = 0 AND interval = 0 AND held_until < :now AND next_at < :now;

-- name: weight_list
SELECT name, weight FROM pipeline WHERE weight <> 1 ORDER BY name;

-- name: weight_forget
UPDATE pipeline SET weight = 1 WHERE weight <> 1;

-- name: weight_set
INSERT INTO pipeline (name, weight) VALUES (:name, :weight) ON CONFLICT (name) DO UPDATE SET weight = excluded.weight;

-- name: claim_take
UPDATE job SET state = 'running', token = token + 1, attempts = attempts + 1, worker = :worker, lease_until = :until,
               claimed = :now, started = :now, spool = :spool
WHERE id = :id AND state = 'ready';

-- name: renew
-- Keep a lease that is still ours. 0 rows: the token moved on, another worker may hold the job.
UPDATE job SET lease_until = :until WHERE id = :id AND token = :token AND state = 'running';

-- name: lease_state
-- Does the lease hold (1), or was the job cancelled under it (0)? No row: another has the job, or had it.
SELECT state = 'running' FROM job WHERE id = :id AND token = :token AND state IN ('running', 'cancelled');

-- ---- finish ----

-- name: finish_staged
UPDATE job SET state = 'staged', lease_until = NULL, run_at = :now, rows_read = :rows_read, rows_staged = :rows_staged,
               rows_rejected = :rows_rejected, rows_filtered = :rows_filtered, rows_added = :rows_added, bytes_in = :bytes_in, bytes_out = :bytes_out,
               spool = :spool
WHERE id = :id AND token = :token AND state = 'running'
RETURNING worker, claimed;

-- name: finish_ready
-- Back to ready: now (due = 1), or at run_at.
UPDATE job SET state = 'ready', lease_until = NULL, due = :due, run_at = :run_at, attempts = :attempts, crashes = :crashes,
               spool = 0
WHERE id = :id AND token = :token AND state = 'running';

-- name: whole_until
-- Until when the job waits for its object to be whole, if a scan made it and looks at it still.
SELECT j.created + :wait FROM job AS j JOIN scan AS s ON s.pipeline = j.pipeline JOIN object AS o ON o.job = j.id AND o.number = 0
JOIN seen ON seen.scan = s.id AND seen.uri = o.uri AND seen.job = j.id WHERE j.id = :id;

-- name: waited
-- A server asks it to wait, and it has not waited for too long in all. Does a gate keep it meanwhile (remote_hold)?
UPDATE job SET waited = waited + :ms WHERE id = :id AND waited + :ms <= :most RETURNING remote <> '';

-- name: listed
-- What a scan gave the job: the version of that object as it was listed, and whether it is whole.
SELECT seen.size, seen.mtime, seen.etag, seen.state = 'taken' FROM scan JOIN seen ON seen.scan = scan.id AND seen.uri = :uri
WHERE scan.pipeline = :pipeline AND seen.job = :job;

-- name: listed_other
-- A scan gave the job that object, and it is another one's by now: whose (0: of none yet; the next listing makes one of it)?
SELECT coalesce(seen.job, 0) FROM job_text AS t JOIN scan ON scan.pipeline = :pipeline JOIN seen ON seen.scan = scan.id AND seen.uri = :uri
WHERE t.job = :job AND t.scanned <> 0 AND seen.job IS NOT :job;

-- name: listed_again
-- It was not that version: the next listings say what it is, and when that is whole.
UPDATE seen SET state = 'waiting', looks = 0, boot = 0, after = 0, looked = (SELECT number FROM scan WHERE scan.id = seen.scan)
WHERE scan = (SELECT id FROM scan WHERE pipeline = :pipeline) AND uri = :uri AND job = :job AND state = 'taken';

-- name: finish_dead
UPDATE job SET state = 'dead', lease_until = NULL, finished = :now, crashes = :crashes, unsure = 0,
    spool = CASE WHEN :forsake THEN spool ELSE 0 END, forsake_at = CASE WHEN :forsake THEN :now END
WHERE id = :id AND token = :token AND state IN ('running', 'loading');

-- name: dead_rejects
UPDATE job SET rows_read = :rows_read, rows_rejected = :rows_rejected, bytes_in = :bytes_in, bytes_out = :bytes_out
WHERE id = :id AND state = 'dead';

-- name: attempt
INSERT INTO attempt (job, token, number, kind, worker, started, finished, outcome, signal, peak_rss)
VALUES (:job, :token, :number, :kind, :worker, :started, :now, :outcome, :signal, :peak_rss);

-- name: error
INSERT INTO error (job, attempt, stage, class, code, message, detail, at)
VALUES (:job, :attempt, :stage, :class, :code, :message, :detail, :now);

-- name: error_told
-- Does the last one of the job say just that?
SELECT 1 FROM error WHERE id = (SELECT max(id) FROM error WHERE job = :job) AND code = :code AND message = :message;

-- name: objects_forget
DELETE FROM object WHERE job = :job;

-- name: object
INSERT INTO object (job, number, uri, size, etag, modified, modified_at, sha256, same_as)
VALUES (:job, :number, :uri, :size, :etag, :modified, :modified_at, :sha256, :same_as);

-- name: content_get
SELECT c.job, coalesce(j.state, 'loaded'), j.undone IS NOT NULL FROM content AS c LEFT JOIN job AS j ON j.id = c.job
WHERE c.pipeline = :pipeline AND c.sha256 = :sha256;

-- name: content_put
INSERT INTO content (pipeline, sha256, job) VALUES (:pipeline, :sha256, :job)
ON CONFLICT (pipeline, sha256) DO UPDATE SET job = excluded.job;

-- name: output
INSERT INTO output (job, token, number, kind, table_name, ext, rows, bytes, in_file, checksum, spec, inlined)
VALUES (:job, :token, :number, :kind, :table, :ext, :rows, :bytes, :in_file, :checksum, :spec, :inlined);

-- name: outputs_forget
DELETE FROM output WHERE job = :job AND (:all OR kind = 'rows');

-- name: worker_count
UPDATE worker SET processed = processed + :processed, succeeded = succeeded + :succeeded, failed = failed + :failed,
                  rows = rows + :rows, bytes = bytes + :bytes
WHERE id = :id;

-- ---- housekeeping ----

-- name: later_next
-- The earliest run_at of the jobs that wait for theirs. Asked without the lock.
SELECT min(run_at) FROM job INDEXED BY job_later WHERE state = 'ready' AND due = 0;

-- name: later_due
SELECT id FROM job INDEXED BY job_later
WHERE state = 'ready' AND due = 0 AND run_at <= :now ORDER BY run_at LIMIT :max;

-- name: later_promote
UPDATE job SET due = 1, seq = :seq
WHERE id = :id AND state = 'ready' AND due = 0;

-- name: place_draw
-- The next place (seq), for a job that becomes due after younger ones got theirs.
UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'job' RETURNING seq;

-- name: expired_any
SELECT 1 FROM job INDEXED BY job_running WHERE state = 'running' AND lease_until < :now LIMIT 1;

-- name: expired
SELECT id FROM job INDEXED BY job_running WHERE state = 'running' AND lease_until < :now
ORDER BY lease_until LIMIT :max;

-- ---- event time ----

-- name: event_of_job
SELECT watermark, greatest, reaches, late, late_told FROM job_event WHERE job = :job;

-- name: event_begin
-- The watermark of a job's first claim stays its own. What an after_load that is under way works on is complete, too.
INSERT INTO job_event (job, pipeline, watermark) SELECT id, :pipeline,
    (SELECT max(at) FROM (SELECT at FROM watermark WHERE pipeline = :pipeline
                          UNION ALL SELECT upto FROM watermark WHERE pipeline = :pipeline
                          UNION ALL SELECT max(upto) FROM job_event WHERE pipeline = :pipeline AND upto IS NOT NULL))
FROM job WHERE id = :job AND token = :token AND state = 'running'
ON CONFLICT (job) DO NOTHING;

-- name: event_staged
UPDATE job_event SET greatest = :greatest, reaches = :reaches, late = :late, late_told = :told WHERE job = :job;

-- name: event_loaded
-- Rows of a replay that were late before are counted already.
INSERT INTO watermark (pipeline, at, late, job) SELECT :pipeline, reaches, late - late_told, job FROM job_event WHERE job = :job AND reaches IS NOT NULL
ON CONFLICT (pipeline) DO UPDATE SET at = max(at, excluded.at), late = late + excluded.late,
    job = CASE WHEN excluded.at > at THEN excluded.job ELSE job END;

-- name: event_joined
UPDATE watermark SET upto = max(e.upto, coalesce(watermark.upto, e.upto)) FROM job_event AS e
WHERE e.job = :job AND e.upto IS NOT NULL AND watermark.pipeline = :pipeline;

-- name: event_closed
UPDATE job_event SET pipeline = NULL WHERE job = :job AND pipeline IS NOT NULL;

-- name: event_forget
-- A job that died or was cancelled begins anew when it is tried again.
DELETE FROM job_event WHERE job = :job;

-- name: event_window
SELECT e.fixed, e.since, e.upto, e.reaches, w.at, w.upto
FROM job_event AS e LEFT JOIN watermark AS w ON w.pipeline = :pipeline WHERE e.job = :job;

-- name: event_bound
-- The least watermark of jobs that were begun and are to come: they may bring rows from there on. NULL: from the beginning. Those from
-- :first to this one are loaded with it, each in its place.
SELECT e.watermark FROM job_event AS e JOIN job AS j ON j.id = e.job
WHERE e.pipeline = :pipeline AND (j.seq < :first OR j.seq > :seq) ORDER BY e.watermark LIMIT 1;

-- name: event_fix
UPDATE job_event SET fixed = 1, since = :since, upto = :upto WHERE job = :job;

-- name: watermarks
SELECT pipeline, at, late, job, upto FROM watermark WHERE (:pipeline IS NULL OR pipeline = :pipeline) ORDER BY pipeline;

-- ---- load ----

-- name: load_candidates
-- Staged jobs of a target in order. Asked without the lock, then checked again one by one inside it.
SELECT j.id, j.seq, j.lanes, j.lane_replace FROM job AS j INDEXED BY job_staged
WHERE j.state = 'staged' AND j.target = :target AND j.run_at <= :now ORDER BY j.seq;

-- name: load_candidate
-- The same for one job.
SELECT j.id, j.seq, j.lanes, j.lane_replace FROM job AS j
WHERE j.id = :id AND j.state = 'staged' AND j.target = :target AND j.run_at <= :now;

-- name: load_size
SELECT coalesce(sum(in_file), 0), coalesce(sum(bytes), 0), (SELECT crashes FROM job WHERE id = :job) FROM output WHERE job = :job;

-- name: load_take
UPDATE job SET state = 'loading', token = token + 1, worker = :worker, lease_until = :until, claimed = :now
WHERE id = :id AND state = 'staged' AND run_at <= :now
RETURNING token, uid, pipeline, seq, lanes,
    (SELECT json_group_array(uri) FROM (SELECT uri FROM object WHERE object.job = job.id ORDER BY number)),
    crashes;

-- name: load_expired_any
SELECT 1 FROM job INDEXED BY job_loading WHERE state = 'loading' AND target = :target AND lease_until < :now LIMIT 1;

-- name: load_expired
-- The oldest one, or the one, that has no lane in common with a job that somebody is loading now.
SELECT j.id FROM job AS j INDEXED BY job_loading
WHERE j.state = 'loading' AND j.target = :target AND j.lease_until < :now AND (:only = 0 OR j.id = :only) AND NOT EXISTS (
    SELECT 1 FROM job AS held INDEXED BY job_loading, json_each(held.lanes) AS theirs, json_each(j.lanes) AS ours
    WHERE held.state = 'loading' AND held.target = :target AND held.lease_until >= :now AND theirs.value = ours.value)
ORDER BY j.seq LIMIT 1;

-- name: load_take_over
UPDATE job SET token = token + 1, crashes = crashes + 1, worker = :worker, lease_until = :until, claimed = :now
WHERE id = :id AND state = 'loading' AND token = :token
RETURNING token, uid, pipeline, seq, lanes,
    (SELECT json_group_array(uri) FROM (SELECT uri FROM object WHERE object.job = job.id ORDER BY number)),
    crashes;

-- name: load_renew
UPDATE job SET lease_until = :until WHERE id = :id AND token = :token AND state = 'loading';

-- name: load_end
-- loaded or superseded; also of one that was over, and its target has it after all
UPDATE job SET state = :state, lease_until = NULL, finished = :now, rows_loaded = :rows,
    spool = CASE WHEN :forsake THEN spool ELSE 0 END, forsake_at = CASE WHEN :forsake THEN :now END,
    rows_inserted = :inserted, rows_updated = :updated, rows_unchanged = :unchanged, rows_deleted = :deleted,
    rows_removed = :removed
WHERE id = :id AND token = :token AND (state = 'loading' OR forsake_at IS NOT NULL);

-- name: load_away
UPDATE job SET state = 'staged', lease_until = NULL, run_at = :run_at, unsure = max(unsure, :unsure), crashes = crashes + :crashed
WHERE id = :id AND token = :token AND state = 'loading';

-- name: load_begun
-- Has a loader had it since it was staged?
SELECT EXISTS (SELECT 1 FROM attempt WHERE job = :job AND kind = 'load'
               AND token > coalesce((SELECT max(token) FROM output WHERE job = :job), 0));

-- name: forsake_next
-- A job that ended without being loaded, and whose target is to be looked at for what its tries left. Without the lock.
SELECT id FROM job INDEXED BY job_forsake WHERE forsake_at <= :now AND target = :target ORDER BY forsake_at LIMIT 1;

-- name: forsake_take
-- Nobody else looks until then.
UPDATE job SET forsake_at = :until WHERE id = :id AND forsake_at <= :now
RETURNING token, uid, pipeline, seq, lanes,
    (SELECT json_group_array(uri) FROM (SELECT uri FROM object WHERE object.job = job.id ORDER BY number)),
    crashes;

-- name: forsake_again
-- Longer each time: half of the time since it ended.
UPDATE job SET forsake_at = :now + min(max((:now - finished) / 2, 10000), 3600000)
WHERE id = :id AND token = :token AND forsake_at IS NOT NULL;

-- name: forsake_done
UPDATE job SET forsake_at = NULL, spool = 0 WHERE id = :id AND token = :token AND forsake_at IS NOT NULL;

-- name: outputs
SELECT number, kind, table_name, ext, rows, bytes, in_file, checksum, spec, inlined, token FROM output
WHERE job = :job ORDER BY number;

-- ---- by people ----

-- name: find_id
SELECT id FROM job WHERE id = :id;

-- name: find_uid
-- Up to two jobs whose uid begins so; '~' stands behind every character of a uid.
SELECT id FROM job WHERE uid >= :prefix AND uid < :prefix || '~' ORDER BY uid LIMIT 2;

-- name: cancel
UPDATE job SET state = 'cancelled', lease_until = NULL, finished = :now,
    spool = CASE WHEN :forsake THEN spool ELSE 0 END, forsake_at = CASE WHEN :forsake THEN :now END
WHERE id = :id AND state IN ('ready', 'running', 'staged', 'dead');

-- name: retry
UPDATE job SET state = 'ready', due = 1, run_at = :now, attempts = 0, crashes = 0, waited = 0, finished = NULL, forsake_at = NULL, spool = 0,
               rows_read = 0, rows_staged = 0, rows_rejected = 0, rows_filtered = 0, rows_added = 0
WHERE id = :id AND state = 'dead';

-- name: retry_objects
-- What became of the objects that a scan gave the job: how many there are; those that are another one's by now, and whose (NULL: of none
-- yet), and the first of them; those that changed, so that a person is to decide about them, and the first of those.
SELECT count(*), count(seen.uri) FILTER (WHERE seen.job IS NOT j.id), max(seen.job) FILTER (WHERE seen.job IS NOT j.id),
       min(seen.uri) FILTER (WHERE seen.job IS NOT j.id), count(c.uri) FILTER (WHERE seen.job = j.id), min(c.uri) FILTER (WHERE seen.job = j.id)
FROM job AS j JOIN job_text AS t ON t.job = j.id JOIN scan ON scan.pipeline = j.pipeline JOIN json_each(t.objects) AS o
    LEFT JOIN seen ON seen.scan = scan.id AND seen.uri = o.value LEFT JOIN changed AS c ON c.scan = scan.id AND c.uri = o.value
WHERE j.id = :id AND t.scanned <> 0;

-- name: retried
SELECT 1 FROM job_text WHERE job = :job AND scanned = 2;

-- name: retry_told
UPDATE job_text SET scanned = 2 WHERE job = :id AND scanned = 1;

-- name: dead_ids
-- Dead jobs in order, of one pipeline and last error code where given.
SELECT id FROM job INDEXED BY job_dead
WHERE state = 'dead' AND id > :after AND (:pipeline IS NULL OR pipeline = :pipeline)
    AND (:code IS NULL OR :code = (SELECT code FROM error WHERE error.job = job.id ORDER BY error.id DESC LIMIT 1))
ORDER BY id LIMIT :max;

-- name: rejects_list
-- Jobs whose rejects can be looked at, newest first; who reads them again, and whose they are when this job does so itself.
SELECT j.id, j.finished, j.undone, j.rows_rejected, o.rows, o.bytes, o.in_file, o.token, j.uid, j.pipeline, j.state, o.spec, r.job, a.state,
       (SELECT refused FROM replay WHERE replay.job = j.id)
FROM output AS o INDEXED BY output_rejects JOIN job AS j ON j.id = o.job
    LEFT JOIN replay AS r ON r.refused = j.id LEFT JOIN job AS a ON a.id = r.job
WHERE o.kind = 'rejects' AND j.state IN ('loaded', 'dead') AND (:job IS NULL OR o.job = :job)
    AND (:pipeline IS NULL OR j.pipeline = :pipeline) AND j.finished >= :since
ORDER BY o.job DESC LIMIT :max;

-- name: replay_state
-- May the rejects of a job be read again? Who does so already, and how far it came.
SELECT j.state, j.undone IS NOT NULL, EXISTS (SELECT 1 FROM output AS o WHERE o.job = j.id AND o.kind = 'rejects'),
       r.job, a.state, a.undone IS NOT NULL
FROM job AS j LEFT JOIN replay AS r ON r.refused = j.id LEFT JOIN job AS a ON a.id = r.job
WHERE j.id = :id;

-- name: replay_put
INSERT INTO replay (refused, job) VALUES (:refused, :job) ON CONFLICT (refused) DO UPDATE SET job = excluded.job;

-- name: replay_of
-- Whose rejects does this job read again?
SELECT r.refused, j.uid FROM replay AS r JOIN job AS j ON j.id = r.refused WHERE r.job = :job;

-- name: pause_set
INSERT INTO pipeline (name, paused) VALUES (:pipeline, :on) ON CONFLICT (name) DO UPDATE SET paused = excluded.paused;

-- name: pause_held
-- How many jobs that are due the pause holds.
SELECT count(*) FROM job INDEXED BY job_claim WHERE state = 'ready' AND due = 1 AND pipeline = :pipeline;

-- name: prune_walk
-- Jobs from a place on: may it go, and was it created too late for it and all behind it (ids grow with time)? Without the lock.
-- One whose rejects another job has still to read stays, and one that may have left something in its target.
SELECT id, state IN ('loaded', 'superseded', 'cancelled') AND finished < :before AND forsake_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM replay AS r JOIN job AS a ON a.id = r.job
                    WHERE r.refused = job.id AND a.state IN ('ready', 'running', 'dead')),
    created >= :before
FROM job WHERE id > :after AND id < :border ORDER BY id;

-- name: prune_border
-- The oldest of the newest final jobs, :others of which are newer. Walks from the newest back to it. Without the lock.
SELECT id FROM job WHERE id > 0 AND state IN ('loaded', 'superseded', 'cancelled') ORDER BY id DESC LIMIT 1 OFFSET :others;

-- name: prune_job
DELETE FROM job WHERE id = :id AND state IN ('loaded', 'superseded', 'cancelled');

-- name: prune_content
-- What was not loaded, or was undone, may be loaded by another job.
DELETE FROM content WHERE job = :id
    AND NOT EXISTS (SELECT 1 FROM job WHERE id = :id AND state = 'loaded' AND undone IS NULL);

-- name: prune_replay
-- Its rejects go with it; those that it read again without keeping a row of them may be read by another job.
DELETE FROM replay WHERE refused = :id
    OR (job = :id AND NOT EXISTS (SELECT 1 FROM job WHERE id = :id AND state = 'loaded' AND undone IS NULL));

-- name: prune_text
DELETE FROM job_text WHERE job = :id;

-- name: prune_event
DELETE FROM job_event WHERE job = :id;

-- name: prune_attempts
DELETE FROM attempt WHERE job = :id;

-- name: prune_errors
DELETE FROM error WHERE job = :id;

-- name: left
SELECT (SELECT count(*) FROM job INDEXED BY job_later WHERE state = 'ready' AND due = 0 AND run_at < :until
            AND pipeline NOT IN (SELECT name FROM pipeline WHERE paused = 1)),
       (SELECT count(*) FROM job INDEXED BY job_running WHERE state = 'running'),
       (SELECT count(*) FROM job INDEXED BY job_staged WHERE state = 'staged' AND run_at < :until),
       (SELECT count(*) FROM job INDEXED BY job_loading WHERE state = 'loading'),
       (SELECT count(*) FROM job INDEXED BY job_later WHERE state = 'ready' AND due = 0 AND (run_at >= :until
            OR pipeline IN (SELECT name FROM pipeline WHERE paused = 1)))
     + (SELECT count(*) FROM job INDEXED BY job_staged WHERE state = 'staged' AND run_at >= :until),
       (SELECT count(*) FROM job INDEXED BY job_staged WHERE state = 'staged' AND run_at < :until AND run_at > :now);

-- ---- columns inferred once ----

-- name: columns_get
SELECT columns FROM inferred WHERE recipe = :recipe;

-- name: columns_set
INSERT INTO inferred (recipe, columns, from_object, at) VALUES (:recipe, :columns, :from, :now) ON CONFLICT DO NOTHING;

-- ---- drift and profile ----

-- name: header_get
SELECT names FROM header WHERE recipe = :recipe;

-- name: header_put
INSERT INTO header (recipe, names, job) VALUES (:recipe, :names, :job)
ON CONFLICT (recipe) DO UPDATE SET names = excluded.names, job = excluded.job WHERE names <> excluded.names;

-- name: added_get
SELECT group_concat(column, ', ') FROM (SELECT column FROM added WHERE recipe = :recipe ORDER BY number);

-- name: added_put
-- Not of a job that was cancelled under its worker.
INSERT INTO added (recipe, name, column, job, at) SELECT :recipe, :name, :column, :job, :now
WHERE NOT EXISTS (SELECT 1 FROM job WHERE id = :job AND (state = 'cancelled' OR state = 'dead')) ON CONFLICT DO NOTHING;

-- name: added_sure
-- What stays whatever becomes of other jobs.
SELECT group_concat(column, ', ') FROM (SELECT a.column FROM added AS a LEFT JOIN job AS j ON j.id = a.job
    WHERE a.recipe = :recipe AND (a.job = :job OR j.id IS NULL OR j.state = 'loaded') ORDER BY a.number);

-- name: added_loaded
-- A job that is loaded answers for the column, not one that may still die.
INSERT INTO added (recipe, name, column, job, at) VALUES (:recipe, :name, :column, :job, :now)
ON CONFLICT (recipe, name) DO UPDATE SET job = excluded.job
    WHERE EXISTS (SELECT 1 FROM job WHERE id = added.job AND state <> 'loaded');

-- name: added_list
SELECT recipe, name, column, job, at FROM added WHERE (:recipe IS NULL OR recipe = :recipe) ORDER BY recipe, number;

-- name: added_forget
DELETE FROM added WHERE recipe = :recipe AND name = :name;

-- name: header_forget
DELETE FROM header WHERE recipe = :recipe;

-- name: drift_forget
-- Those of an earlier attempt.
DELETE FROM drift WHERE job = :job;

-- name: drift_put
INSERT INTO drift (job, number, kind, recipe, column, member, detail)
SELECT :job, key, json_extract(value, '$.kind'), json_extract(value, '$.pipeline'), json_extract(value, '$.column'),
       json_extract(value, '$.member'), json_extract(value, '$.detail')
FROM json_each(:findings);

-- name: drift_of
SELECT job, kind, recipe, column, member, detail FROM drift WHERE job = :job ORDER BY number;

-- name: drift_since
-- The newest first.
SELECT d.job, d.kind, d.recipe, d.column, d.member, d.detail
FROM job AS j JOIN drift AS d ON d.job = j.id
WHERE j.id >= :first AND (:pipeline IS NULL OR j.pipeline = :pipeline) AND (:ended IS NULL OR j.finished >= :ended)
ORDER BY j.id DESC, d.number LIMIT :max;

-- name: tally_forget
-- Those of an earlier attempt.
DELETE FROM enrich_tally WHERE job = :job;

-- name: tally_put
INSERT INTO enrich_tally (job, number, recipe, enrich, keys, cached, missed, failed, error, note)
SELECT :job, key, json_extract(value, '$.pipeline'), json_extract(value, '$.enrich'), json_extract(value, '$.keys'),
       json_extract(value, '$.cached'), json_extract(value, '$.missed'), json_extract(value, '$.failed'),
       json_extract(value, '$.error'), json_extract(value, '$.note')
FROM json_each(:report);

-- name: tally_of
SELECT enrich, recipe, keys, cached, missed, failed, error, note FROM enrich_tally WHERE job = :job ORDER BY number;

-- name: tally_since
-- By [enrich]; the error is that of the row with the greatest number in the last column: of the newest job that has one.
SELECT e.enrich, e.recipe, sum(e.keys), sum(e.cached), sum(e.missed), sum(e.failed), e.error, NULL,
       max(CASE WHEN e.error IS NOT NULL THEN e.job END)
FROM job AS j JOIN enrich_tally AS e ON e.job = j.id
WHERE j.id >= :first AND (:pipeline IS NULL OR j.pipeline = :pipeline) AND (:ended IS NULL OR j.finished >= :ended)
GROUP BY e.recipe, e.enrich ORDER BY e.recipe, e.enrich;

-- name: said_forget
-- Of an earlier attempt.
DELETE FROM said WHERE job = :job;

-- name: said_put
INSERT INTO said (job, text) VALUES (:job, :text);

-- name: said_of
SELECT text FROM said WHERE job = :job;

-- name: profile_put
INSERT INTO profile (job, recipe, document) VALUES (:job, :recipe, :document)
ON CONFLICT (job, recipe) DO UPDATE SET document = excluded.document;

-- name: profile_of
SELECT recipe, document FROM profile WHERE job = :job ORDER BY recipe;

-- name: report
-- What became of the jobs from a place on, by pipeline; :ended: of those that were over by then or later, only.
SELECT pipeline, count(*), sum(state = 'loaded'), sum(state = 'superseded'), sum(state = 'dead'), sum(state = 'cancelled'),
       sum(rows_read), sum(rows_loaded), sum(rows_rejected), sum(rows_filtered), sum(bytes_in), sum(bytes_out),
       sum(n_errors), sum(n_drift), sum(took), count(took), max(took), sum(rows_added)
FROM (SELECT *, CASE WHEN state = 'loaded' OR state = 'dead' THEN finished - started END AS took,
             (SELECT count(*) FROM error WHERE error.job = job.id) AS n_errors,
             (SELECT count(*) FROM drift WHERE drift.job = job.id) AS n_drift
      FROM job WHERE id >= :first AND (:pipeline IS NULL OR pipeline = :pipeline) AND (:ended IS NULL OR finished >= :ended))
GROUP BY pipeline ORDER BY pipeline;

-- name: report_place
-- When the first job from that number on was made, and its number.
SELECT created, id FROM job WHERE id >= :id ORDER BY id LIMIT 1;

-- name: report_last
SELECT max(id) FROM job WHERE id > 0;

-- name: report_open
-- The oldest job that is not over; dead ones may be retried, and count.
SELECT min(id) FROM (SELECT id FROM job INDEXED BY job_claim WHERE state = 'ready' AND due = 1
    UNION ALL SELECT id FROM job INDEXED BY job_later WHERE state = 'ready' AND due = 0
    UNION ALL SELECT id FROM job INDEXED BY job_running WHERE state = 'running'
    UNION ALL SELECT id FROM job INDEXED BY job_staged WHERE state = 'staged'
    UNION ALL SELECT id FROM job INDEXED BY job_loading WHERE state = 'loading'
    UNION ALL SELECT id FROM job INDEXED BY job_dead WHERE state = 'dead');

-- name: prune_drift
DELETE FROM drift WHERE job = :id;

-- name: prune_tally
DELETE FROM enrich_tally WHERE job = :id;

-- name: prune_said
DELETE FROM said WHERE job = :id;

-- name: prune_profile
DELETE FROM profile WHERE job = :id;

-- ---- scans ----

-- name: scan_lease_read
SELECT l.token, l.until, coalesce(w.host, ''), w.pid, w.pid_start, w.pid_ns, w.ended IS NULL, coalesce(w.name, '')
FROM scan_lease AS l LEFT JOIN worker AS w ON w.id = l.worker WHERE l.one = 1;

-- name: scan_lease_take
UPDATE scan_lease SET token = token + 1, worker = :worker, until = :until WHERE one = 1 AND token = :token RETURNING token;

-- name: scan_lease_keep
-- 0 rows: somebody else took it.
UPDATE scan_lease SET until = :until WHERE one = 1 AND token = :token AND worker IS NOT NULL;

-- name: scan_lease_drop
UPDATE scan_lease SET worker = NULL, until = 0 WHERE one = 1 AND token = :token;

-- name: scan_rows
SELECT id, pipeline, source, number, wanted, next_at, again_at, slot, covered, started, finished, listed, found, changed, waiting, taken,
       failures, coalesce(code, ''), coalesce(message, ''), era, cursor_glob, cursor, coalesce(failed_since, 0),
       after_failures, coalesce(after_code, ''), coalesce(after_message, ''), breaks, asks
FROM scan WHERE (:pipeline IS NULL OR pipeline = :pipeline) ORDER BY pipeline;

-- name: scan_make
-- The dates of a source begin when it is wanted first, however much later it can be listed, or with the first slot that is due.
INSERT INTO scan (pipeline, source, slot, wanted, covered) VALUES (:pipeline, :source, :now, :wanted, :wanted)
ON CONFLICT (pipeline) DO UPDATE SET source = excluded.source, cursor = '', wanted = max(wanted, excluded.wanted),
    covered = CASE WHEN excluded.wanted THEN excluded.wanted
                   ELSE (SELECT coalesce(min(at), 0) FROM slot INDEXED BY slot_open WHERE slot.scan = scan.id AND outcome = 'due' AND ask IS NOT NULL) END;

-- name: scan_want
UPDATE scan SET wanted = :now WHERE pipeline = :pipeline;

-- name: scan_wanted
-- Slots up to that one are accounted for; :wanted 0 asks for nothing. The dates of a source that was never listed begin at :first.
UPDATE scan SET slot = :slot, wanted = CASE WHEN :wanted THEN :wanted ELSE wanted END, asks = asks + (:wanted > 0), covered = CASE WHEN covered THEN covered ELSE :first END
WHERE id = :id;

-- name: scan_begin
UPDATE scan SET covered = :at WHERE id = :id AND covered = 0;

-- name: scan_cursor
UPDATE scan SET cursor = :cursor, cursor_glob = :glob WHERE id = :id;

-- name: scan_held
-- Its place is not to be asked now.
UPDATE scan SET code = :code, message = :message, again_at = :again_at, next_at = CASE WHEN next_at THEN max(next_at, :again_at) ELSE 0 END WHERE id = :id;

-- name: scan_hold_void
-- A person ended the hold of a place: whoever waits for one looks whether it was that.
UPDATE scan SET wanted = :now, again_at = 0 WHERE code = 'fetch-busy';

-- name: scan_era
-- A listing came to its end: is it time for the next era? However long nobody listed, it is one; a clock that was set back begins it anew.
UPDATE scan SET era = era + (era_at > 0 AND era_at <= :now), era_at = :now
WHERE id = :id AND (era_at > :now OR era_at + :length <= :now);

-- name: scan_end
UPDATE scan SET cursor = CASE WHEN :resumes THEN cursor ELSE '' END, number = number + 1, wanted = CASE WHEN wanted = :wanted AND asks = :asks THEN 0 ELSE wanted END, next_at = :next_at,
                again_at = :again_at, covered = :covered, started = :started, finished = :now, listed = :listed, found = :found,
                changed = :changed, waiting = (SELECT count(*) FROM seen INDEXED BY seen_open
                                               WHERE scan = :id AND (state = 'waiting' OR state = 'ready') AND state <> 'taken'),
                taken = :taken, failures = CASE WHEN :code IS NULL THEN 0 ELSE failures + 1 END,
                failed_since = CASE WHEN :code IS NULL THEN NULL WHEN failures THEN failed_since ELSE :now END, code = :code, message = :message,
                breaks = CASE WHEN :broke THEN breaks + 1 ELSE 0 END
WHERE id = :id;

-- name: page_get
SELECT etag, modified, objects FROM page WHERE scan = :scan AND uri = :uri AND era = :era AND rules = :rules;

-- name: page_put
INSERT INTO page (scan, uri, etag, modified, objects, era, rules) VALUES (:scan, :uri, :etag, :modified, :objects, :era, :rules)
ON CONFLICT (scan, uri) DO UPDATE SET etag = excluded.etag, modified = excluded.modified, objects = excluded.objects, era = excluded.era,
    rules = excluded.rules;

-- name: page_sweep
-- Those of an era that is over are read again, or are gone.
DELETE FROM page WHERE scan = :scan AND era < :era;

-- name: seen_open
SELECT 1 FROM seen INDEXED BY seen_open WHERE scan = :scan AND (state = 'waiting' OR state = 'ready') AND state <> 'taken' LIMIT 1;

-- name: seen_get
SELECT state, size, mtime, etag, looks, since, boot, era, job, coalesce(accepted, 0) FROM seen WHERE scan = :scan AND uri = :uri;

-- name: seen_put
INSERT INTO seen (scan, uri, size, mtime, etag, state, looked, looks, since, first, boot, params, era)
VALUES (:scan, :uri, :size, :mtime, :etag, :state, :looked, :looks, :since, :now, :boot, :params, :era)
ON CONFLICT (scan, uri) DO UPDATE SET size = excluded.size, mtime = excluded.mtime, etag = excluded.etag, state = excluded.state,
    looked = excluded.looked, looks = excluded.looks, since = excluded.since, boot = excluded.boot, params = excluded.params, after = 0,
    era = excluded.era,
    first = CASE WHEN excluded.looks = 1 THEN excluded.first ELSE first END;

-- name: seen_group
-- The oldest objects of the open group behind that one, and of those behind it.
SELECT uri, params, size, mtime, etag, since, boot, coalesce(params, '{}') FROM seen INDEXED BY seen_group
WHERE scan = :scan AND state = 'ready' AND coalesce(params, '{}') > :after
    AND NOT EXISTS (SELECT 1 FROM job WHERE job.id = seen.job AND (job.state = 'ready' OR job.state = 'running'))
ORDER BY coalesce(params, '{}'), mtime, uri LIMIT :max;

-- name: seen_ready
SELECT uri, params, size, mtime, etag FROM seen INDEXED BY seen_open WHERE scan = :scan AND state = 'ready' AND state <> 'taken'
    AND NOT EXISTS (SELECT 1 FROM job WHERE job.id = seen.job AND (job.state = 'ready' OR job.state = 'running'))
ORDER BY mtime, uri LIMIT :max;

-- name: seen_again
-- What a job was made of and is whole again, behind that URI; what is that job about (seen_reads)?
SELECT seen.uri, seen.size, seen.mtime, seen.etag, seen.job, CASE job.state WHEN 'ready' THEN 1 WHEN 'running' THEN 2 ELSE 0 END
FROM seen INDEXED BY seen_again LEFT JOIN job ON job.id = seen.job
WHERE seen.scan = :scan AND seen.state = 'ready' AND seen.state <> 'taken' AND seen.job IS NOT NULL AND seen.uri > :after
    AND (:all OR job.state = 'ready' OR job.state = 'running')
ORDER BY seen.uri LIMIT :max;

-- name: seen_keep
-- It stays what its job left of it.
UPDATE seen SET state = 'taken', params = NULL WHERE scan = :scan AND uri = :uri;

-- name: seen_reads
-- Will the job read its objects yet (1), or does it so at this moment (2)? And how often were they others than those that were listed?
SELECT CASE state WHEN 'ready' THEN 1 WHEN 'running' THEN 2 ELSE 0 END,
       CASE state WHEN 'ready' THEN (SELECT count(*) FROM error WHERE error.job = job.id AND error.code = 'changed') ELSE 0 END,
       (SELECT scanned = 2 FROM job_text WHERE job_text.job = job.id)
FROM job WHERE id = :job;

-- name: seen_hold
-- It waits until what it reads is whole.
UPDATE job SET due = 0, run_at = :run_at WHERE id = :job AND state = 'ready';

-- name: seen_let_go
-- All that it reads is whole.
UPDATE job SET due = 0, run_at = :now WHERE id = :job AND state = 'ready'
    AND NOT EXISTS (SELECT 1 FROM seen INDEXED BY seen_again WHERE seen.job = job.id AND seen.job IS NOT NULL AND seen.state <> 'taken');

-- name: object_listed
UPDATE object SET size = :size, etag = :etag, modified_at = :modified_at WHERE job = :job AND uri = :uri;

-- name: seen_take
UPDATE seen SET state = 'taken', job = :job, after = :after, params = NULL, accepted = NULL WHERE scan = :scan AND uri = :uri AND state = 'ready';

-- name: seen_gone_again
-- The same of what a job reads yet, or reads: it finds that out.
UPDATE seen INDEXED BY seen_open SET state = 'taken', params = NULL
WHERE scan = :scan AND state IN ('waiting', 'ready') AND state <> 'taken' AND looked < :number
    AND EXISTS (SELECT 1 FROM job WHERE job.id = seen.job AND (job.state = 'ready' OR job.state = 'running'))
RETURNING job;

-- name: seen_gone
-- What waited, or was in an open group, and is not there any more.
DELETE FROM seen INDEXED BY seen_open WHERE scan = :scan AND state IN ('waiting', 'ready') AND state <> 'taken' AND looked < :number;

-- name: changed_put
INSERT INTO changed (scan, uri, size, mtime, etag, looked) VALUES (:scan, :uri, :size, :mtime, :etag, :looked)
ON CONFLICT (scan, uri) DO UPDATE SET size = excluded.size, mtime = excluded.mtime, etag = excluded.etag, looked = excluded.looked;

-- name: changed_gone
-- What a whole listing had no more, or found as it was.
DELETE FROM changed WHERE scan = :scan AND looked < :number;

-- name: changed_read
-- Those behind that URI that a person may decide about: no job is about to read them.
SELECT c.uri, c.size, c.mtime, seen.job FROM changed AS c JOIN seen ON seen.scan = c.scan AND seen.uri = c.uri AND seen.state = 'taken'
WHERE c.scan = :scan AND c.uri > :after
    AND NOT EXISTS (SELECT 1 FROM job WHERE job.id = seen.job AND (job.state = 'ready' OR job.state = 'running'))
ORDER BY c.uri LIMIT :max;

-- name: changed_known
-- The version that was listed is the known one. What was to be done with the other one is not for it.
UPDATE seen SET size = c.size, mtime = c.mtime, etag = c.etag, after = 0, accepted = :now
FROM changed AS c WHERE c.scan = :scan AND c.uri = :uri AND seen.scan = :scan AND seen.uri = :uri AND seen.state = 'taken';

-- name: changed_new
-- The object is a new one for the next listing, and that of no job until then.
UPDATE seen SET state = 'waiting', looks = 0, boot = 0, job = NULL, after = 0, accepted = NULL,
                looked = (SELECT number FROM scan WHERE scan.id = seen.scan)
WHERE scan = :scan AND uri = :uri AND state = 'taken';

-- name: changed_done
DELETE FROM changed WHERE scan = :scan AND uri = :uri;

-- name: seen_there
UPDATE seen SET era = :era WHERE scan = :scan AND uri = :uri;

-- name: seen_piece
-- The end of the next piece of what was seen, by URI.
SELECT max(uri) FROM (SELECT uri FROM seen WHERE scan = :scan AND uri > :after ORDER BY uri LIMIT :max);

-- name: seen_old
-- In that piece: what is taken, with nothing left to do, and was listed last before that era.
SELECT count(*) FROM seen WHERE scan = :scan AND uri > :after AND uri <= :last AND state = 'taken' AND after = 0 AND era < :era;

-- name: seen_prune
DELETE FROM seen WHERE scan = :scan AND uri > :after AND uri <= :last AND state = 'taken' AND after = 0 AND era < :era;

-- name: seen_loaded
UPDATE seen SET after = 2, loaded = :now WHERE job = :job AND after = 1;

-- name: seen_after
SELECT uri, size, mtime, etag, job FROM seen INDEXED BY seen_after WHERE scan = :scan AND after = 2 AND uri > :uri ORDER BY uri LIMIT :max;

-- name: seen_after_done
UPDATE seen SET after = 0 WHERE scan = :scan AND uri = :uri AND after = 2;

-- name: seen_after_left
SELECT count(*), coalesce(min(loaded), 0) FROM seen INDEXED BY seen_after WHERE scan = :scan AND after = 2;

-- name: scan_after_tried
UPDATE scan SET after_failures = CASE WHEN :code IS NULL THEN 0 ELSE after_failures + 1 END, after_code = :code, after_message = :message
WHERE id = :id;

-- name: seen_forget
-- It went: another one of that name is a new one.
DELETE FROM seen WHERE scan = :scan AND uri = :uri AND after = 2;

-- name: slot_add
-- Those that are due come with the next scan_wanted.
INSERT INTO slot (scan, at, outcome, reason, ask, decided)
VALUES (:scan, :at, :outcome, :reason, CASE :outcome WHEN 'due' THEN (SELECT asks + 1 FROM scan WHERE id = :scan) END, :now) ON CONFLICT DO NOTHING;

-- name: slot_job
UPDATE slot SET job = :job WHERE scan = :scan AND at = :at;

-- name: slot_failed
-- A listing that they had asked for when it began did not come to its end.
UPDATE slot INDEXED BY slot_open SET outcome = 'failed', decided = :now,
    reason = reason || CASE reason WHEN '' THEN '' ELSE '; ' END || 'its listing failed: ' || :message || ' [' || :code || ']'
WHERE scan = :scan AND outcome = 'due' AND ask <= :asks;

-- name: slot_ran
-- One came to its end, also for those whose own did not; :message: something was left out of it.
UPDATE slot INDEXED BY slot_open SET outcome = 'ran', decided = :now, ask = NULL,
    reason = CASE WHEN outcome = 'due' THEN reason WHEN reason LIKE 'late: %' THEN reason || '; a later one made it good'
                  ELSE 'late: ' || reason || '; a later one made it good' END
             || CASE WHEN :message IS NULL OR (outcome = 'due' AND reason = '') THEN '' ELSE '; ' END
             || CASE WHEN :message IS NULL THEN '' ELSE :message || ' [' || :code || ']' END
WHERE scan = :scan AND outcome IN ('due', 'failed') AND ask <= :asks;

-- name: slot_void
-- The source becomes another one: what a listing of this one did not find no later one will.
UPDATE slot INDEXED BY slot_open SET ask = NULL, reason = reason || '; no later one could make it good: the source became another one'
WHERE scan = (SELECT id FROM scan WHERE pipeline = :pipeline) AND outcome = 'failed' AND ask IS NOT NULL;

-- name: slot_rows
SELECT at, outcome, reason, coalesce(job, 0), decided, ask IS NOT NULL FROM slot WHERE scan = :scan ORDER BY at DESC LIMIT :max;

-- name: slot_sweep
DELETE FROM slot WHERE scan = :scan AND at < :before;

-- ---- inbox ----

-- name: inbox_known
SELECT 1 FROM inbox WHERE name = :name;

-- name: inbox_any
SELECT 1 FROM inbox LIMIT 1;

-- name: inbox_add
INSERT INTO inbox (name) VALUES (:name);

-- name: inbox_forget
DELETE FROM inbox WHERE name = :name;

-- name: inbox_forget_all
DELETE FROM inbox;

-- ---- reports ----

-- name: list_all
SELECT id FROM job WHERE id < :before AND (:state IS NULL OR state = :state) AND (:pipeline IS NULL OR pipeline = :pipeline)
ORDER BY id DESC LIMIT :max;

-- name: list_running
SELECT id FROM job INDEXED BY job_running
WHERE state = 'running' AND id < :before AND (:pipeline IS NULL OR pipeline = :pipeline) ORDER BY id DESC LIMIT :max;

-- name: list_staged
SELECT id FROM job INDEXED BY job_staged
WHERE state = 'staged' AND id < :before AND (:pipeline IS NULL OR pipeline = :pipeline) ORDER BY id DESC LIMIT :max;

-- name: list_loading
SELECT id FROM job INDEXED BY job_loading
WHERE state = 'loading' AND id < :before AND (:pipeline IS NULL OR pipeline = :pipeline) ORDER BY id DESC LIMIT :max;

-- name: list_dead
SELECT id FROM job INDEXED BY job_dead
WHERE state = 'dead' AND id < :before AND (:pipeline IS NULL OR pipeline = :pipeline) ORDER BY id DESC LIMIT :max;

-- name: job_undone
-- 0 rows: it is not loaded, or was noted before.
UPDATE job SET undone = :now WHERE id = :id AND state = 'loaded' AND undone IS NULL
RETURNING pipeline, rows_loaded;

-- name: list_row
SELECT j.id, j.seq, j.priority, j.run_at, j.created, j.started, j.finished, j.attempts, j.attempts_max, j.crashes,
       j.due, j.state = 'ready' AND j.due AND EXISTS (SELECT 1 FROM pipeline AS p WHERE p.name = j.pipeline AND p.paused),
       j.rows_read, j.rows_staged, j.rows_rejected, j.rows_filtered, j.rows_loaded, j.bytes_in, j.bytes_out,
       j.lease_until, j.uid, j.pipeline, j.state, j.target, t.objects, t.params, j.unique_key, w.name, e.code, e.message,
       j.rows_inserted, j.rows_updated, j.rows_unchanged, j.rows_deleted, j.rows_removed, j.undone, j.rows_added,
       j.forsake_at IS NOT NULL
FROM job AS j LEFT JOIN job_text AS t ON t.job = j.id LEFT JOIN worker AS w ON w.id = j.worker
    LEFT JOIN error AS e ON e.id = (SELECT max(l.id) FROM error AS l WHERE l.job = j.id)
WHERE j.id = :id;

-- name: attempts
-- Those that are over, and the one under way.
SELECT a.token, a.number, a.started, a.finished, a.peak_rss, a.signal, w.name, a.outcome, a.kind
FROM attempt AS a LEFT JOIN worker AS w ON w.id = a.worker WHERE a.job = :job
UNION ALL
SELECT j.token, j.attempts, j.claimed, NULL, 0, 0, w.name, j.state, CASE j.state WHEN 'running' THEN 'work' ELSE 'load' END
FROM job AS j LEFT JOIN worker AS w ON w.id = j.worker WHERE j.id = :job AND j.state IN ('running', 'loading')
ORDER BY 1;

-- name: errors
SELECT e.id, e.at, e.job, e.attempt, j.uid, j.pipeline, e.stage, e.class, e.code, e.message, e.detail
FROM error AS e LEFT JOIN job AS j ON j.id = e.job
WHERE e.id < :before AND e.at >= :since AND (:code IS NULL OR e.code = :code) AND (:pipeline IS NULL OR j.pipeline = :pipeline)
ORDER BY e.id DESC LIMIT :max;

-- name: errors_of_job
SELECT e.id, e.at, e.job, e.attempt, j.uid, j.pipeline, e.stage, e.class, e.code, e.message, e.detail
FROM error AS e LEFT JOIN job AS j ON j.id = e.job
WHERE e.job = :job AND e.id < :before AND e.at >= :since AND (:code IS NULL OR e.code = :code)
    AND (:pipeline IS NULL OR j.pipeline = :pipeline)
ORDER BY e.id DESC LIMIT :max;

-- name: objects
-- And is after= still to be done with it?
SELECT uri, size, etag, modified, same_as,
       EXISTS (SELECT 1 FROM job AS j JOIN scan AS s ON s.pipeline = j.pipeline JOIN seen ON seen.scan = s.id AND seen.uri = object.uri
               WHERE j.id = :job AND seen.job = :job AND seen.after = 2)
FROM object WHERE job = :job ORDER BY number;

-- name: status_tally
SELECT n.name, coalesce(p.paused, 0), t.state, t.jobs, t.rows
FROM (SELECT pipeline AS name FROM tally UNION SELECT name FROM pipeline WHERE paused = 1) AS n
    LEFT JOIN tally AS t ON t.pipeline = n.name LEFT JOIN pipeline AS p ON p.name = n.name
ORDER BY n.name;

-- name: status_waiting
SELECT pipeline, count(*) FROM job INDEXED BY job_later WHERE state = 'ready' AND due = 0 GROUP BY pipeline;

-- name: status_oldest
-- The oldest job of each pipeline in the claim index: seq grows with time.
SELECT pipeline, run_at, min(seq) FROM job INDEXED BY job_claim
WHERE state = 'ready' AND due = 1 AND NOT EXISTS (SELECT 1 FROM pipeline AS p WHERE p.name = job.pipeline AND p.paused)
GROUP BY pipeline;

-- name: pace
-- Of the newest jobs that were worked on: those that were loaded of late.
SELECT count(*), min(finished), max(finished)
FROM (SELECT finished, outcome FROM attempt ORDER BY job DESC, token DESC LIMIT 4000)
WHERE outcome = 'loaded' AND finished > :since;

-- name: ready_before
-- How many jobs of its run a claim takes before this one.
SELECT count(*) FROM (SELECT 1 FROM job INDEXED BY job_claim
    WHERE state = 'ready' AND due = 1 AND pipeline = :pipeline AND remote = :remote AND priority >= :priority
        AND (priority > :priority OR seq < :seq)
    LIMIT 1000);

-- name: staged_before
SELECT count(*) FROM (SELECT 1 FROM job INDEXED BY job_staged
    WHERE state = 'staged' AND target = :target AND seq < :seq AND run_at <= :now LIMIT 1000);

-- name: explain_row
SELECT state, due, pipeline, remote, priority, run_at, seq, target, lanes, lane_replace, uid, lease_until, attempts, attempts_max,
       (SELECT name FROM worker WHERE worker.id = job.worker),
       (SELECT code FROM error WHERE error.job = job.id ORDER BY error.id DESC LIMIT 1),
       worker,
       (SELECT message FROM target_away WHERE name = job.target),
       (SELECT message FROM error WHERE error.job = job.id ORDER BY error.id DESC LIMIT 1),
       EXISTS (SELECT 1 FROM seen INDEXED BY seen_again WHERE seen.job = job.id AND seen.job IS NOT NULL AND seen.state <> 'taken'),
       forsake_at IS NOT NULL
FROM job WHERE id = :id;

-- name: explain_origin
-- The scan that took its first object, or the slot (0: none) that it is the job of.
SELECT s.source, coalesce((SELECT at FROM slot WHERE slot.scan = s.id AND slot.job = :id), 0)
FROM job AS j JOIN scan AS s ON s.pipeline = j.pipeline
WHERE j.id = :id AND (EXISTS (SELECT 1 FROM slot WHERE slot.scan = s.id AND slot.job = :id)
    OR EXISTS (SELECT 1 FROM object AS o JOIN seen ON seen.scan = s.id AND seen.uri = o.uri WHERE o.job = :id AND o.number = 0 AND seen.job = :id));

-- ---- worker registry ----

-- name: worker_join
INSERT INTO worker (role, name, host, ip, pid, pid_start, pid_ns, version, started, beat)
VALUES (:role, :name, :host, :ip, :pid, :pid_start, :pid_ns, :version, :now, :now) RETURNING id;

-- name: worker_beat
UPDATE worker SET beat = :now WHERE id = :id;

-- name: worker_leave
UPDATE worker SET beat = :now, ended = :now WHERE id = :id AND ended IS NULL;

-- name: lease_holders
-- Who of this host holds a lease that was not ended here. Asked without the lock.
SELECT id, pid, pid_start FROM worker
WHERE host = :host AND pid_ns = :pid_ns AND id IN
    (SELECT worker FROM job INDEXED BY job_running WHERE state = 'running' AND lease_until > 0
     UNION SELECT worker FROM job INDEXED BY job_loading WHERE state = 'loading' AND lease_until > 0);

-- name: worker_gone
UPDATE worker SET ended = :now WHERE id = :id AND ended IS NULL;

-- name: lease_holder
-- Who held the job last, and is its process known to be gone (see lease_end_running)?
SELECT j.lease_until = 0, w.role, w.name, w.pid, w.host FROM job AS j LEFT JOIN worker AS w ON w.id = j.worker WHERE j.id = :id;

-- name: lease_end_running
-- The leases of a process that is gone run out now; the token stays, and the next claim adds to it.
UPDATE job INDEXED BY job_running SET lease_until = 0 WHERE state = 'running' AND worker = :id;

-- name: lease_end_loading
UPDATE job INDEXED BY job_loading SET lease_until = 0 WHERE state = 'loading' AND worker = :id;

-- name: worker_list
-- The current job of one that claimed several is the oldest of them.
WITH held (worker, job) AS (
    SELECT worker, min(job) FROM (
        SELECT worker, id AS job FROM job INDEXED BY job_running WHERE state = 'running'
        UNION ALL
        SELECT worker, id FROM job INDEXED BY job_loading WHERE state = 'loading')
    GROUP BY worker)
SELECT w.id, w.pid, w.started, w.ended, w.beat, w.processed, w.succeeded, w.failed, w.rows, w.bytes, held.job, w.role, w.name,
       w.host, w.ip, w.version, (SELECT uid FROM job WHERE job.id = held.job), w.pid_start
FROM worker AS w LEFT JOIN held ON held.worker = w.id
WHERE :all OR w.ended IS NULL ORDER BY w.id;

-- name: worker_sweep
DELETE FROM worker WHERE coalesce(ended, beat) < :before;

-- name: target_away
INSERT INTO target_away (name, since, again, code, message) VALUES (:name, :now, :again, :code, :message)
ON CONFLICT (name) DO UPDATE SET again = excluded.again, code = excluded.code, message = excluded.message;

-- name: target_back
DELETE FROM target_away WHERE name = :name;

-- name: target_list
SELECT t.name, t.since, t.again, t.code, t.message,
    (SELECT count(*) FROM job INDEXED BY job_staged WHERE state = 'staged' AND target = t.name)
FROM target_away AS t ORDER BY t.name;
