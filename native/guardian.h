#ifndef LAMINA_GUARDIAN_H
#define LAMINA_GUARDIAN_H
#include <stdint.h>

#include "error.h"
#include "cdef/guardian.h"
#endif
