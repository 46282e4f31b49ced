SELECT count(*), min(year), max(births) FROM births;
SELECT file, bytes FROM disk ORDER BY file;
