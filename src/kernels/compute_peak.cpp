#include "kernels/compute_peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>

namespace moxie {
namespace {

constexpr double kPassSeconds = 0.01;
constexpr int64_t kFirstRounds = 1000;

// Multiply-adds a second of one pass. work(rounds) does some and counts them.
double one_pass(ThreadPool& pool, int64_t rounds, const auto& work) {
  std::atomic<int64_t> products{0};
  const auto start = std::chrono::steady_clock::now();
  pool.run(pool.threads(), [&](int64_t) { products += work(rounds); });
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return static_cast<double>(products.load()) / std::max(seconds, 1e-9);
}

std::vector<double> passes_of(ThreadPool& pool, int passes, const auto& work) {
  // As many rounds as make a pass long enough to be timed; the first passes also wake the processor.
  int64_t rounds = kFirstRounds;
  for (double seconds = 0; seconds < kPassSeconds; rounds *= 2) {
    const auto start = std::chrono::steady_clock::now();
    one_pass(pool, rounds, work);
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  std::vector<double> rates;
  for (int pass = 0; pass < passes; ++pass) rates.push_back(one_pass(pool, rounds, work));
  std::sort(rates.begin(), rates.end());
  return rates;
}

}  // namespace

ComputePeak measure_compute_peak(ThreadPool& pool, const Kernels& kernels, int passes) {
  return {.int8_products = passes_of(pool, passes,
                                     [&](int64_t rounds) {
                                       int64_t result;
                                       return kernels.int8_peak(rounds, 1, 1, &result);
                                     }),
          .float_products = passes_of(pool, passes, [&](int64_t rounds) {
            double result;
            return kernels.float_peak(rounds, 1.0f, 1.0f, &result);
          })};
}

}  // namespace moxie
