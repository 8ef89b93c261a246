#include "kernels/compute_peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>

namespace moxie {
namespace {

constexpr double kPassSeconds = 0.01;
constexpr int64_t kFirstRounds = 1000;
constexpr int kAttempts = 4;

struct Pass {
  double seconds, products;
};

// work(rounds) does some multiply-adds and counts them.
Pass one_pass(ThreadPool& pool, int64_t rounds, const auto& work) {
  std::atomic<int64_t> products{0};
  const auto start = std::chrono::steady_clock::now();
  pool.run(pool.threads(), [&](int64_t) { products += work(rounds); });
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return {.seconds = std::max(seconds, 1e-9), .products = static_cast<double>(products.load())};
}

std::vector<double> passes_of(ThreadPool& pool, int passes, const auto& work) {
  // As many rounds as make a pass long enough to be timed, by the quickest of some: others may hold one up.
  int64_t rounds = kFirstRounds;
  for (double quickest = 0; quickest < kPassSeconds; rounds *= 2) {
    quickest = one_pass(pool, rounds, work).seconds;
    for (int i = 1; i < kAttempts; ++i) quickest = std::min(quickest, one_pass(pool, rounds, work).seconds);
  }
  std::vector<double> rates;
  for (int i = 0; i < passes; ++i) {
    const Pass pass = one_pass(pool, rounds, work);
    rates.push_back(pass.products / pass.seconds);
  }
  std::sort(rates.begin(), rates.end());
  return rates;
}

}  // namespace

ComputePeak measure_compute_peak(ThreadPool& pool, const Kernels& kernels, int passes, bool rounded) {
  return {.int8_products = passes_of(pool, passes,
                                     [&](int64_t rounds) {
                                       int64_t result;
                                       return kernels.int8_peak(rounds, 1, 1, &result);
                                     }),
          .float_products = passes_of(pool, passes,
                                      [&](int64_t rounds) {
                                        double result;
                                        return kernels.float_peak(rounds, 1.0f, 1.0f, &result);
                                      }),
          .bf16_products = passes_of(pool, passes, [&](int64_t rounds) {
            double result;
            const auto peak = rounded ? kernels.rounded_bf16_peak : kernels.bf16_peak;
            return peak(rounds, 1.0f, 1.0f, &result);
          })};
}

}  // namespace moxie
