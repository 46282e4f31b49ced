SELECT shop, sold, sku, pieces, printf('%.2f', value) FROM lines ORDER BY sold;
SELECT day, category, pieces, printf('%.2f', value), printf('%.1f', share) FROM days ORDER BY day, category;
