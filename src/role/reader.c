#include "role/reader.h"
