#include "queue/registry.h"
