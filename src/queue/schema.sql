-- The schema of queue.db, version 1: the job queue, the worker registry and the error log of qetl.
-- Times are milliseconds since 1970 UTC. Only qetl writes here (its writers queue at a lock beside this file);
-- anybody may read.

CREATE TABLE job (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,   -- for people and for order; never used twice
    uid          TEXT NOT NULL UNIQUE CHECK (length(uid) = 26),  -- the name of the job in ledgers and spools
    pipeline     TEXT NOT NULL CHECK (pipeline <> ''),
    target       TEXT NOT NULL DEFAULT '',            -- whose loader commits it
    state        TEXT NOT NULL DEFAULT 'ready',       -- one of those below
    due          INTEGER NOT NULL DEFAULT 1 CHECK (due IN (0, 1)),     -- ready: 0 waits for run_at
    remote       TEXT NOT NULL DEFAULT '',            -- whose limits bind it, see table remote; '': this machine
    priority     INTEGER NOT NULL DEFAULT 0,          -- greater first
    run_at       INTEGER NOT NULL,                    -- ready, staged: not before
    seq          INTEGER,                             -- its place in its lanes; set when it becomes due for the first time
    token        INTEGER NOT NULL DEFAULT 0,          -- fencing: grows by one at each claim, the loader's too
    worker       INTEGER,                             -- who holds it, or held it last
    lease_until  INTEGER,                             -- while it is held
    claimed      INTEGER,                             -- when the lease began
    attempts     INTEGER NOT NULL DEFAULT 0,          -- tries since it was submitted or retried by a person
    attempts_max INTEGER NOT NULL DEFAULT 5,
    waited       INTEGER NOT NULL DEFAULT 0,          -- ms that servers asked it to wait (Retry-After), which used up no try
    crashes      INTEGER NOT NULL DEFAULT 0,          -- took the worker, its reader or a loader down
    created      INTEGER NOT NULL,
    started      INTEGER,                             -- last claim by a worker
    finished     INTEGER,                             -- loaded, superseded, cancelled, dead
    unsure       INTEGER NOT NULL DEFAULT 0,          -- staged: 1 when its target may have committed it, and could not be asked
    forsake_at   INTEGER,                             -- dead, superseded, cancelled: from then on a loader takes out what tries of it may have left
                                                      -- in its target; its outputs stay until that is done. NULL: nothing is left
    undone       INTEGER,                             -- loaded, and taken out of the target again by a person
    unique_key   TEXT,                                -- --unique: one open job a pipeline and key
    lanes        TEXT,                                -- JSON array: tables where order counts ("target.table")
    lane_replace INTEGER NOT NULL DEFAULT 0 CHECK (lane_replace IN (0, 1)),  -- those tables are replaced as a whole
    rows_read    INTEGER NOT NULL DEFAULT 0,
    rows_staged  INTEGER NOT NULL DEFAULT 0,
    rows_rejected INTEGER NOT NULL DEFAULT 0,
    rows_filtered INTEGER NOT NULL DEFAULT 0,
    rows_added   INTEGER NOT NULL DEFAULT 0,          -- that steps made; rows_read + rows_added = staged + rejected + filtered
    rows_loaded  INTEGER NOT NULL DEFAULT 0,
    rows_inserted INTEGER NOT NULL DEFAULT 0,         -- of rows_loaded: new in their tables
    rows_updated INTEGER NOT NULL DEFAULT 0,
    rows_unchanged INTEGER NOT NULL DEFAULT 0,
    rows_deleted INTEGER NOT NULL DEFAULT 0,          -- marked as deleted
    rows_removed INTEGER NOT NULL DEFAULT 0,          -- rows of others that went: replaced, or missing
    spool        INTEGER NOT NULL DEFAULT 0,          -- bytes of the spool that it has: reserved by the claim, then those of its outputs
    bytes_in     INTEGER NOT NULL DEFAULT 0,
    bytes_out    INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT due_has_a_place CHECK (due = 0 OR seq IS NOT NULL),
    -- what belongs to each state: who holds a job has a lease, what is over has an end, and nothing comes far without a claim
    CONSTRAINT state CHECK (CASE state
        WHEN 'ready'      THEN lease_until IS NULL AND finished IS NULL
        WHEN 'running'    THEN lease_until IS NOT NULL AND finished IS NULL AND token > 0
        WHEN 'staged'     THEN lease_until IS NULL AND finished IS NULL AND token > 0
        WHEN 'loading'    THEN lease_until IS NOT NULL AND finished IS NULL AND token > 0
        WHEN 'loaded'     THEN lease_until IS NULL AND finished IS NOT NULL AND token > 0
        WHEN 'superseded' THEN lease_until IS NULL AND finished IS NOT NULL AND token > 0
        WHEN 'dead'       THEN lease_until IS NULL AND finished IS NOT NULL AND token > 0
        WHEN 'cancelled'  THEN lease_until IS NULL AND finished IS NOT NULL
        ELSE 0 END)
);

