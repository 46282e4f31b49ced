SELECT taken, mount, used_kb > 0 FROM disks ORDER BY taken;
