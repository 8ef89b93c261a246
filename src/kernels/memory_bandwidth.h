// How fast this machine reads memory, measured. For judging a speed, not for deciding anything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/thread_pool.h"
#include "kernels/kernels.h"
#include "moxie/error.h"

namespace moxie {

// Bytes a second of each of several passes, ascending: all threads read `bytes` of memory, each its own part, in each
// of the ways that the kernels have; the fastest way of a pass counts. Takes about kReadWays x passes x bytes /
// bandwidth. Choose `bytes` several times the last cache. Errors: out_of_memory.
Result<std::vector<double>> measure_read_passes(ThreadPool& pool, const Kernels& kernels, uint64_t bytes, int passes);
// The best of them.
Result<double> measure_read_bandwidth(ThreadPool& pool, const Kernels& kernels, uint64_t bytes, int passes);

}  // namespace moxie