-- What a claim reads: due jobs, in one run for each pipeline and remote, greatest priority first, then oldest. What holds a
-- pipeline or a remote back (queue/gate.h) is asked once for its run, so that a million jobs behind it cost a claim nothing.
CREATE INDEX job_claim ON job (pipeline, remote, priority DESC, seq) WHERE state = 'ready' AND due = 1;
-- Each state that somebody waits on has an index of its own; jobs that are over are in none of them.
CREATE INDEX job_later ON job (run_at, pipeline) WHERE state = 'ready' AND due = 0;
CREATE INDEX job_running ON job (lease_until, worker, remote) WHERE state = 'running';
CREATE INDEX job_staged ON job (target, seq) WHERE state = 'staged';
CREATE INDEX job_loading ON job (target, lease_until, worker) WHERE state = 'loading';
CREATE INDEX job_forsake ON job (target, forsake_at) WHERE forsake_at IS NOT NULL;
-- Who has how much of the spool.
CREATE INDEX job_spool ON job (spool) WHERE spool > 0;
CREATE INDEX job_dead ON job (pipeline) WHERE state = 'dead';
CREATE UNIQUE INDEX job_unique ON job (pipeline, unique_key)
    WHERE unique_key IS NOT NULL AND state IN ('ready', 'running', 'staged', 'loading', 'dead');

--   ready   -> running (a worker claims), cancelled
--   running -> staged, ready (retry), dead, cancelled
--   staged  -> loading (a loader claims), cancelled
--   loading -> loaded, superseded, staged (target away), dead (target refuses)
--   dead    -> ready (qetlctl retry), cancelled
--   dead, superseded, cancelled -> loaded (where forsake_at is set, and its target turns out to have it)
-- The same table stands in job_state.c; a test compares them.
-- (Not by IN: SQLite would build a table in memory for each longer list, at each change.)
CREATE TRIGGER job_transition BEFORE UPDATE OF state ON job WHEN NOT CASE OLD.state
    WHEN 'ready'   THEN NEW.state = 'running' OR NEW.state = 'cancelled'
    WHEN 'running' THEN NEW.state = 'staged' OR NEW.state = 'ready' OR NEW.state = 'dead' OR NEW.state = 'cancelled'
    WHEN 'staged'  THEN NEW.state = 'loading' OR NEW.state = 'cancelled'
    WHEN 'loading' THEN NEW.state = 'loaded' OR NEW.state = 'superseded' OR NEW.state = 'staged' OR NEW.state = 'dead'
    WHEN 'dead'    THEN NEW.state = 'ready' OR NEW.state = 'cancelled' OR NEW.state = 'loaded'
    WHEN 'superseded' THEN NEW.state = 'loaded'
    WHEN 'cancelled' THEN NEW.state = 'loaded'
    ELSE 0 END
BEGIN
    SELECT RAISE(ABORT, 'a job cannot go from its state to that one');
END;

-- What a job was asked to do: kept apart, so that a change of state does not write it again.
CREATE TABLE job_text (
    job     INTEGER PRIMARY KEY,
    objects TEXT,   -- JSON array of URIs
    params  TEXT,   -- JSON object
    scanned INTEGER NOT NULL DEFAULT 0 CHECK (scanned >= 0 AND scanned <= 2)  -- 1: a scan gave it its objects, so that those that another job took since are
                                                                     -- that one's alone; 2: and a person tried it again
);

