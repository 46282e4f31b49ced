#include "read/cast.h"
