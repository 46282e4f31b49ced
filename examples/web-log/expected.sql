SELECT date(at) AS day, count(*), sum(bytes), sum(status >= 400) FROM access GROUP BY day ORDER BY day;
SELECT at, ip, user, request FROM access WHERE user IS NOT NULL OR agent IS NULL ORDER BY at;
