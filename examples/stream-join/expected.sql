SELECT name, ordered, amount, page, visited FROM user_orders ORDER BY ordered;
SELECT 'waits for visits or orders', count(*) FROM orders WHERE at >= (SELECT upto FROM joined);
SELECT 'late', id, name FROM late_orders;
SELECT name, page, amount FROM user_orders WHERE name = 'Ann' ORDER BY ordered;
