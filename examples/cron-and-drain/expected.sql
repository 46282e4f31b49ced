SELECT sku, shelf, pieces, counted FROM stock ORDER BY sku, counted;
SELECT count(*) FROM qetl_load;
