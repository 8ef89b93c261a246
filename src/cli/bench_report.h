// What `moxie bench` measured, beside what the machine allows, as a table or as JSON. Plain data, plain functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace moxie::cli {

// The median with the least and the most, in `unit`; nothing of nothing.
std::string spread(const std::vector<double>& ascending, double unit, int digits);
double median(const std::vector<double>& ascending);  // REQUIRES: not empty

// This machine with a number of threads: every pass of each measurement, ascending. The best pass is the limit; what
// is below it was lost to others.
struct MachineLimits {
  std::vector<double> memory;            // bytes read a second; empty: the budget left no room to measure it
  std::vector<double> integer_products;  // multiply-adds of bytes a second
  std::vector<double> float_products;
  std::vector<double> bf16_products;  // of bfloat16 weights, with floats or, with --fast, rounded
};

struct Measurement {
  bool prompt = false;  // else generation
  int64_t tokens = 0, depth = 0;
  int threads = 0;
  std::string threads_why;  // "2 threads: 2 physical cores, ..."
  std::string cache_type;
  std::vector<double> rates;  // tokens a second, ascending
  // What one token takes.
  uint64_t bytes = 0;  // weights and KV cache read; 0 for prompts, which read weights once for many tokens
  double integer_products = 0, float_products = 0, bf16_products = 0;
  MachineLimits limits;
  std::string mode;                               // "exact", or the lossy modes
  bool streaming = false;                         // experts come from the disk
  uint64_t disk_bytes = 0, hits = 0, misses = 0;  // of all repetitions

  std::string name() const;  // "pp512", "tg64 @ d4096"
  double bytes_per_second() const { return median(rates) * static_cast<double>(bytes); }
  double operations_per_second() const {
    return 2 * median(rates) * (integer_products + float_products + bf16_products);
  }
  // Tokens a second that the machine allows at most: by arithmetic, and by memory (0: not limited by it).
  double by_arithmetic() const;
  double by_memory() const;
  bool memory_bound() const { return by_memory() > 0 && by_memory() < by_arithmetic(); }
  double limit() const { return memory_bound() ? by_memory() : by_arithmetic(); }
  double disk_bytes_per_token() const;
  double hit_rate() const;
  double share() const { return median(rates) / limit(); }
};

struct BenchReport {
  std::string head;  // model and machine, one line
  std::string cpu_target, version;
  bool fast = false;  // --fast made a difference
  int64_t repetitions = 0;
  std::vector<Measurement> measurements;

  std::string markdown() const;
  std::string json() const;
};

}  // namespace moxie::cli
