SELECT id, who, domain, tag FROM tags ORDER BY id, tag;
SELECT at, path, agent FROM visits ORDER BY at;
