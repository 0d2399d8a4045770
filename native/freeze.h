#ifndef LAMINA_FREEZE_H
#define LAMINA_FREEZE_H
#include <stdint.h>

#include "error.h"
#include "tracee.h"
#include "cdef/freeze.h"
#endif
