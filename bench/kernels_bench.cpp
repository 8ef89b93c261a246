// Weight products of every type on every CPU target, one thread: matrix times vector in bytes of weights per second,
// in turn with plain reading of as many bytes, in the way that is the fastest here ("of_reading": the median ratio of
// the two; "read/target/way" has the ways), and matrix times matrix in operations per second (two for each weight and
// token). "interleaved": with rows as quant/interleave.h has them. Attention of one kv head that four queries share,
// likewise: tokens one by one and 16 together, at depths of context. The figures named best are of the fastest
// iteration: what the code can do when nothing else runs.
//   ninja -C build kernels_bench && build/kernels_bench --benchmark_filter=avx512/q4_k
#include <benchmark/benchmark.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "core/aligned_bytes.h"
#include "core/buffer.h"
#include "kernels/select.h"
#include "quant/activations.h"
#include "quant/interleave.h"
#include "quant/quant_type.h"

namespace moxie {
namespace {

constexpr int64_t kRows = 4096;
constexpr int64_t kColumns = 14336;
constexpr int64_t kStreamedBytes = int64_t{1} << 30;  // read in turn, so that no cache serves them

// Of this thread alone: time in which others had its processor does not count.
double thread_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double seconds_of(const auto& work) {
  const double start = thread_seconds();
  work();
  return thread_seconds() - start;
}

// Memory that every streaming benchmark shares: 32 rows' worth of sensible blocks, repeated.
std::byte* streamed_memory() {
  static const Buffer memory =
      std::move(Buffer::allocate(kStreamedBytes + 64)).value();  // in huge pages, as weights are
  return const_cast<std::byte*>(memory.data());
}

void fill_with(const QuantType& type, std::byte* to, int64_t bytes) {
  std::mt19937 random(1);
  const QuantType& baseline = *find_quant_type(type.name);
  const int64_t values = 32 * std::max<int64_t>(256, type.block_values);
  std::vector<std::byte> pattern(static_cast<size_t>(type.row_bytes(values)));
  if (baseline.encode != nullptr) {
    std::normal_distribution<float> normal(0, 0.05f);
    std::vector<float> x(static_cast<size_t>(values));
    for (float& value : x) value = normal(random);
    baseline.encode(x.data(), pattern.data(), values / type.block_values, nullptr);
  } else {
    for (std::byte& byte : pattern) byte = static_cast<std::byte>(random() & 0x3b);  // no infinite scale, no NaN
  }
  for (int64_t at = 0; at < bytes; at += static_cast<int64_t>(pattern.size())) {
    std::memcpy(to + at, pattern.data(), std::min(pattern.size(), static_cast<size_t>(bytes - at)));
  }
}

struct Activations {
  AlignedBytes bytes;
  size_t row_bytes;
};

Activations make_activations(const Kernels& kernels, ActFormat format, int64_t tokens) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> row(kColumns);
  Activations x;
  x.row_bytes = format == ActFormat::f32     ? kColumns * sizeof(float)
                : format == ActFormat::bf16  ? kColumns * sizeof(uint16_t)
                : format == ActFormat::q8_32 ? kColumns / 32 * sizeof(ActBlock32)
                                             : kColumns / 256 * sizeof(ActBlock256);
  x.bytes.resize(x.row_bytes * static_cast<size_t>(tokens));
  for (int64_t t = 0; t < tokens; ++t) {
    for (float& value : row) value = normal(random);
    std::byte* to = x.bytes.data() + static_cast<size_t>(t) * x.row_bytes;
    if (format == ActFormat::f32) std::memcpy(to, row.data(), x.row_bytes);
    if (format == ActFormat::bf16) kernels.round_bf16(row.data(), kColumns, to);
    if (format == ActFormat::q8_32) kernels.quantize_q8_32(row.data(), kColumns, to);
    if (format == ActFormat::q8_256) kernels.quantize_q8_256(row.data(), kColumns, to);
  }
  return x;
}

constexpr int64_t kReadPart = 32 << 20;

double seconds_to_read(const Kernels& kernels, const std::byte* from, int64_t bytes, int way) {
  return seconds_of([&] { benchmark::DoNotOptimize(kernels.sum_of_lines(from, static_cast<size_t>(bytes), way)); });
}

void bench_read(benchmark::State& state, const CpuTarget& target, int way) {
  std::byte* memory = streamed_memory();
  std::memset(memory, 1, kStreamedBytes);
  double best = 1e9;
  int64_t at = 0;
  for (auto _ : state) {
    best = std::min(best, seconds_to_read(*target.kernels, memory + at, kReadPart, way));
    at = (at + kReadPart) % kStreamedBytes;
  }
  state.counters["GB/s_best"] = kReadPart / best * 1e-9;
}

// What products are compared with: the best target's fastest way to read. REQUIRES: streamed_memory() was written to.
double seconds_to_read(const std::byte* from, int64_t bytes) {
  static const Kernels& kernels = *select_cpu_target().value()->kernels;
  static const int fastest = [&] {
    std::array<double, kReadWays> seconds{};
    for (int64_t at = 0; at < kStreamedBytes; at += kReadPart) {
      for (int way = 0; way < kReadWays; ++way) {
        seconds[static_cast<size_t>(way)] += seconds_to_read(kernels, streamed_memory() + at, kReadPart, way);
      }
    }
    return static_cast<int>(std::min_element(seconds.begin(), seconds.end()) - seconds.begin());
  }();
  return seconds_to_read(kernels, from, bytes, fastest);
}

void bench_multiply(benchmark::State& state, const CpuTarget& target, const QuantType& type, int64_t tokens,
                    bool interleaved) {
  const int64_t row_bytes = type.row_bytes(kColumns);
  const int64_t matrix_bytes = kRows * row_bytes;
  const int64_t matrices = tokens == 1 ? std::max<int64_t>(1, kStreamedBytes / matrix_bytes) : 1;
  // Prompts are limited by arithmetic: as many rows as a thread takes at once tell as much.
  const int64_t rows = tokens == 1 ? kRows : 512;
  std::byte* weights = streamed_memory();
  fill_with(type, weights, matrices * matrix_bytes);
  std::vector<std::byte> scratch;
  for (int64_t m = 0; interleaved && m < matrices; ++m) {
    interleave_rows(type, weights + m * matrix_bytes, kRows, kColumns, scratch);
  }
  const Activations x = make_activations(*target.kernels, type.activations, tokens);
  std::vector<float> out(static_cast<size_t>(tokens * kRows));
  double best = 1e9;
  std::vector<double> of_reading;
  int64_t matrix = 0;
  for (auto _ : state) {
    const double seconds = seconds_of([&] {
      type.multiply({.weights = weights + matrix * matrix_bytes,
                     .row_bytes = static_cast<size_t>(row_bytes),
                     .rows = rows,
                     .columns = kColumns,
                     .activations = x.bytes.data(),
                     .activation_row_bytes = x.row_bytes,
                     .tokens = tokens,
                     .out = out.data(),
                     .out_stride = kRows,
                     .interleaved = interleaved});
    });
    benchmark::DoNotOptimize(out.data());
    best = std::min(best, seconds);
    if (matrices > 1) {
      const std::byte* other = weights + (matrix + matrices / 2) % matrices * matrix_bytes;
      of_reading.push_back(seconds_to_read(other, matrix_bytes) / seconds);
    }
    matrix = (matrix + 1) % matrices;
  }
  if (!of_reading.empty()) {
    std::nth_element(of_reading.begin(), of_reading.begin() + of_reading.size() / 2, of_reading.end());
    state.counters["of_reading"] = of_reading[of_reading.size() / 2];
  }
  state.counters["GB/s_best"] = static_cast<double>(rows * row_bytes) / best * 1e-9;
  state.counters["GOP/s_best"] = 2.0 * static_cast<double>(rows * kColumns * tokens) / best * 1e-9;
}

// Keys and values of a context of 8 kv heads in blocks; several contexts one after another, so that no cache serves a
// single token. It takes all kv heads in one call, many tokens take one.
void bench_attention(benchmark::State& state, const CpuTarget& target, KvType type, int64_t depth, int64_t tokens) {
  constexpr int kHeads = 8, kHeadDim = 128, kQueries = 4;
  const int heads = tokens == 1 ? kHeads : 1;
  const size_t key_bytes = kv_row_bytes(type, kHeadDim) * kKvBlockTokens, block_bytes = kHeads * 2 * key_bytes;
  const int64_t blocks = (depth + tokens + kKvBlockTokens - 1) / kKvBlockTokens;
  const int64_t contexts =
      tokens > 1 ? 1 : std::max<int64_t>(1, kStreamedBytes / (blocks * static_cast<int64_t>(block_bytes)));
  std::byte* memory = streamed_memory();
  std::memset(memory, 0x11, static_cast<size_t>(contexts * blocks) * block_bytes);  // small numbers of every type
  std::vector<const std::byte*> pointers;
  for (int64_t b = 0; b < contexts * blocks; ++b) pointers.push_back(memory + static_cast<size_t>(b) * block_bytes);
  std::vector<float> q(static_cast<size_t>(tokens * heads * kQueries * kHeadDim), 0.01f), out(q.size());
  double best = 1e9;
  int64_t context = 0;
  for (auto _ : state) {
    const double seconds = seconds_of([&] {
      target.kernels->attention({.q = q.data(),
                                 .q_stride = int64_t{heads} * kQueries * kHeadDim,
                                 .tokens = tokens,
                                 .queries = kQueries,
                                 .kv_heads = heads,
                                 .head_dim = kHeadDim,
                                 .value_dim = kHeadDim,
                                 .blocks = pointers.data() + context * blocks,
                                 .offset = 0,
                                 .key_bytes = key_bytes,
                                 .head_bytes = 2 * key_bytes,
                                 .kv_type = type,
                                 .first_position = depth,
                                 .window = 0,
                                 .scale = 0.1f,
                                 .softcap = 0,
                                 .sinks = nullptr,
                                 .out = out.data(),
                                 .out_stride = int64_t{heads} * kQueries * kHeadDim});
    });
    benchmark::DoNotOptimize(out.data());
    best = std::min(best, seconds);
    context = (context + 1) % contexts;
  }
  const double positions = static_cast<double>(heads) * static_cast<double>(depth + 1);
  state.counters["GB/s_best"] = positions * static_cast<double>(2 * key_bytes) / kKvBlockTokens / best * 1e-9;
  state.counters["GOP/s_best"] = 4.0 * kHeadDim * kQueries * static_cast<double>(tokens) * positions / best * 1e-9;
}

}  // namespace
}  // namespace moxie

