#include "read/unpack.h"
