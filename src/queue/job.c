#include "queue/job.h"
