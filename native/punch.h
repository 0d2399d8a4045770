#ifndef LAMINA_PUNCH_H
#define LAMINA_PUNCH_H
#include <stdint.h>

#include "error.h"

#include "cdef/punch.h"
#endif
