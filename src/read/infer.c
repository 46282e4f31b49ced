#include "read/infer.h"
