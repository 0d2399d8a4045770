#ifndef LAMINA_OWNERS_H
#define LAMINA_OWNERS_H
#include "error.h"

#include "cdef/owners.h"
#include "pagestream.h"
#endif
