-- Run in the commit of each job of either stream: its own is complete up to :watermark now.
UPDATE progress SET at = :watermark WHERE stream = :pipeline AND at < :watermark;

-- Orders whose time is over in both streams. No order and no visit before that comes any more, but a late one.
INSERT INTO user_orders (name, ordered, amount, order_id, page, visited)
SELECT o.name, o.at, o.amount, o.id, v.page, v.at
FROM orders AS o LEFT JOIN visits AS v ON v.id = (
    SELECT id FROM visits WHERE name = o.name AND at <= o.at AND at > datetime(o.at, '-30 minutes') ORDER BY at DESC, id DESC LIMIT 1)
WHERE o.at >= (SELECT upto FROM joined) AND o.at < (SELECT min(at) FROM progress)
ORDER BY o.at, o.id;

UPDATE joined SET upto = max(upto, (SELECT min(at) FROM progress));