-- Order of loading: the unfinished jobs of a table in mode replace or upsert that have been due. A dead job is not here.
CREATE TABLE lane (
    lane TEXT NOT NULL,
    seq  INTEGER NOT NULL,
    job  INTEGER NOT NULL,
    PRIMARY KEY (lane, seq)
) WITHOUT ROWID;
-- The newest job that was loaded in a lane, and the newest that replaced the table.
CREATE TABLE lane_done (
    lane         TEXT PRIMARY KEY,
    loaded_seq   INTEGER NOT NULL,
    replaced_seq INTEGER NOT NULL
) WITHOUT ROWID;

-- One row an attempt that is over; the one under way stands in its job.
CREATE TABLE attempt (
    job      INTEGER NOT NULL,
    token    INTEGER NOT NULL,
    number   INTEGER NOT NULL,
    kind     TEXT NOT NULL CHECK (kind = 'work' OR kind = 'load'),
    worker   INTEGER,
    started  INTEGER NOT NULL,
    finished INTEGER NOT NULL,
    outcome  TEXT NOT NULL,      -- staged, failed, handed-back, crashed, cancelled; loaded, superseded, away, waits, refused
    signal   INTEGER NOT NULL DEFAULT 0,
    peak_rss INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job, token)
) WITHOUT ROWID;

-- The error log. Rows go only together with their job.
CREATE TABLE error (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    job     INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    stage   TEXT NOT NULL,      -- fetch, program, unpack, read, enrich, stage, load, work
    class   TEXT NOT NULL CHECK (class = 'transient' OR class = 'permanent' OR class = 'poison'),
    code    TEXT NOT NULL,
    message TEXT NOT NULL,
    detail  TEXT,               -- what a program wrote to standard error
    at      INTEGER NOT NULL
);
CREATE INDEX error_job ON error (job);

-- The source files of a job, each at the version that was read.
CREATE TABLE object (
    job         INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    uri         TEXT NOT NULL,
    size        INTEGER NOT NULL,  -- -1: the place did not say, and nobody has read it yet
    etag        TEXT,
    modified    TEXT,           -- as the source wrote it
    modified_at INTEGER,        -- the same in ms, where it could be read
    sha256      TEXT,           -- of its bytes, where the pipeline has dedupe = content
    same_as     INTEGER,        -- the job that had the same content, or took the object later; then no row of this one was taken
    PRIMARY KEY (job, number)
) WITHOUT ROWID;

-- Staged rows of a job for one table, or its rejects: a file spool/staged/<uid>.<token>/<number>.<ext>, or inline.
CREATE TABLE output (
    id         INTEGER PRIMARY KEY,
    job        INTEGER NOT NULL,
    token      INTEGER NOT NULL CHECK (token > 0),  -- of the claim that staged it
    number     INTEGER NOT NULL,
    kind       TEXT NOT NULL CHECK (kind = 'rows' OR kind = 'rejects'),
    table_name TEXT NOT NULL,
    ext        TEXT NOT NULL,
    rows       INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    in_file    INTEGER NOT NULL CHECK (in_file IN (0, 1)),
    checksum   INTEGER NOT NULL,
    spec       TEXT,
    inlined    BLOB CHECK (in_file = (inlined IS NULL))
);
CREATE UNIQUE INDEX output_job ON output (job, number);
CREATE INDEX output_rejects ON output (job) WHERE kind = 'rejects';

-- Rejects that were given to another job to be read again. While that one is open, dead or loaded nobody else is given them.
CREATE TABLE replay (
    refused INTEGER PRIMARY KEY,  -- the job that refused the rows
    job     INTEGER NOT NULL      -- the job that reads them again
);
CREATE INDEX replay_job ON replay (job);

