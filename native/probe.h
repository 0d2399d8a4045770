#ifndef LAMINA_PROBE_H
#define LAMINA_PROBE_H
#include <stdint.h>

#include "error.h"
#include "cdef/probe.h"
#endif
