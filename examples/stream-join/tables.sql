CREATE TABLE orders (id INTEGER PRIMARY KEY NOT NULL, name TEXT NOT NULL, amount DECIMAL(18,2) NOT NULL, at TIMESTAMP NOT NULL);
CREATE INDEX orders_at ON orders (at);
CREATE TABLE visits (id TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL, page TEXT NOT NULL, at TIMESTAMP NOT NULL);
CREATE INDEX visits_of ON visits (name, at);

-- how far each stream is complete, and up to where they were joined
CREATE TABLE progress (stream TEXT PRIMARY KEY, at TIMESTAMP NOT NULL);
INSERT INTO progress VALUES ('orders', '0001-01-01 00:00:00'), ('visits', '0001-01-01 00:00:00');
CREATE TABLE joined (upto TIMESTAMP NOT NULL);
INSERT INTO joined VALUES ('0001-01-01 00:00:00');

-- each order, with the page that its user saw last in the half hour before it
CREATE TABLE user_orders (name TEXT NOT NULL, ordered TIMESTAMP NOT NULL, amount DECIMAL(18,2) NOT NULL, order_id INTEGER NOT NULL,
    page TEXT, visited TIMESTAMP);
CREATE INDEX user_orders_of ON user_orders (name, ordered);