int main(int argc, char** argv) {
  using namespace moxie;
  for (const CpuTarget& target : cpu_targets()) {
    if (!target.supported()) continue;
    for (int way = 0; way < kReadWays; ++way) {
      const std::string name = "read/" + std::string(target.name) + "/" + std::to_string(way);
      benchmark::RegisterBenchmark(name.c_str(), [&target, way](benchmark::State& state) {
        bench_read(state, target, way);
      })->Unit(benchmark::kMillisecond);
    }
    for (const auto& [name, type] : {std::pair{"f16", KvType::f16}, std::pair{"q8_0", KvType::q8_0}}) {
      for (const int64_t depth : {512, 4096, 16384}) {
        for (const int64_t tokens : {1, 16}) {
          const std::string full = std::string(target.name) + "/attention_" + name + "/" + std::to_string(depth) + "/" +
                                   std::to_string(tokens);
          benchmark::RegisterBenchmark(full.c_str(), [&target, type, depth, tokens](benchmark::State& state) {
            bench_attention(state, target, type, depth, tokens);
          })->Unit(benchmark::kMicrosecond);
        }
      }
    }
    for (const QuantType* type : quant_types(target.name)) {
      if (!type->computable()) continue;
      for (const int64_t tokens : {1, 2, 4, 16, 192}) {
        for (const bool interleaved : {false, true}) {
          if (interleaved && !type->can_interleave(kColumns)) continue;
          const std::string name = std::string(target.name) + "/" + std::string(type->name) + "/" +
                                   std::to_string(tokens) + (interleaved ? "/interleaved" : "");
          benchmark::RegisterBenchmark(name.c_str(), [&target, type, tokens, interleaved](benchmark::State& state) {
            bench_multiply(state, target, *type, tokens, interleaved);
          })->Unit(benchmark::kMillisecond);
        }
        const QuantType* fast = fast_quant_type(*type);
        if (fast == type) continue;
        const std::string name =
            std::string(target.name) + "/" + std::string(type->name) + "_fast/" + std::to_string(tokens);
        benchmark::RegisterBenchmark(name.c_str(), [&target, fast, tokens](benchmark::State& state) {
          bench_multiply(state, target, *fast, tokens, false);
        })->Unit(benchmark::kMillisecond);
      }
    }
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
