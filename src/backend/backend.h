// The tensor operations a forward pass is made of. Matrices are weights in stored form, everything else is float rows.
// A backend belongs to one engine; one call at a time. Results never depend on the number of threads, nor a row's
// result on the other rows of the call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/aligned_bytes.h"
#include "kernels/kernels.h"
#include "quant/quant_type.h"

namespace moxie {

// A linear layer as stored: (rows = outputs, columns = inputs), row after row.
struct Matrix {
  const QuantType* type = nullptr;  // of the backend's CPU target
  const std::byte* data = nullptr;  // stays valid as long as the model, or as the lease it came from
  int64_t rows = 0;
  int64_t columns = 0;
  const float* bias = nullptr;  // (rows), or null
  PartedWeights parted{};       // where the type's parts lie apart; `data` is the first of them
  bool interleaved = false;     // rows as quant/interleave.h has them: for products only

  void set_part(size_t part, const std::byte* at) {
    if (part == 0) data = at;
    parted.part[part] = at;
  }
  explicit operator bool() const { return data != nullptr; }
  size_t row_bytes() const { return static_cast<size_t>(type->row_bytes(columns)); }
  uint64_t bytes() const { return static_cast<uint64_t>(rows) * row_bytes(); }
};

// Activation rows and their quantized copies, made once and shared by all products that want them.
// Rows: (rows, columns) float, contiguous. The copies live in buffers that grow and are reused.
class Activations {
 public:
  void set(const float* x, int64_t rows, int64_t columns);
  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  const float* x() const { return x_; }
  static size_t row_bytes(ActFormat format, int64_t columns);

 private:
  friend class CpuBackend;
  const float* x_ = nullptr;
  int64_t rows_ = 0, columns_ = 0;
  bool ready_[kActFormats] = {};
  AlignedBytes copies_[kActFormats];  // by ActFormat
};

// out[row * out_stride + r] = weights row r . x row `row` + bias[r], for x rows [first_row, first_row + rows), or,
// where `gather` is not null, for x rows gather[0..rows).
struct MatmulJob {
  const Matrix* weights;
  Activations* x;
  int64_t rows;
  const int32_t* gather = nullptr;
  int64_t first_row = 0;
  float* out;
  int64_t out_stride;
};

// Queries of one sequence at consecutive positions against its cached keys and values, for one layer.
struct AttentionJob {
  const float* q;  // (tokens, heads, head_dim)
  float* out;      // (tokens, heads, value_dim)
  int64_t tokens;
  int64_t first_position;  // position of the first token; each sees positions up to its own
  int64_t window;          // 0: all earlier positions; else the last `window` ones, itself included
  int heads, kv_heads, head_dim, value_dim;
  // blocks[b] + offset + kv_head * head_bytes: keys of block b for one kv head; its values key_bytes later (kernels.h).
  std::span<std::byte* const> blocks;
  size_t offset, key_bytes, head_bytes;
  KvType kv_type;
  float scale;
  float softcap = 0;
  const float* sinks = nullptr;  // (heads) or null
};

// The rotation of a batch: cos and sin per token, (tokens, half).
struct RopeTable {
  int half = 0;
  bool neox = false;
  std::vector<float> cos, sin;
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string_view cpu_target() const = 0;
  virtual int threads() const = 0;

  // out: (ids, columns), row i = table row ids[i]. REQUIRES: ids are rows of the table.
  virtual void embed(const Matrix& table, std::span<const int32_t> ids, float* out) = 0;
  // x, out: (rows, n); weight: (n) or null.
  virtual void rms_norm(const float* x, const float* weight, float eps, int64_t rows, int64_t n, float* out) = 0;
  // All jobs as one step: cores stay busy across jobs of different sizes.
  virtual void matmul(std::span<const MatmulJob> jobs) = 0;
  // x: (tokens, heads, head_dim), rotated in place by rows [first, first + tokens) of the table.
  virtual void rope(float* x, int64_t tokens, int heads, int head_dim, const RopeTable& table, int64_t first) = 0;
  // Writes the keys, (tokens, kv_heads, head_dim), and values, (tokens, kv_heads, value_dim), of a job's own tokens
  // into its blocks.
  virtual void store_kv(const AttentionJob& job, const float* keys, const float* values) = 0;
  virtual void attention(std::span<const AttentionJob> jobs) = 0;
  // out = silu(gate) * up, (rows, n), contiguous.
  virtual void swiglu(const float* gate, const float* up, int64_t rows, int64_t n, float* out) = 0;
  // Likewise out = (clamp(up, -limit, limit) + 1) * g * sigmoid(alpha * g) with g = min(gate, limit).
  virtual void clamped_swiglu(const float* gate, const float* up, float alpha, float limit, int64_t rows, int64_t n,
                              float* out) = 0;
  virtual void add(float* x, const float* y, int64_t n) = 0;
  // x row t += sum over k of weights[t * top_k + k] * y row slots[t * top_k + k], in order of k. x: (tokens, n).
  virtual void add_weighted(float* x, const float* y, const int32_t* slots, const float* weights, int64_t tokens,
                            int top_k, int64_t n) = 0;
  // x row t += sigmoid(gate[t]) * y row t.
  virtual void add_gated(float* x, const float* y, const float* gate, int64_t tokens, int64_t n) = 0;
  virtual void softmax(float* x, int64_t n) = 0;
};

}  // namespace moxie
