SELECT receipt, sold, shop, product, amount FROM sales ORDER BY receipt;
