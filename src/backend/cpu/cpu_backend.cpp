#include "backend/cpu/cpu_backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/check.h"
#include "quant/activations.h"

namespace moxie {

namespace {

// Below this many values a loop runs on the calling thread: waking the others costs more.
constexpr int64_t kParallelValues = 16384;
// Weight rows per piece: enough pieces for an even split, each long enough to hide the counter.
constexpr int64_t kMinTileRows = 16;

}  // namespace

void Activations::set(const float* x, int64_t rows, int64_t columns) {
  x_ = x;
  rows_ = rows;
  columns_ = columns;
  for (bool& ready : ready_) ready = false;
}

size_t Activations::row_bytes(ActFormat format, int64_t columns) {
  switch (format) {
    case ActFormat::f32:
      return static_cast<size_t>(columns) * sizeof(float);
    case ActFormat::q8_32:
      return static_cast<size_t>(columns / 32) * sizeof(ActBlock32);
    case ActFormat::q8_256:
      return static_cast<size_t>(columns / 256) * sizeof(ActBlock256);
  }
  return 0;
}

template <typename Body>
void CpuBackend::rows(int64_t rows, int64_t values_per_row, const Body& body) {
  if (rows * values_per_row < kParallelValues) {
    for (int64_t row = 0; row < rows; ++row) body(row);
    return;
  }
  const int64_t per_item = std::max<int64_t>(1, kParallelValues / 4 / std::max<int64_t>(1, values_per_row));
  pool_.run((rows + per_item - 1) / per_item, [&](int64_t item) {
    const int64_t last = std::min(rows, (item + 1) * per_item);
    for (int64_t row = item * per_item; row < last; ++row) body(row);
  });
}

void CpuBackend::embed(const Matrix& table, std::span<const int32_t> ids, float* out) {
  const size_t row_bytes = table.row_bytes();
  const int64_t blocks = table.columns / table.type->block_values;
  rows(static_cast<int64_t>(ids.size()), table.columns, [&](int64_t i) {
    MOXIE_DCHECK(ids[static_cast<size_t>(i)] >= 0 && ids[static_cast<size_t>(i)] < table.rows);
    const std::byte* row = table.data + static_cast<size_t>(ids[static_cast<size_t>(i)]) * row_bytes;
    table.type->decode(row, out + i * table.columns, blocks);
  });
}

void CpuBackend::rms_norm(const float* x, const float* weight, float eps, int64_t row_count, int64_t n, float* out) {
  rows(row_count, n, [&](int64_t row) { kernels_->rms_norm(x + row * n, weight, eps, n, out + row * n); });
}

void CpuBackend::prepare(Activations& x, ActFormat format) {
  bool& ready = x.ready_[static_cast<size_t>(format)];
  if (ready || format == ActFormat::f32) return;
  const size_t row_bytes = Activations::row_bytes(format, x.columns_);
  std::vector<std::byte>& copy = x.copies_[static_cast<size_t>(format)];
  const size_t needed = row_bytes * static_cast<size_t>(x.rows_);
  if (copy.size() < needed) copy.resize(needed);
  const auto quantize = format == ActFormat::q8_32 ? kernels_->quantize_q8_32 : kernels_->quantize_q8_256;
  rows(x.rows_, x.columns_, [&](int64_t row) {
    quantize(x.x_ + row * x.columns_, x.columns_, copy.data() + static_cast<size_t>(row) * row_bytes);
  });
  ready = true;
}

// Where a job's activation rows lie one after another. A gathered job's rows are copied together, unless there is just
// one.
const std::byte* CpuBackend::activation_rows(const MatmulJob& job, size_t* row_bytes) {
  const ActFormat format = job.weights->type->activations;
  const Activations& x = *job.x;
  *row_bytes = Activations::row_bytes(format, x.columns_);
  const std::byte* all = format == ActFormat::f32 ? reinterpret_cast<const std::byte*>(x.x_)
                                                  : x.copies_[static_cast<size_t>(format)].data();
  if (job.gather == nullptr) return all + static_cast<size_t>(job.first_row) * *row_bytes;
  if (job.rows == 1) return all + static_cast<size_t>(job.gather[0]) * *row_bytes;
  return nullptr;
}

void CpuBackend::matmul(std::span<const MatmulJob> jobs) {
  int64_t total_rows = 0;
  size_t gathered_bytes = 0;
  for (const MatmulJob& job : jobs) {
    MOXIE_DCHECK(job.weights->columns == job.x->columns());
    prepare(*job.x, job.weights->type->activations);
    total_rows += job.weights->rows;
    if (job.gather != nullptr && job.rows > 1) {
      gathered_bytes +=
          Activations::row_bytes(job.weights->type->activations, job.x->columns()) * static_cast<size_t>(job.rows);
    }
  }
  if (gathered_.size() < gathered_bytes) gathered_.resize(gathered_bytes);
  const int64_t tile_rows =
      std::max(kMinTileRows, std::min<int64_t>(256, total_rows / (pool_.threads() * 8)) / kMinTileRows * kMinTileRows);

  tiles_.clear();
  size_t gathered_used = 0;
  for (const MatmulJob& job : jobs) {
    if (job.rows == 0) continue;
    size_t row_bytes;
    const std::byte* activations = activation_rows(job, &row_bytes);
    if (activations == nullptr) {
      const ActFormat format = job.weights->type->activations;
      const std::byte* all = format == ActFormat::f32 ? reinterpret_cast<const std::byte*>(job.x->x_)
                                                      : job.x->copies_[static_cast<size_t>(format)].data();
      std::byte* to = gathered_.data() + gathered_used;
      for (int64_t row = 0; row < job.rows; ++row) {
        std::memcpy(to + static_cast<size_t>(row) * row_bytes, all + static_cast<size_t>(job.gather[row]) * row_bytes,
                    row_bytes);
      }
      gathered_used += static_cast<size_t>(job.rows) * row_bytes;
      activations = to;
    }
    for (int64_t first = 0; first < job.weights->rows; first += tile_rows) {
      tiles_.push_back({&job, activations, row_bytes, first, std::min(job.weights->rows, first + tile_rows)});
    }
  }

  pool_.run(static_cast<int64_t>(tiles_.size()), [this](int64_t item) {
    const Tile& tile = tiles_[static_cast<size_t>(item)];
    const MatmulJob& job = *tile.job;
    const Matrix& weights = *job.weights;
    weights.type->multiply({.weights = weights.data + static_cast<size_t>(tile.first) * weights.row_bytes(),
                            .row_bytes = weights.row_bytes(),
                            .rows = tile.last - tile.first,
                            .columns = weights.columns,
                            .activations = tile.activations,
                            .activation_row_bytes = tile.activation_row_bytes,
                            .tokens = job.rows,
                            .out = job.out + tile.first,
                            .out_stride = job.out_stride});
    if (weights.bias == nullptr) return;
    for (int64_t row = 0; row < job.rows; ++row) {
      kernels_->add(job.out + row * job.out_stride + tile.first, weights.bias + tile.first, tile.last - tile.first);
    }
  });
}

void CpuBackend::rope(float* x, int64_t tokens, int heads, int head_dim, const RopeTable& table, int64_t first) {
  const int64_t n = int64_t{heads} * head_dim;
  rows(tokens, n, [&](int64_t t) {
    const int64_t angles = (first + t) * table.half;
    kernels_->rope(x + t * n, heads, head_dim, table.half, table.cos.data() + angles, table.sin.data() + angles,
                   table.neox);
  });
}

void CpuBackend::store_kv(const float* x, int kv_heads, int64_t dim, KvType type, std::byte* to, size_t head_bytes) {
  for (int head = 0; head < kv_heads; ++head) {
    kernels_->store_kv(x + head * dim, dim, type, to + static_cast<size_t>(head) * head_bytes);
  }
}

void CpuBackend::attention(std::span<const AttentionJob> jobs) {
  for (const AttentionJob& job : jobs) {
    const size_t blocks = job.blocks.size();
    const int group = job.heads / job.kv_heads;
    block_pointers_.resize(blocks * 2 * static_cast<size_t>(job.kv_heads));
    for (int head = 0; head < job.kv_heads; ++head) {
      const std::byte** keys = block_pointers_.data() + static_cast<size_t>(head) * 2 * blocks;
      for (size_t b = 0; b < blocks; ++b) {
        keys[b] = job.blocks[b] + job.k_offset + static_cast<size_t>(head) * job.head_bytes_k;
        keys[blocks + b] = job.blocks[b] + job.v_offset + static_cast<size_t>(head) * job.head_bytes_v;
      }
    }
    pool_.run(job.tokens * job.kv_heads, [&](int64_t item) {
      const int64_t token = item / job.kv_heads;
      const int head = static_cast<int>(item % job.kv_heads);
      const std::byte* const* keys = block_pointers_.data() + static_cast<size_t>(head) * 2 * blocks;
      const int64_t last = job.first_position + token + 1;
      const int64_t first_head = token * job.heads + head * group;
      kernels_->attention({.q = job.q + first_head * job.head_dim,
                           .queries = group,
                           .head_dim = job.head_dim,
                           .value_dim = job.value_dim,
                           .k_blocks = keys,
                           .v_blocks = keys + blocks,
                           .kv_type = job.kv_type,
                           .block_tokens = job.block_tokens,
                           .first = job.window > 0 ? std::max<int64_t>(0, last - job.window) : 0,
                           .last = last,
                           .scale = job.scale,
                           .softcap = job.softcap,
                           .sinks = job.sinks == nullptr ? nullptr : job.sinks + head * group,
                           .out = job.out + first_head * job.value_dim});
    });
  }
}

void CpuBackend::swiglu(const float* gate, const float* up, int64_t row_count, int64_t n, float* out) {
  rows(row_count, n, [&](int64_t row) { kernels_->swiglu(gate + row * n, up + row * n, n, out + row * n); });
}

void CpuBackend::add(float* x, const float* y, int64_t n) {
  constexpr int64_t kPiece = 4096;
  rows((n + kPiece - 1) / kPiece, kPiece, [&](int64_t piece) {
    kernels_->add(x + piece * kPiece, y + piece * kPiece, std::min(kPiece, n - piece * kPiece));
  });
}

void CpuBackend::add_weighted(float* x, const float* y, const int32_t* slots, const float* weights, int64_t tokens,
                              int top_k, int64_t n) {
  rows(tokens, n * top_k, [&](int64_t t) {
    for (int k = 0; k < top_k; ++k) {
      kernels_->add_scaled(x + t * n, weights[t * top_k + k], y + int64_t{slots[t * top_k + k]} * n, n);
    }
  });
}

void CpuBackend::add_gated(float* x, const float* y, const float* gate, int64_t tokens, int64_t n) {
  rows(tokens, n,
       [&](int64_t t) { kernels_->add_scaled(x + t * n, 1.0f / (1.0f + std::exp(-gate[t])), y + t * n, n); });
}

void CpuBackend::softmax(float* x, int64_t n) {
  kernels_->softmax(x, n);
}

}  // namespace moxie
