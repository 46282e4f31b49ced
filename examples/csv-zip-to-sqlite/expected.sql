SELECT o.id, c.name, o.placed, o.amount FROM orders o JOIN customers c ON c.id = o.customer ORDER BY o.id;
SELECT count(*) FROM customers;
