#ifndef LAMINA_GRACE_H
#define LAMINA_GRACE_H
#include <stdint.h>

#include "error.h"
#include "cdef/grace.h"
#endif
