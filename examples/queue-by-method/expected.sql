SELECT count(*), count(DISTINCT meter), sum(kwh) FROM meter_reading;
