#include "kernels/memory_bandwidth.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "core/buffer.h"
#include "core/fail.h"

namespace moxie {
namespace {

constexpr size_t kPieceBytes = size_t{1} << 20;

}  // namespace

Result<std::vector<double>> measure_read_passes(ThreadPool& pool, const Kernels& kernels, uint64_t bytes, int passes) {
  auto buffer = Buffer::allocate(bytes / kPieceBytes * kPieceBytes);
  if (!buffer.ok()) return buffer.error();
  const int64_t threads = pool.threads();
  const uint64_t pieces = buffer->bytes() / kPieceBytes;
  std::atomic<uint64_t> sink{0};
  // One contiguous part a thread, as a decode step's rows are; touched by that share of the team first.
  const auto part = [&](int64_t thread, const auto& work) {
    const uint64_t begin = pieces * static_cast<uint64_t>(thread) / static_cast<uint64_t>(threads) * kPieceBytes;
    const uint64_t end = pieces * static_cast<uint64_t>(thread + 1) / static_cast<uint64_t>(threads) * kPieceBytes;
    work(buffer->data() + begin, end - begin);
  };
  pool.run(threads,
           [&](int64_t thread) { part(thread, [](std::byte* from, size_t size) { std::memset(from, 1, size); }); });
  std::vector<double> rates;
  for (int pass = 0; pass < passes; ++pass) {
    double best = 0;
    for (int way = 0; way < kReadWays; ++way) {
      const auto start = std::chrono::steady_clock::now();
      pool.run(threads, [&](int64_t thread) {
        part(thread, [&](const std::byte* from, size_t size) { sink += kernels.sum_of_lines(from, size, way); });
      });
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      best = std::max(best, static_cast<double>(buffer->bytes()) / seconds);
    }
    rates.push_back(best);
  }
  // Every byte is 1: the sum also keeps the compiler from dropping the loop.
  if (sink != static_cast<uint64_t>(passes * kReadWays) * buffer->bytes() / 8 * 0x0101010101010101ull) {
    return Error{ErrorCode::internal, "memory read back differs from what was written"};
  }
  std::sort(rates.begin(), rates.end());
  return rates;
}

Result<double> measure_read_bandwidth(ThreadPool& pool, const Kernels& kernels, uint64_t bytes, int passes) {
  MOXIE_TRY(const auto rates, measure_read_passes(pool, kernels, bytes, passes));
  return rates.back();
}

}  // namespace moxie
