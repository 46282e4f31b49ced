SELECT station, date(at), count(*), min(celsius), max(celsius), max(hpa) FROM weather GROUP BY 1, 2 ORDER BY 1, 2;