-- Who works, since when, with what success. Rows of the gone stay a while.
CREATE TABLE worker (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    role      TEXT NOT NULL,
    name      TEXT NOT NULL,
    host      TEXT NOT NULL,
    ip        TEXT NOT NULL,
    pid       INTEGER NOT NULL,
    pid_start INTEGER NOT NULL,  -- tells a process from a later one with the same pid (proc(5), starttime); 0 unknown
    pid_ns    INTEGER NOT NULL,  -- the namespace that pid belongs to (pid_namespaces(7)); 0 unknown
    version   TEXT NOT NULL,
    started   INTEGER NOT NULL,
    beat      INTEGER NOT NULL,
    ended     INTEGER,
    processed INTEGER NOT NULL DEFAULT 0,
    succeeded INTEGER NOT NULL DEFAULT 0,
    failed    INTEGER NOT NULL DEFAULT 0,
    rows      INTEGER NOT NULL DEFAULT 0,
    bytes     INTEGER NOT NULL DEFAULT 0
);

-- Targets that could not be used when a loader tried last; a row goes when one is back.
CREATE TABLE target_away (
    name    TEXT PRIMARY KEY,
    since   INTEGER NOT NULL,
    again   INTEGER NOT NULL,    -- tried again then
    code    TEXT NOT NULL,
    message TEXT NOT NULL
) WITHOUT ROWID;

-- What binds the jobs of a pipeline. One without a row is not paused, has weight 1 and was never served beside another.
CREATE TABLE pipeline (
    name   TEXT PRIMARY KEY,
    paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),  -- by people
    weight INTEGER NOT NULL DEFAULT 1 CHECK (weight > 0),        -- of the ini: its share where pipelines compete
    pass   INTEGER NOT NULL DEFAULT 0,                           -- what it was given; the least goes first
    need   INTEGER NOT NULL DEFAULT 0                            -- bytes of the spool that its greater jobs took lately; 0: not known
) WITHOUT ROWID;

