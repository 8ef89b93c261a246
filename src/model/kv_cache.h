// Keys and values of a sequence in fixed-size blocks of positions. Blocks come from a pool that the engine's sequences
// share; sequences with a common prefix share its blocks until one of them writes. Calls are serialised by the engine.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/backend.h"
#include "core/buffer.h"
#include "model/hyperparameters.h"
#include "model/sequence_state.h"

namespace moxie {

struct KvLayout {
  static constexpr int kBlockTokens = kKvBlockTokens;
  static constexpr int64_t kVersion =
      4;  // what the bytes of a block mean: files of blocks have it in their fingerprint
  KvType type = KvType::f16;
  int64_t layers = 0, kv_heads = 0, head_dim = 0;

  // Within a block: layer after layer; in a layer head after head; in a head first the keys, then the values, as
  // AttentionArgs (kernels.h) wants them.
  size_t row_bytes() const { return kv_row_bytes(type, head_dim); }
  size_t key_bytes() const { return row_bytes() * kBlockTokens; }
  size_t head_bytes() const { return 2 * key_bytes(); }
  size_t layer_bytes() const { return head_bytes() * static_cast<size_t>(kv_heads); }
  size_t block_bytes() const { return layer_bytes() * static_cast<size_t>(layers); }
  size_t offset(int64_t layer) const { return layer_bytes() * static_cast<size_t>(layer); }
  bool operator==(const KvLayout&) const = default;
};

class KvPool {
 public:
  explicit KvPool(const KvLayout& layout) : layout_(layout) {}

  const KvLayout& layout() const { return layout_; }
  // Blocks that may be in use at once; those that are stay. Without a call: any number.
  void set_limit(int64_t blocks) { limit_ = blocks; }
  Result<int32_t> take();  // a block with one owner, contents undefined; error out_of_memory
  void share(int32_t block) { ++owners_[static_cast<size_t>(block)]; }
  void release(int32_t block);
  bool shared(int32_t block) const { return owners_[static_cast<size_t>(block)] > 1; }
  std::byte* data(int32_t block) const { return data_[static_cast<size_t>(block)]; }
  int64_t blocks_in_use() const { return static_cast<int64_t>(data_.size() - free_.size()); }

 private:
  KvLayout layout_;
  std::vector<Buffer> slabs_;
  std::vector<std::byte*> data_;
  std::vector<int32_t> owners_;
  std::vector<int32_t> free_;
  int64_t limit_ = INT32_MAX;
};

class KvCache final : public SequenceState {
 public:
  // The pool must outlive the cache. expected_tokens: up to here the lists of blocks grow without allocating.
  explicit KvCache(KvPool& pool, int64_t expected_tokens = 0);
  ~KvCache() override;
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  int64_t tokens() const override { return tokens_; }
  Result<void> reserve(int64_t more) override;
  void commit(int64_t more) override;
  Result<void> truncate(int64_t tokens) override;
  std::unique_ptr<SequenceState> fork() const override;
  uint64_t bytes() const override { return blocks_.size() * pool_->layout().block_bytes(); }
  std::vector<std::byte> save() const override;
  Result<void> restore(std::span<const std::byte> saved) override;
  KvCache* kv() override { return this; }

  const KvLayout& layout() const { return pool_->layout(); }
  std::span<std::byte* const> blocks() const { return pointers_; }
  std::span<const int32_t> block_ids() const { return blocks_; }
  // Goes on from these blocks, the first of which hold what it remembers already: they replace its own, and are shared.
  // REQUIRES: they hold at least `tokens` positions, and those are more than it has.
  void adopt(std::span<const int32_t> blocks, int64_t tokens);

 private:
  void drop_blocks_from(size_t keep);

  KvPool* pool_;
  int64_t tokens_ = 0;
  std::vector<int32_t> blocks_;
  std::vector<std::byte*> pointers_;
};

}  // namespace moxie
