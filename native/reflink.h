#ifndef LAMINA_REFLINK_H
#define LAMINA_REFLINK_H
#include <stdint.h>

#include "error.h"

#include "cdef/reflink.h"
#endif