-- How a place is to be treated by all workers together: what the ini says of a [remote], and what a server asked for.
CREATE TABLE remote (
    name        TEXT PRIMARY KEY,             -- of the section; scheme://host[:port] where there is none
    connections INTEGER NOT NULL DEFAULT 0,   -- jobs at the same time; 0: any number
    interval    INTEGER NOT NULL DEFAULT 0,   -- ms from the start of a job to that of the next
    next_at     INTEGER NOT NULL DEFAULT 0,   -- by interval, the next job not before
    held_until  INTEGER NOT NULL DEFAULT 0,   -- by Retry-After, no job before
    listing     INTEGER NOT NULL DEFAULT 0,   -- until then one of its connections is for a listing
    held_why    TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;

-- Which [enrich] the jobs of a pipeline ask, by the ini; rule: a hash of what it may be held by (its url and limits).
CREATE TABLE enriched (
    pipeline TEXT NOT NULL,
    enrich   TEXT NOT NULL,
    rule     TEXT NOT NULL,
    PRIMARY KEY (pipeline, enrich)
) WITHOUT ROWID;
-- No job that asks it is begun before that time; after it one is, and when that one is staged the row goes.
CREATE TABLE enrich_hold (
    enrich TEXT PRIMARY KEY,
    at     INTEGER NOT NULL,                  -- when that was said: a clock that is behind it was set back, and nothing is held
    until  INTEGER NOT NULL,
    server INTEGER NOT NULL,                  -- 1: it asked for that or is down, so that a person may end it; 0: a quota, an interval
    why    TEXT NOT NULL
) WITHOUT ROWID;

-- How many jobs of a pipeline are in each state, kept by every change of a job, and the rows they ever loaded, less those of jobs that were undone.
CREATE TABLE tally (
    pipeline TEXT NOT NULL,
    state    TEXT NOT NULL,
    jobs     INTEGER NOT NULL DEFAULT 0,
    rows     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (pipeline, state)
) WITHOUT ROWID;

-- dedupe = content: which job of a pipeline has, or had, these bytes. It counts while that job is staged, being loaded or loaded, and
-- not undone; a row whose job was forgotten is of a loaded one.
CREATE TABLE content (
    pipeline TEXT NOT NULL,
    sha256   TEXT NOT NULL,
    job      INTEGER NOT NULL,
    PRIMARY KEY (pipeline, sha256)
) WITHOUT ROWID;
CREATE INDEX content_job ON content (job);

-- event_time=: how far the events of a pipeline are complete (queue/event.h). Times are in us since 1970 UTC.
CREATE TABLE watermark (
    pipeline TEXT PRIMARY KEY,
    at       INTEGER NOT NULL,
    late     INTEGER NOT NULL,   -- rows of its loaded jobs that were before the watermark
    job      INTEGER NOT NULL,   -- that moved it last
    upto     INTEGER             -- :watermark of after_load of the last one that was loaded; NULL: there was none yet
) WITHOUT ROWID;
CREATE TABLE job_event (
    job       INTEGER PRIMARY KEY,
    pipeline  TEXT,              -- NULL: it is loaded
    watermark INTEGER,           -- of its pipeline at the first claim, for all its attempts; NULL: there was none yet
    greatest  INTEGER,           -- event time of what it staged; NULL: it has none
    reaches   INTEGER,           -- that less allowed_lateness
    late      INTEGER NOT NULL DEFAULT 0,
    late_told INTEGER NOT NULL DEFAULT 0, -- of those: rows that the job whose rejects it reads has counted
    fixed     INTEGER NOT NULL DEFAULT 0, -- what after_load works on, before it may run for the first time:
    since     INTEGER,           -- from there (NULL: from the beginning)
    upto      INTEGER            -- to there (NULL: nothing yet)
);
CREATE INDEX job_event_open ON job_event (pipeline, watermark) WHERE pipeline IS NOT NULL;
CREATE INDEX job_event_window ON job_event (pipeline, upto) WHERE pipeline IS NOT NULL AND upto IS NOT NULL;

-- Columns that were inferred from the first object of a recipe: the same for all later ones.
CREATE TABLE inferred (
    recipe      TEXT PRIMARY KEY,
    columns     TEXT NOT NULL,
    from_object TEXT NOT NULL,
    at          INTEGER NOT NULL
) WITHOUT ROWID;

-- What the columns of the newest job of a recipe were called that was staged, and of those before: {"ordered":…,"names":[…],"known":[…]}
-- (pipeline/drift.h).
CREATE TABLE header (
    recipe TEXT PRIMARY KEY,
    names  TEXT NOT NULL,
    job    INTEGER NOT NULL
) WITHOUT ROWID;

-- Columns that on_new_column = add put behind those of the ini, for all later jobs.
CREATE TABLE added (
    number INTEGER PRIMARY KEY,              -- their order
    recipe TEXT NOT NULL,
    name   TEXT NOT NULL COLLATE NOCASE,     -- in the table
    column TEXT NOT NULL,                    -- as columns = has it
    job    INTEGER NOT NULL,                 -- that brought it first
    at     INTEGER NOT NULL,
    UNIQUE (recipe, name)
);
CREATE INDEX added_by ON added (job);
-- What a job brought that is not loaded after all is forgotten: no table has it, and it is news when it comes again.
CREATE TRIGGER added_for_nothing AFTER UPDATE OF state ON job
WHEN NEW.state = 'dead' OR NEW.state = 'cancelled' OR NEW.state = 'superseded'
BEGIN
    DELETE FROM header WHERE recipe IN (SELECT recipe FROM added WHERE job = NEW.id);
    DELETE FROM added WHERE job = NEW.id;
END;

-- How the columns of a job differ from those of its recipe, and of the job before. Rows go together with their job.
CREATE TABLE drift (
    job    INTEGER NOT NULL,
    number INTEGER NOT NULL,
    kind   TEXT NOT NULL CHECK (kind = 'new' OR kind = 'missing' OR kind = 'moved' OR kind = 'retyped'),
    recipe TEXT NOT NULL,
    column TEXT,                             -- as the data calls it; NULL: of more than are kept
    member TEXT,                             -- the first that was so
    detail TEXT NOT NULL,                    -- what was done about it
    PRIMARY KEY (job, number)
) WITHOUT ROWID;

-- What became of the keys that a job asked an [enrich] for (pipeline/enrich_tally.h): of the last attempt that told. Rows go together with
-- their job.
CREATE TABLE enrich_tally (
    job    INTEGER NOT NULL,
    number INTEGER NOT NULL,
    recipe TEXT NOT NULL,
    enrich TEXT NOT NULL,
    keys   INTEGER NOT NULL,                 -- = found + missed + failed
    cached INTEGER NOT NULL,                 -- of them: answered from the cache
    missed INTEGER NOT NULL,                 -- there is no answer
    failed INTEGER NOT NULL,                 -- could not be asked for, or the answer cannot be read
    error  TEXT,                             -- the newest failure
    note   TEXT,                             -- what is strange about the answers
    PRIMARY KEY (job, number)
) WITHOUT ROWID;

-- The last that programs of a job which ended well wrote to standard error, in its last attempt. Rows go together with their job.
CREATE TABLE said (
    job  INTEGER PRIMARY KEY,
    text TEXT NOT NULL
);

-- What the rows of a job are like, where profile = yes: a JSON document a recipe (pipeline/profile.h). Rows go together with their job.
CREATE TABLE profile (
    job      INTEGER NOT NULL,
    recipe   TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (job, recipe)
);

-- The right to scan: one scanner a database.
CREATE TABLE scan_lease (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    token  INTEGER NOT NULL DEFAULT 0,   -- fencing: grows by one each time that it is taken
    worker INTEGER,
    until  INTEGER NOT NULL DEFAULT 0
);
INSERT INTO scan_lease (one) VALUES (1);

-- A pipeline whose source is looked through, or that runs by the clock.
CREATE TABLE scan (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    pipeline TEXT NOT NULL UNIQUE,
    source   TEXT NOT NULL,                -- as the ini had it; another one voids `covered` and `cursor`
    number   INTEGER NOT NULL DEFAULT 0,   -- of the listings that came to their end
    wanted   INTEGER NOT NULL DEFAULT 0,   -- a slot or a person asked for a listing then; 0: nobody
    next_at  INTEGER NOT NULL DEFAULT 0,   -- by every=, the next one
    again_at INTEGER NOT NULL DEFAULT 0,   -- objects wait for being whole: look at them then; 0: none
    slot     INTEGER NOT NULL,             -- all slots up to here are accounted for
    asks     INTEGER NOT NULL DEFAULT 0,   -- how often slots asked for a listing: a count, since no clock says what was first
    covered  INTEGER NOT NULL DEFAULT 0,   -- the dates in the source were listed up to here; before the first listing they begin here; 0: with the first slot, or pass
    cursor   TEXT NOT NULL DEFAULT '',     -- a listing that did not come to its end goes on there; '': from the beginning
    cursor_glob INTEGER NOT NULL DEFAULT 0, -- the glob it belongs to (glob_id())
    era      INTEGER NOT NULL DEFAULT 0,   -- grows by one at most each SCAN_ERAS-th part of forget=, by a listing that came to its end
    era_at   INTEGER NOT NULL DEFAULT 0,   -- when it began
    started  INTEGER,                      -- of the last listing, like all that follows
    finished INTEGER,
    listed   INTEGER NOT NULL DEFAULT 0,   -- objects that match
    found    INTEGER NOT NULL DEFAULT 0,   -- that were new
    changed  INTEGER NOT NULL DEFAULT 0,   -- that were other than when they were taken
    waiting  INTEGER NOT NULL DEFAULT 0,   -- that are not taken yet
    taken    INTEGER NOT NULL DEFAULT 0,   -- that became jobs
    failures INTEGER NOT NULL DEFAULT 0,   -- listings in a row that failed
    failed_since INTEGER,                  -- when the first of them did
    breaks   INTEGER NOT NULL DEFAULT 0,   -- listings in a row that did not come to their end: the pause before the next one grows with it
    code     TEXT,
    message  TEXT,
    after_failures INTEGER NOT NULL DEFAULT 0, -- tries in a row of what after= says of which something failed
    after_code TEXT,                       -- the last one
    after_message TEXT
);

-- Every object that was ever seen at a source, at the version that was seen last.
CREATE TABLE seen (
    scan   INTEGER NOT NULL,
    uri    TEXT NOT NULL,
    size   INTEGER NOT NULL,               -- -1: the place does not say
    mtime  INTEGER NOT NULL,               -- 0: the place does not say
    etag   TEXT NOT NULL,                  -- '': it has none
    state  TEXT NOT NULL CHECK (state = 'waiting' OR state = 'ready' OR state = 'taken'),
    looked INTEGER NOT NULL,               -- number of the listing that had it last, until it is taken
    looks  INTEGER NOT NULL,               -- listings that had it at this version, until it is taken
    since  INTEGER NOT NULL,               -- the first of them, by the clock that nobody sets (ms since boot)
    first  INTEGER NOT NULL,               -- the same in ms since 1970, for people
    boot   INTEGER NOT NULL,               -- which boot that was
    params TEXT,                           -- of its job to be: JSON object
    job    INTEGER,                        -- the last one that was made of it
    era    INTEGER NOT NULL DEFAULT 0,     -- of the scan when a listing had it last
    after  INTEGER NOT NULL DEFAULT 0,     -- after=: 0 nothing to do, 1 when its job is loaded, 2 now
    loaded INTEGER,                        -- while that is 2: when its job was
    accepted INTEGER,                      -- a person took this version as known then: no job was made of it
    PRIMARY KEY (scan, uri)
) WITHOUT ROWID;
CREATE INDEX seen_open ON seen (scan, state, mtime, uri) WHERE state <> 'taken';
-- The open groups (group_files, group_bytes): what is ready and not taken, of one set of parameters each.
CREATE INDEX seen_group ON seen (scan, coalesce(params, '{}'), mtime, uri) WHERE state = 'ready';
-- Objects that a job was made of, and that are to be whole again before it reads them, or before they become another job.
CREATE INDEX seen_again ON seen (job) WHERE job IS NOT NULL AND state <> 'taken';
CREATE INDEX seen_loading ON seen (job) WHERE after = 1;
CREATE INDEX seen_after ON seen (scan, uri, loaded) WHERE after = 2;

-- on_change = fail: what the last listing had of objects that are not what they were when they were taken, until a person decides.
CREATE TABLE changed (
    scan   INTEGER NOT NULL,
    uri    TEXT NOT NULL,
    size   INTEGER NOT NULL,               -- this and the next two as in seen
    mtime  INTEGER NOT NULL,
    etag   TEXT NOT NULL,
    looked INTEGER NOT NULL,               -- number of the listing that had it last
    PRIMARY KEY (scan, uri)
) WITHOUT ROWID;

-- Pages of a place (an index, a manifest) that are not read again while they are what they were.
CREATE TABLE page (
    scan     INTEGER NOT NULL,
    uri      TEXT NOT NULL,
    etag     TEXT NOT NULL,                -- what a conditional request names; '': none
    modified TEXT NOT NULL,                -- the same by Last-Modified
    objects  INTEGER NOT NULL,             -- that it had
    era      INTEGER NOT NULL,             -- of the scan when it was read: in another one it is read again
    rules    INTEGER NOT NULL,             -- hash of what decided about its objects
    PRIMARY KEY (scan, uri)
) WITHOUT ROWID;

-- The slots of cron=, each accounted for once: skipped; ran, where it makes a job; or due, when it asks for a listing. The end of one that began
-- after that makes it `ran`, or `failed` until a later one comes to its end, in one transaction with what it leaves in `scan`.
CREATE TABLE slot (
    scan    INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome = 'due' OR outcome = 'ran' OR outcome = 'failed' OR outcome = 'skipped'),
    reason  TEXT NOT NULL,
    job     INTEGER,                       -- of a pipeline that makes one a slot
    ask     INTEGER,                       -- scan.asks with it, while a listing is to settle it; NULL: none is
    decided INTEGER NOT NULL,
    PRIMARY KEY (scan, at),
    CHECK (CASE outcome WHEN 'due' THEN ask IS NOT NULL WHEN 'failed' THEN 1 ELSE ask IS NULL END)
) WITHOUT ROWID;
CREATE INDEX slot_open ON slot (scan, outcome, ask) WHERE ask IS NOT NULL;

