#ifndef LAMINA_FILL_H
#define LAMINA_FILL_H
#include <stdint.h>

#include "error.h"
#include "cdef/fill.h"
#endif
