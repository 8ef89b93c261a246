#include "backend/cpu/cpu_backend.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

namespace moxie {
namespace {

constexpr int kHeadDim = 64;

float wave(int64_t i) {
  return std::sin(static_cast<float>(i) * 0.37f) * 2;
}
std::vector<float> waves(int64_t count, int64_t first) {
  std::vector<float> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) values[static_cast<size_t>(i)] = wave(first + i);
  return values;
}

// Some sequences against their caches: `tokens` new ones each, at the end of `positions`.
struct Sequences {
  struct Shape {
    int64_t positions, tokens, window;
    int kv_heads, queries;
  };

  Sequences(const Kernels& kernels, std::span<const Shape> shapes) {
    for (const Shape& shape : shapes) {
      const int64_t n = static_cast<int64_t>(jobs.size()), heads = shape.kv_heads * shape.queries;
      const size_t key_bytes = kKvBlockTokens * kv_row_bytes(KvType::f16, kHeadDim), head_bytes = 2 * key_bytes;
      const size_t block_bytes = head_bytes * static_cast<size_t>(shape.kv_heads);
      const int64_t count = (shape.positions + kKvBlockTokens - 1) / kKvBlockTokens;
      memory.emplace_back(static_cast<size_t>(count) * block_bytes);
      blocks.emplace_back();
      for (int64_t b = 0; b < count; ++b) {
        blocks.back().push_back(memory.back().data() + static_cast<size_t>(b) * block_bytes);
      }
      for (int64_t position = 0; position < shape.positions; ++position) {
        for (int head = 0; head < shape.kv_heads; ++head) {
          const std::vector<float> x = waves(2 * kHeadDim, (n * 1000 + position) * 100 + head * 7);
          const int place = static_cast<int>(position % kKvBlockTokens);
          std::byte* const keys =
              blocks.back()[static_cast<size_t>(position / kKvBlockTokens)] + static_cast<size_t>(head) * head_bytes;
          kernels.store_key(x.data(), kHeadDim, KvType::f16, place, keys);
          kernels.store_kv(x.data() + kHeadDim, kHeadDim, KvType::f16,
                           keys + key_bytes + static_cast<size_t>(place) * kv_row_bytes(KvType::f16, kHeadDim));
        }
      }
      q.push_back(waves(shape.tokens * heads * kHeadDim, n));
      out.emplace_back(q.back().size());
      sinks.push_back(waves(heads, n + 50));
      jobs.push_back({.tokens = shape.tokens,
                      .first_position = shape.positions - shape.tokens,
                      .window = shape.window,
                      .heads = static_cast<int>(heads),
                      .kv_heads = shape.kv_heads,
                      .head_dim = kHeadDim,
                      .value_dim = kHeadDim,
                      .offset = 0,
                      .key_bytes = key_bytes,
                      .head_bytes = head_bytes,
                      .kv_type = KvType::f16,
                      .scale = 0.1f});
    }
    for (size_t i = 0; i < jobs.size(); ++i) {
      jobs[i].q = q[i].data();
      jobs[i].out = out[i].data();
      jobs[i].blocks = blocks[i];
      jobs[i].sinks = sinks[i].data();
    }
  }

  std::vector<std::vector<std::byte>> memory;
  std::vector<std::vector<std::byte*>> blocks;
  std::vector<std::vector<float>> q, out, sinks;
  std::vector<AttentionJob> jobs;
};

// One query of one token.
std::vector<float> attend_alone(const Kernels& kernels, const AttentionJob& job, int64_t token, int head) {
  std::vector<float> out(kHeadDim);
  kernels.attention({.q = job.q + (token * job.heads + head) * kHeadDim,
                     .q_stride = 0,
                     .tokens = 1,
                     .queries = 1,
                     .kv_heads = 1,
                     .head_dim = kHeadDim,
                     .value_dim = kHeadDim,
                     .blocks = job.blocks.data(),
                     .offset = job.offset + static_cast<size_t>(head / (job.heads / job.kv_heads)) * job.head_bytes,
                     .key_bytes = job.key_bytes,
                     .head_bytes = job.head_bytes,
                     .kv_type = job.kv_type,
                     .first_position = job.first_position + token,
                     .window = job.window,
                     .scale = job.scale,
                     .softcap = 0,
                     .sinks = job.sinks + head,
                     .out = out.data(),
                     .out_stride = 0});
  return out;
}

// However many threads, sequences and heads a call is cut for.
TEST(CpuBackend, AttentionHasTheBitsOfEachQueryAlone) {
  using Shape = Sequences::Shape;
  const CpuTarget& target = *select_cpu_target("").value();
  const Kernels& kernels = *target.kernels;
  const std::vector<std::vector<Shape>> cases = {
      {{300, 1, 0, 8, 4}},
      {{100, 1, 0, 5, 3}},
      {{70, 4, 0, 3, 2}},
      {{40, 40, 0, 2, 4}},
      {{90, 1, 0, 1, 80}},
      {{90, 2, 33, 7, 1}},
      {{900, 1, 0, 8, 4}, {20, 1, 0, 8, 4}, {17, 1, 0, 8, 4}, {5, 3, 0, 8, 4}, {64, 1, 0, 8, 4}, {1, 1, 0, 8, 4}},
  };
  for (const std::vector<Shape>& shapes : cases) {
    for (const int threads : {1, 2, 3, 8}) {
      Sequences sequences(kernels, shapes);
      CpuBackend backend(target, threads);
      backend.attention(sequences.jobs);
      for (const AttentionJob& job : sequences.jobs) {
        for (int64_t token = 0; token < job.tokens; ++token) {
          for (int head = 0; head < job.heads; ++head) {
            const std::vector<float> alone = attend_alone(kernels, job, token, head);
            ASSERT_EQ(
                std::memcmp(alone.data(), job.out + (token * job.heads + head) * kHeadDim, kHeadDim * sizeof(float)), 0)
                << threads << " threads, job of " << job.first_position << " positions and " << job.tokens
                << " tokens, token " << token << ", head " << head;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace moxie
