SELECT id, coalesce(address, '-'), coalesce(city, '-'), coalesce(metres, '-') FROM stops ORDER BY id;
