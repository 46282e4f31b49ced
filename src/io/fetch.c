#include "io/fetch.h"
