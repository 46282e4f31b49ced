#include "io/rejects.h"
