#ifndef LAMINA_BATCH_H
#define LAMINA_BATCH_H
#include <stdint.h>

#include "error.h"
#include "tracee.h"
#include "cdef/batch.h"
#endif
