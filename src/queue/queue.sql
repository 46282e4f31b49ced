-- Every statement on queue.db, each under its name.
-- name: nothing
SELECT 1;
