#include "io/db.h"
