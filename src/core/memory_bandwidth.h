// How fast this machine reads memory, measured. For judging a speed, not for deciding anything.
#pragma once

#include "core/thread_pool.h"
#include "moxie/error.h"

namespace moxie {

// Bytes a second, the best of several passes of all threads over `bytes` of memory, each its own part. Takes about
// passes x bytes / bandwidth. Choose `bytes` several times the last cache. Errors: out_of_memory.
Result<double> measure_read_bandwidth(ThreadPool& pool, uint64_t bytes, int passes);

}  // namespace moxie
