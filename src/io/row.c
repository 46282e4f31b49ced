#include "io/row.h"
