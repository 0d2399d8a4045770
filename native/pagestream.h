#ifndef LAMINA_PAGESTREAM_H
#define LAMINA_PAGESTREAM_H
#include <stdint.h>

#include "error.h"

#include "cdef/pagestream.h"
#endif
