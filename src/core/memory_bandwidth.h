// How fast this machine reads memory, measured. For judging a speed, not for deciding anything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/thread_pool.h"
#include "moxie/error.h"

namespace moxie {

// Bytes a second of each of several passes, ascending: all threads read `bytes` of memory, each its own part. Takes
// about passes x bytes / bandwidth. Choose `bytes` several times the last cache. Errors: out_of_memory.
Result<std::vector<double>> measure_read_passes(ThreadPool& pool, uint64_t bytes, int passes);
// The best of them.
Result<double> measure_read_bandwidth(ThreadPool& pool, uint64_t bytes, int passes);
// The sum of 8-byte words of whole lines of 64, read as fast as one thread can. Thread-safe.
uint64_t sum_of_lines(const std::byte* from, size_t bytes);

}  // namespace moxie
