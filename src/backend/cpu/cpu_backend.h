// The backend that computes on the CPU, with the kernels of one CPU target and a team of threads.
#pragma once

#include <memory>

#include "backend/backend.h"
#include "core/thread_pool.h"
#include "kernels/select.h"

namespace moxie {

class CpuBackend final : public Backend {
 public:
  CpuBackend(const CpuTarget& target, int threads) : kernels_(target.kernels), target_(&target), pool_(threads) {}

  std::string_view cpu_target() const override { return target_->name; }
  int threads() const override { return pool_.threads(); }

  void embed(const Matrix& table, std::span<const int32_t> ids, float* out) override;
  void rms_norm(const float* x, const float* weight, float eps, int64_t rows, int64_t n, float* out) override;
  void matmul(std::span<const MatmulJob> jobs) override;
  void rope(float* x, int64_t tokens, int heads, int head_dim, const RopeTable& table, int64_t first) override;
  void store_kv(const AttentionJob& job, const float* keys, const float* values) override;
  void attention(std::span<const AttentionJob> jobs) override;
  void swiglu(const float* gate, const float* up, int64_t rows, int64_t n, float* out) override;
  void clamped_swiglu(const float* gate, const float* up, float alpha, float limit, int64_t rows, int64_t n,
                      float* out) override;
  void add(float* x, const float* y, int64_t n) override;
  void add_weighted(float* x, const float* y, const int32_t* slots, const float* weights, int64_t tokens, int top_k,
                    int64_t n) override;
  void add_gated(float* x, const float* y, const float* gate, int64_t tokens, int64_t n) override;
  void softmax(float* x, int64_t n) override;

 private:
  // One piece of a product: rows [first, last) of one job's weights.
  struct Tile {
    const MatmulJob* job;
    const std::byte* activations;
    size_t activation_row_bytes;
    int64_t first, last;
  };
  // Tokens and queries of some kv heads that one thread takes at once.
  struct AttentionPiece {
    const AttentionJob* job;
    int kv_head, kv_heads;
    int first_query, queries;
    int64_t first_token, tokens;
  };
  // Rows [0, rows) in pieces over the threads; small work stays on this one.
  template <typename Body>
  void rows(int64_t rows, int64_t values_per_row, const Body& body);
  void prepare(Activations& x, ActFormat format);
  const std::byte* activation_rows(const MatmulJob& job, size_t* row_bytes);
  void cut(const AttentionJob& job, int64_t positions);
  void attend(const AttentionPiece& piece);

  const Kernels* kernels_;
  const CpuTarget* target_;
  ThreadPool pool_;
  std::vector<Tile> tiles_;
  AlignedBytes gathered_;
  std::vector<AttentionPiece> attention_pieces_;
};

}  // namespace moxie
