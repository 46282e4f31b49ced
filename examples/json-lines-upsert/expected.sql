SELECT id, plan, price, coalesce(email, 'NULL'), coalesce(first_tag, 'NULL'), changed FROM subscriptions ORDER BY id;
