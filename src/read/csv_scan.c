typedef int qetl_nothing_yet; 
