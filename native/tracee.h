#ifndef LAMINA_TRACEE_H
#define LAMINA_TRACEE_H
#include <stdint.h>

#include "error.h"
#include "cdef/tracee.h"
#endif
