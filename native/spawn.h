#ifndef LAMINA_SPAWN_H
#define LAMINA_SPAWN_H
#include <stdint.h>

#include "error.h"
#include "cdef/spawn.h"
#endif