-- Messages of the inbox (role/inbox.h) whose jobs are made, and which are not put away yet; by the name that they were taken under.
CREATE TABLE inbox (
    name TEXT PRIMARY KEY
) WITHOUT ROWID;

-- The number that the next job gets minus one; also drawn for the place of a job that became due late.
INSERT INTO sqlite_sequence (name, seq) VALUES ('job', 0);

-- When this file was made, us since 1970 UTC: with it places of jobs (seq) are behind those of a file that was lost (queue_order()).
CREATE TABLE made (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    us  INTEGER NOT NULL
);
INSERT INTO made (one, us) VALUES (1, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000);

-- For people: one row a pipeline.
CREATE VIEW status AS
SELECT pipeline,
       sum(CASE state WHEN 'ready' THEN jobs ELSE 0 END) AS ready,
       sum(CASE state WHEN 'running' THEN jobs ELSE 0 END) AS running,
       sum(CASE state WHEN 'staged' THEN jobs ELSE 0 END) AS staged,
       sum(CASE state WHEN 'loading' THEN jobs ELSE 0 END) AS loading,
       sum(CASE state WHEN 'loaded' THEN jobs ELSE 0 END) AS loaded,
       sum(CASE state WHEN 'superseded' THEN jobs ELSE 0 END) AS superseded,
       sum(CASE state WHEN 'dead' THEN jobs ELSE 0 END) AS dead,
       sum(CASE state WHEN 'cancelled' THEN jobs ELSE 0 END) AS cancelled,
       sum(rows) AS rows_loaded,
       coalesce((SELECT paused FROM pipeline AS p WHERE p.name = tally.pipeline), 0) AS paused
