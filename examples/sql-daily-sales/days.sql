-- pieces and value of each day and category, and the category's share of the day in percent
WITH sums AS (
    SELECT date(sold) AS day, category, sum(pieces) AS pieces, sum(pieces * price) AS value
    FROM input JOIN products USING (sku)
    GROUP BY day, category)
SELECT day, category, pieces, round(value, 2) AS value,
       round(100.0 * value / sum(value) OVER (PARTITION BY day), 1) AS share
FROM sums
ORDER BY day, category
