#ifndef LAMINA_OWN_H
#define LAMINA_OWN_H
#include <stdint.h>

#include "error.h"
#include "cdef/own.h"
#endif