FROM tally GROUP BY pipeline;

-- For people: one row a job, as a scanner of files sees it, and one for each group of files that is still open: it has no job, so no id.
CREATE VIEW scanner AS
SELECT job.id AS id,
       -- by hand: SQLite 3.40 lets no view use its JSON functions while trusted_schema is off
       coalesce((SELECT '["' || group_concat(replace(replace(uri, '\', '\\'), '"', '\"'), '","') || '"]'
                 FROM (SELECT uri FROM object WHERE object.job = job.id ORDER BY number)),
                (SELECT objects FROM job_text WHERE job_text.job = job.id)) AS files,
       (SELECT strftime('%Y-%m-%dT%H:%M:%SZ', max(modified_at) / 1000, 'unixepoch') FROM object
        WHERE object.job = job.id) AS latest_file_modified_time,
       (SELECT sum(nullif(size, -1)) FROM object WHERE object.job = job.id) AS total_size_in_bytes,
       strftime('%Y-%m-%dT%H:%M:%fZ', job.created / 1000.0, 'unixepoch') AS created_time,
       strftime('%Y-%m-%dT%H:%M:%fZ', coalesce(job.finished, job.claimed, job.created) / 1000.0, 'unixepoch') AS modified_time,
       CASE WHEN job.state = 'ready' AND job.due = 0 THEN 'NONE'
            WHEN job.state = 'ready' THEN 'SENT_FOR_ETL'
            WHEN job.state IN ('running', 'staged', 'loading') THEN 'PROCESSING'
            WHEN job.state IN ('loaded', 'superseded') THEN 'LOADED'
            ELSE 'FAILED' END AS status,
       CASE WHEN job.state = 'cancelled' THEN 'cancelled'
            WHEN job.state NOT IN ('loaded', 'superseded') THEN
                (SELECT message FROM error WHERE error.job = job.id ORDER BY error.id DESC LIMIT 1)
       END AS failure_msg
FROM job
UNION ALL
SELECT NULL,
       '["' || group_concat(replace(replace(uri, '\', '\\'), '"', '\"'), '","') || '"]',
       strftime('%Y-%m-%dT%H:%M:%SZ', nullif(max(mtime), 0) / 1000, 'unixepoch'),
       sum(nullif(size, -1)),
       strftime('%Y-%m-%dT%H:%M:%fZ', min(first) / 1000.0, 'unixepoch'),
       strftime('%Y-%m-%dT%H:%M:%fZ', max(first) / 1000.0, 'unixepoch'),
       'NONE', NULL
FROM (SELECT * FROM seen INDEXED BY seen_group WHERE state = 'ready' ORDER BY scan, coalesce(params, '{}'), mtime, uri)
GROUP BY scan, coalesce(params, '{}');
