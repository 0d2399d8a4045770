#ifndef LAMINA_RUNS_H
#define LAMINA_RUNS_H
#include <stdint.h>

#include "cdef/runs.h"
#endif
