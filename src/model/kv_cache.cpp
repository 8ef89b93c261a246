#include "model/kv_cache.h"

#include <algorithm>
#include <cstring>

#include "core/check.h"
#include "core/fail.h"

namespace moxie {
namespace {

constexpr uint64_t kSlabBytes = uint64_t{16} << 20;

int64_t blocks_for(int64_t tokens) {
  return (tokens + KvLayout::kBlockTokens - 1) / KvLayout::kBlockTokens;
}

// What save() writes before the blocks.
struct SavedHeader {
  char magic[7] = {'m', 'o', 'x', 'i', 'e', 'k', 'v'};
  char version = static_cast<char>('0' + KvLayout::kVersion);
  int64_t type, layers, kv_heads, head_dim, tokens;
};

}  // namespace

Result<int32_t> KvPool::take() {
  if (blocks_in_use() >= limit_) {
    return fail(ErrorCode::out_of_memory, "all {} blocks of the KV cache are in use; give a larger --memory, or wait",
                limit_);
  }
  if (free_.empty()) {
    const uint64_t block_bytes = layout_.block_bytes();
    const uint64_t count =
        std::clamp<uint64_t>(kSlabBytes / block_bytes, 1, static_cast<uint64_t>(limit_) - data_.size());
    MOXIE_TRY(Buffer slab, Buffer::allocate(count * block_bytes));
    for (uint64_t i = count; i-- > 0;) {
      free_.push_back(static_cast<int32_t>(data_.size() + i));
    }
    for (uint64_t i = 0; i < count; ++i) data_.push_back(slab.data() + i * block_bytes);
    owners_.resize(data_.size(), 0);
    slabs_.push_back(std::move(slab));
  }
  const int32_t block = free_.back();
  free_.pop_back();
  owners_[static_cast<size_t>(block)] = 1;
  return block;
}

void KvPool::release(int32_t block) {
  MOXIE_DCHECK(owners_[static_cast<size_t>(block)] > 0);
  if (--owners_[static_cast<size_t>(block)] == 0) free_.push_back(block);
}

KvCache::KvCache(KvPool& pool, int64_t expected_tokens) : pool_(&pool) {
  blocks_.reserve(static_cast<size_t>(blocks_for(expected_tokens)));
  pointers_.reserve(static_cast<size_t>(blocks_for(expected_tokens)));
}

KvCache::~KvCache() {
  drop_blocks_from(0);
}

void KvCache::drop_blocks_from(size_t keep) {
  for (size_t b = keep; b < blocks_.size(); ++b) pool_->release(blocks_[b]);
  blocks_.resize(std::min(keep, blocks_.size()));
  pointers_.resize(blocks_.size());
}

Result<void> KvCache::reserve(int64_t more) {
  const size_t first = static_cast<size_t>(tokens_ / KvLayout::kBlockTokens);
  if (more > 0 && first < blocks_.size() && pool_->shared(blocks_[first])) {
    MOXIE_TRY(const int32_t own, pool_->take());
    std::memcpy(pool_->data(own), pointers_[first], layout().block_bytes());
    pool_->release(blocks_[first]);
    blocks_[first] = own;
    pointers_[first] = pool_->data(own);
  }
  const size_t needed = static_cast<size_t>(blocks_for(tokens_ + more));
  while (blocks_.size() < needed) {
    MOXIE_TRY(const int32_t block, pool_->take());
    blocks_.push_back(block);
    pointers_.push_back(pool_->data(block));
  }
  return {};
}

void KvCache::commit(int64_t more) {
  MOXIE_CHECK(blocks_for(tokens_ + more) <= static_cast<int64_t>(blocks_.size()));
  tokens_ += more;
}

Result<void> KvCache::truncate(int64_t tokens) {
  if (tokens < 0 || tokens > tokens_) {
    return fail(ErrorCode::invalid_argument, "cannot keep {} tokens of a sequence that has {}", tokens, tokens_);
  }
  tokens_ = tokens;
  drop_blocks_from(static_cast<size_t>(blocks_for(tokens)));
  return {};
}

void KvCache::adopt(std::span<const int32_t> blocks, int64_t tokens) {
  MOXIE_CHECK(tokens > tokens_ && static_cast<int64_t>(blocks.size()) == blocks_for(tokens));
  for (const int32_t block : blocks) pool_->share(block);
  drop_blocks_from(0);
  for (const int32_t block : blocks) {
    blocks_.push_back(block);
    pointers_.push_back(pool_->data(block));
  }
  tokens_ = tokens;
}

std::unique_ptr<SequenceState> KvCache::fork() const {
  auto copy = std::make_unique<KvCache>(*pool_);
  copy->tokens_ = tokens_;
  copy->blocks_.assign(blocks_.begin(), blocks_.begin() + blocks_for(tokens_));
  copy->pointers_.assign(pointers_.begin(), pointers_.begin() + blocks_for(tokens_));
  for (const int32_t block : copy->blocks_) pool_->share(block);
  return copy;
}

std::vector<std::byte> KvCache::save() const {
  const size_t block_bytes = layout().block_bytes();
  const size_t used = static_cast<size_t>(blocks_for(tokens_));
  const SavedHeader header = {.type = static_cast<int64_t>(layout().type),
                              .layers = layout().layers,
                              .kv_heads = layout().kv_heads,
                              .head_dim = layout().head_dim,
                              .tokens = tokens_};
  std::vector<std::byte> saved(sizeof header + used * block_bytes);
  std::memcpy(saved.data(), &header, sizeof header);
  for (size_t b = 0; b < used; ++b)
    std::memcpy(saved.data() + sizeof header + b * block_bytes, pointers_[b], block_bytes);
  return saved;
}

Result<void> KvCache::restore(std::span<const std::byte> saved) {
  SavedHeader header;
  if (saved.size() < sizeof header) {
    return fail(ErrorCode::corrupt, "saved state has {} bytes, fewer than its header's {}", saved.size(),
                sizeof header);
  }
  std::memcpy(&header, saved.data(), sizeof header);
  const SavedHeader expected = {};
  if (std::memcmp(header.magic, expected.magic, sizeof expected.magic) != 0) {
    return fail(ErrorCode::corrupt, "not a saved key/value state");
  }
  if (header.version != expected.version) {
    return fail(ErrorCode::invalid_argument,
                "the saved state is of version {} of moxie's key/value blocks, and this is version {}: save it again",
                header.version - '0', expected.version - '0');
  }
  if (header.type != static_cast<int64_t>(layout().type) || header.layers != layout().layers ||
      header.kv_heads != layout().kv_heads || header.head_dim != layout().head_dim) {
    return fail(ErrorCode::invalid_argument,
                "the saved state is of another model or cache type ({} layers, {} kv heads of {}; here {}, {} of {})",
                header.layers, header.kv_heads, header.head_dim, layout().layers, layout().kv_heads, layout().head_dim);
  }
  const size_t block_bytes = layout().block_bytes();
  const uint64_t available = (saved.size() - sizeof header) / block_bytes;
  if (header.tokens < 0 || static_cast<uint64_t>(header.tokens) > available * KvLayout::kBlockTokens ||
      static_cast<uint64_t>(blocks_for(header.tokens)) != available ||
      (saved.size() - sizeof header) % block_bytes != 0) {
    return fail(ErrorCode::corrupt, "saved state of {} tokens has {} bytes", header.tokens, saved.size());
  }
  drop_blocks_from(0);
  tokens_ = 0;
  MOXIE_TRY_VOID(reserve(header.tokens));
  for (size_t b = 0; b < blocks_.size(); ++b) {
    std::memcpy(pointers_[b], saved.data() + sizeof header + b * block_bytes, block_bytes);
  }
  tokens_ = header.tokens;
  return {};
}

}  // namespace moxie
