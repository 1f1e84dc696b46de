#include "base/base.h"

#ifdef RW_TEST
#include <stdio.h>
#include <stdlib.h>

void rw_assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: %s does not hold\n", file, line, condition);
    abort();
}
#endif

const char *rw_status_str(rw_status status)
{
    switch (status) {
    case RW_OK:       return "no error";
    case RW_ENOMEM:   return "out of memory";
    case RW_ERANGE:   return "index outside the store";
    case RW_EEXIST:   return "connection already there";
    case RW_ENOENT:   return "no such connection or field";
    case RW_ESHAPE:   return "sizes do not fit each other";
    case RW_EPINNED:  return "the store is viewed: drop its views before editing it";
    case RW_ESTALE:   return "the store has changed since the plan was made";
    case RW_EFULL:    return "not enough empty places for the links to place";
    case RW_ECORRUPT: return "the arrays break an invariant of the store";
    case RW_EINTR:    return "interrupted";
    }
    return "unknown status";
}

size_t rw_dtype_size(rw_dtype dtype)
{
    switch (dtype) {
    case RW_F32: return sizeof(float);
    case RW_F64: return sizeof(double);
    case RW_I32: return sizeof(int32_t);
    case RW_I64: return sizeof(int64_t);
    case RW_U8:  return sizeof(uint8_t);
    case RW_BF16: return sizeof(uint16_t);
    }
    return 0;
}
