#ifndef LAMINA_SOCKQUEUE_H
#define LAMINA_SOCKQUEUE_H
#include <stdint.h>

#include "error.h"
#include "cdef/sockqueue.h"
#endif
